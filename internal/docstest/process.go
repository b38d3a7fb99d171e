package docstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that is waited for.
const patience = 30 * time.Second

// Process is a process of a test, which ends with it.
type Process struct {
	tb     testing.TB
	cmd    *exec.Cmd
	ended  chan struct{}
	err    error
	stdout output
	stderr output
}

// StartProcess starts a command. When the test ends it is asked to, by SIGTERM,
// and killed if it does not.
func StartProcess(tb testing.TB, dir string, env []string, path string, args ...string) *Process {
	tb.Helper()
	p := &Process{tb: tb, ended: make(chan struct{})}
	p.cmd = exec.Command(path, args...) //nolint:noctx // it ends by signals, in order
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", path, err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	tb.Cleanup(func() {
		p.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(patience):
			p.Signal(syscall.SIGKILL)
			<-p.ended
			tb.Errorf("%s did not end within %s of SIGTERM", path, patience)
		}
		if tb.Failed() {
			tb.Logf("%s %q wrote\n%s%s", path, args, p.Stdout(), p.Stderr())
		}
	})
	return p
}

// PID is the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal; a process that has ended gets none.
func (p *Process) Signal(s os.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Errorf("send %s: %v", s, err)
	}
}

// Wait waits for the end and returns the exit status, -1 after a signal.
func (p *Process) Wait() int {
	p.tb.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.tb.Fatalf("%s has not ended within %s", p.cmd, patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stdout and Stderr return what it has written so far.
func (p *Process) Stdout() string { return p.stdout.String() }

// Stderr is like Stdout.
func (p *Process) Stderr() string { return p.stderr.String() }

// Await waits until what it has written to its standard output satisfies a
// condition, and returns it.
func (p *Process) Await(what string, ok func(stdout string) bool) string {
	p.tb.Helper()
	return p.await(&p.stdout, what, ok)
}

// AwaitLog is like Await, for its standard error.
func (p *Process) AwaitLog(what string, ok func(stderr string) bool) string {
	p.tb.Helper()
	return p.await(&p.stderr, what, ok)
}

func (p *Process) await(out *output, what string, ok func(text string) bool) string {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.tb.Context(), patience)
	defer cancel()
	for {
		text, changed := out.read()
		if ok(text) {
			return text
		}
		select {
		case <-changed:
		case <-p.ended:
			if text = out.String(); ok(text) {
				return text
			}
			p.tb.Fatalf("%s has ended before %s: %v\n%s%s", p.cmd, what, p.err, p.Stdout(), p.Stderr())
		case <-ctx.Done():
			p.tb.Fatalf("%s: no %s within %s\n%s%s", p.cmd, what, patience, p.Stdout(), p.Stderr())
		}
	}
}

// output is what a process writes, for others to wait for.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// read returns what was written, and a channel that the next write closes.
func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.text.String(), o.changed
}

// Server is a running `retryd dev` or `retryd serve`.
type Server struct {
	*Process
	// Addr and Admin are its ports.
	Addr, Admin string
	// Greeting is what it says at its start.
	Greeting string
}

// StartServer starts `retryd dev` on free ports and waits for its greeting. More
// arguments may follow.
func StartServer(tb testing.TB, dir string, env []string, retryd string, args ...string) *Server {
	tb.Helper()
	env = append([]string{"RETRYD_LISTEN=127.0.0.1:0", "RETRYD_ADMIN_LISTEN=127.0.0.1:0"}, env...)
	s := &Server{Process: StartProcess(tb, dir, env, retryd, append([]string{"dev"}, args...)...)}
	s.Greeting = s.Await("the greeting", func(text string) bool {
		return strings.Contains(text, "\nPolicies: ") && strings.HasSuffix(text, "\n\n")
	})
	if _, err := fmt.Sscanf(s.Greeting, "retryd is serving on %s probes on http://%s", &s.Addr, &s.Admin); err != nil {
		tb.Fatalf("the greeting does not name the ports: %v\n%s", err, s.Greeting)
	}
	s.Addr = strings.TrimSuffix(s.Addr, ";")
	s.Admin = strings.TrimSuffix(s.Admin, "/readyz")
	return s
}

// StartServe starts `retryd serve` on free ports over a Redis, with the policies
// that dev has, and waits until it serves.
func StartServe(tb testing.TB, root, dir string, env []string, retryd, redisURL string) *Server {
	tb.Helper()
	env = append([]string{"RETRYD_LISTEN=127.0.0.1:0", "RETRYD_ADMIN_LISTEN=127.0.0.1:0"}, env...)
	s := &Server{Process: StartProcess(tb, dir, env, retryd, "serve", "--reflection", "--redis-url", redisURL,
		"--policies", filepath.Join(root, "deploy", "policies"))}
	log := s.AwaitLog("word that it serves", func(text string) bool { return strings.Contains(text, "redis can be used: serving") })
	addresses := regexp.MustCompile(`msg=listening address=(\S+) admin=(\S+)`).FindStringSubmatch(log)
	if addresses == nil {
		tb.Fatalf("the log does not name the ports:\n%s", log)
	}
	s.Addr, s.Admin = addresses[1], addresses[2]
	return s
}
