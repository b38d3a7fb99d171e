package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Server is a redis-server that a test has started.
type Server struct {
	dir  string
	args []string
	// addr is the port on loopback, empty while the server has a socket only.
	addr string

	cmd  *exec.Cmd
	stop io.WriteCloser
}

// startTimeout is how long a server may take to answer, also on a busy machine.
const startTimeout = 20 * time.Second

// guard runs the server as a child of a shell that ends it when its own standard
// input says so or is closed: at the latest when the test binary is gone, however
// it ended, and then nobody else would remove the directory.
const guard = `dir=$1; shift; "$@" <&3 3<&- & pid=$!; read -r stop; kill "$pid" 2>/dev/null; wait "$pid"; [ -n "$stop" ] || rm -rf "$dir"`

// errMissing is what a test fails with where there is no Redis.
var errMissing = errors.New("redis-server is missing: `make test` installs it, and so does scripts/ensure.sh redis-server")

// Start starts a server of the test's own, with settings as on the command line
// of redis-server ("--maxmemory", "20mb"), which ends with the test.
func Start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s, err := launch(context.WithoutCancel(tb.Context()), settings)
	if err != nil {
		tb.Fatal(err)
	}
	s.endWith(tb)
	return s
}

// endWith ends the server with the test.
func (s *Server) endWith(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() {
		if err := s.close(); err != nil {
			tb.Errorf("stop redis-server: %v", err)
		}
	})
}

// launch starts a server in a directory of its own. It listens on a socket in
// it, and on a port where the settings name one.
func launch(ctx context.Context, settings []string) (*Server, error) {
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for redis-server: %w", err)
	}
	s := &Server{dir: dir}
	s.args = []string{
		"--dir", dir, "--port", "0", "--unixsocket", s.socket(), "--save", "", "--appendonly", "no",
		"--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0", "--loglevel", "notice", "--logfile", filepath.Join(dir, "log"), "--daemonize", "no",
	}
	s.args = append(s.args, settings...)
	if port := s.setting("--port"); port != "0" {
		s.addr = net.JoinHostPort("127.0.0.1", port)
	}
	if err := s.run(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// run starts the process and waits until it answers.
func (s *Server) run(ctx context.Context) error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return errMissing
	}
	// The server's own standard input is nothing: the guard's is the signal to end.
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer func() { _ = null.Close() }()
	s.cmd = exec.CommandContext(ctx, "sh", append([]string{"-c", guard, "sh", s.dir, path}, s.args...)...)
	s.cmd.ExtraFiles = []*os.File{null}
	if s.stop, err = s.cmd.StdinPipe(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	deadline := time.Now().Add(startTimeout)
	for {
		reply, err := s.Command(ctx, "PING")
		if err == nil && reply == "PONG" {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("redis-server does not answer after %s: %w; its log ends with:\n%s", startTimeout, err, s.logTail()), s.end())
		}
		<-time.After(5 * time.Millisecond)
	}
}

// end ends the process and waits for it.
func (s *Server) end() error {
	if s.cmd == nil {
		return nil
	}
	_, err := io.WriteString(s.stop, "stop\n")
	err = errors.Join(err, s.stop.Close())
	// The shell's status is the server's, which was told to end.
	_ = s.cmd.Wait()
	s.cmd = nil
	return err
}

func (s *Server) close() error { return errors.Join(s.end(), os.RemoveAll(s.dir)) }

// Stop ends the server before its test does. Its data stay where it was told to
// keep them.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if err := s.end(); err != nil {
		tb.Fatalf("stop redis-server: %v", err)
	}
}

// Restart starts a server again that was stopped.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
}

// PID is the server's process id.
func (s *Server) PID(tb testing.TB) int {
	tb.Helper()
	for line := range strings.SplitSeq(s.Do(tb, "INFO", "server"), "\r\n") {
		if v, ok := strings.CutPrefix(line, "process_id:"); ok {
			pid, err := strconv.Atoi(v)
			if err != nil {
				tb.Fatal(err)
			}
			return pid
		}
	}
	tb.Fatal("redis-server does not tell its process id")
	return 0
}

// URL is where the server is: its socket, or its port where it has one.
func (s *Server) URL() string {
	if s.addr != "" {
		return "redis://" + s.addr
	}
	return "unix://" + s.socket()
}

// Addr is the server's port on loopback; empty where the settings name none.
func (s *Server) Addr() string { return s.addr }

func (s *Server) socket() string { return filepath.Join(s.dir, "s") }

// Do sends one command over a connection of its own and returns the answer as
// text, lists by lines.
func (s *Server) Do(tb testing.TB, args ...string) string {
	tb.Helper()
	// A test's end looks at servers too.
	reply, err := s.Command(context.WithoutCancel(tb.Context()), args...)
	if err != nil {
		tb.Fatalf("redis %s: %v", strings.Join(args, " "), err)
	}
	return reply
}

// Command is Do for those who expect an error.
func (s *Server) Command(ctx context.Context, args ...string) (string, error) {
	return command(ctx, "unix", s.socket(), args)
}

// setting returns the last value given for a setting.
func (s *Server) setting(name string) string {
	value := ""
	for i, arg := range s.args[:len(s.args)-1] {
		if arg == name {
			value = s.args[i+1]
		}
	}
	return value
}

// await repeats a command until its answer has text.
func (s *Server) await(tb testing.TB, text string, args ...string) {
	tb.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		got := s.Do(tb, args...)
		if strings.Contains(got, text) {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("redis %s does not say %q after %s but:\n%s", strings.Join(args, " "), text, startTimeout, got)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// logTail returns the end of the server's log.
func (s *Server) logTail() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}
