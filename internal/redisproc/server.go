package redisproc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Server is a redis-server that was started. Its methods are for one goroutine at a
// time, but for Command, URL and Addr, which are for any.
type Server struct {
	place Place
	dir   string
	args  []string
	// addr is the port on loopback, empty while the server has a socket only.
	addr string

	cmd  *exec.Cmd
	stop io.WriteCloser
	pid  int
}

// startTimeout is how long a server may take to answer, also on a busy machine.
const startTimeout = 20 * time.Second

// guard runs the server as a child of a shell that ends it when its own standard
// input says so or is closed: at the latest when the process that started it is
// gone, however it ended, and then nobody else would remove the directory. A server
// that is stopped hears nothing until it goes on.
const guard = `dir=$1; shift; "$@" <&3 3<&- & pid=$!; read -r stop; kill "$pid" 2>/dev/null; kill -CONT "$pid" 2>/dev/null; wait "$pid"; [ -n "$stop" ] || rm -rf "$dir"`

// ErrMissing is returned where there is no Redis.
var ErrMissing = errors.New("redis-server is missing: `make test` installs it, and so does scripts/ensure.sh redis-server")

// Place is where a server runs. The zero value is this machine's loopback.
type Place struct {
	// Before is put before the command that starts it, such as "ip netns exec far". It
	// has to become that command, as exec does.
	Before []string
	// IP is where it listens when it has a port; 127.0.0.1 when empty.
	IP string
}

// addr is a port at the place.
func (p Place) addr(port string) string { return net.JoinHostPort(cmp.Or(p.IP, "127.0.0.1"), port) }

// Start starts a server with settings as on the command line of redis-server
// ("--maxmemory", "20mb") in a directory of its own, which ends with Close. It
// listens on a socket in it, and on a port where the settings name one.
func Start(ctx context.Context, settings ...string) (*Server, error) {
	return Place{}.Start(ctx, settings...)
}

// Start starts a server there.
func (p Place) Start(ctx context.Context, settings ...string) (*Server, error) {
	dir, err := os.MkdirTemp("", "redisproc-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for redis-server: %w", err)
	}
	s := &Server{place: p, dir: dir}
	s.args = []string{
		"--dir", dir, "--port", "0", "--unixsocket", s.Socket(), "--save", "", "--appendonly", "no",
		"--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0", "--loglevel", "notice", "--logfile", filepath.Join(dir, "log"), "--daemonize", "no",
	}
	if p.IP != "" {
		s.args = append(s.args, "--bind", p.IP, "--protected-mode", "no")
	}
	s.args = append(s.args, settings...)
	if port := s.setting("--port"); port != "0" {
		s.addr = p.addr(port)
	}
	if err := s.Restart(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// Restart starts a server again that was stopped or killed, and waits until it
// answers.
func (s *Server) Restart(ctx context.Context) error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return ErrMissing
	}
	// The server's own standard input is nothing: the guard's is the signal to end.
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer func() { _ = null.Close() }()
	// It outlives ctx, which is for the wait only.
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), "sh", slices.Concat([]string{"-c", guard, "sh", s.dir}, s.place.Before, []string{path}, s.args)...)
	s.cmd.ExtraFiles = []*os.File{null}
	if s.stop, err = s.cmd.StdinPipe(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	if err := s.awaitAnswer(ctx); err != nil {
		return errors.Join(err, s.Stop())
	}
	return nil
}

// awaitAnswer waits until the server answers, and learns its process id.
func (s *Server) awaitAnswer(ctx context.Context) error {
	deadline := time.Now().Add(startTimeout)
	for {
		reply, err := s.Command(ctx, "PING")
		if err == nil && reply == "PONG" {
			s.pid, err = s.askPID(ctx)
			return err
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("redis-server does not answer after %s: %w; its log ends with:\n%s", startTimeout, err, s.logTail())
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (s *Server) askPID(ctx context.Context) (int, error) {
	info, err := s.Command(ctx, "INFO", "server")
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(info, "\r\n") {
		if v, ok := strings.CutPrefix(line, "process_id:"); ok {
			return strconv.Atoi(v)
		}
	}
	// A Sentinel of this version may not tell.
	return 0, nil
}

// Stop ends the server as its operator would, and waits for it. Its data stay where
// it was told to keep them. A server that has ended is left alone.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	_, err := io.WriteString(s.stop, "stop\n")
	err = errors.Join(err, s.stop.Close())
	// The shell's status is the server's, which was told to end.
	_ = s.cmd.Wait()
	s.cmd, s.pid = nil, 0
	return err
}

// Kill ends the server as a crash would, without a word, also one that was paused.
// It can be started again by Restart.
func (s *Server) Kill() error {
	if err := s.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	return s.Stop()
}

// Signal sends a signal to the server itself, such as SIGSTOP and SIGCONT.
func (s *Server) Signal(sig syscall.Signal) error {
	if s.pid == 0 {
		return errors.New("redis-server does not run, or has not told its process id")
	}
	if err := syscall.Kill(s.pid, sig); err != nil {
		return fmt.Errorf("send %s to redis-server: %w", sig, err)
	}
	return nil
}

// Close stops the server and removes its directory.
func (s *Server) Close() error { return errors.Join(s.Stop(), os.RemoveAll(s.dir)) }

// PID is the server's process id; 0 while it does not run.
func (s *Server) PID() int { return s.pid }

// Dir is where the server keeps what it was told to keep, and its log, "log".
func (s *Server) Dir() string { return s.dir }

// URL is where the server is: its socket, or its port where it has one.
func (s *Server) URL() string {
	if s.addr != "" {
		return "redis://" + s.addr
	}
	return "unix://" + s.Socket()
}

// Addr is the server's port on loopback; empty where the settings name none.
func (s *Server) Addr() string { return s.addr }

// Socket is the path of the server's socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, "s") }

// Command sends one command over a connection of its own and returns the answer as
// text, lists by lines.
func (s *Server) Command(ctx context.Context, args ...string) (string, error) {
	return command(ctx, "unix", s.Socket(), args)
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

// Await repeats a command until its answer has text, for 20 s at most. An error is
// the end of it.
func (s *Server) Await(ctx context.Context, text string, args ...string) error {
	deadline := time.Now().Add(startTimeout)
	for {
		got, err := s.Command(ctx, args...)
		if err != nil {
			return fmt.Errorf("redis %s: %w", strings.Join(args, " "), err)
		}
		if strings.Contains(got, text) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("redis %s does not say %q after %s but:\n%s", strings.Join(args, " "), text, startTimeout, got)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// AwaitMaster waits until the server is a master.
func (s *Server) AwaitMaster(ctx context.Context) error {
	return s.Await(ctx, "role:master", "INFO", "replication")
}

// logTail returns the end of the server's log.
func (s *Server) logTail() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}
