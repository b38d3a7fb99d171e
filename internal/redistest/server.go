package redistest

import (
	"context"
	"strings"
	"testing"

	"github.com/retryd/retryd/internal/redisproc"
)

// Server is a redis-server that a test has started.
type Server struct{ proc *redisproc.Server }

// Start starts a server of the test's own, with settings as on the command line
// of redis-server ("--maxmemory", "20mb"), which ends with the test.
func Start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s, err := redisproc.Start(lasting(tb), settings...)
	if err != nil {
		tb.Fatal(err)
	}
	endWith(tb, s.Close)
	return &Server{s}
}

// lasting is for what a test's end still does: it looks at servers too.
func lasting(tb testing.TB) context.Context {
	tb.Helper()
	return context.WithoutCancel(tb.Context())
}

// endWith ends servers with the test.
func endWith(tb testing.TB, end func() error) {
	tb.Helper()
	tb.Cleanup(func() {
		if err := end(); err != nil {
			tb.Errorf("stop redis-server: %v", err)
		}
	})
}

// must fails the test on an error.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// FreePort returns a port on loopback on which nobody listened a moment ago.
func FreePort(tb testing.TB) string {
	tb.Helper()
	port, err := redisproc.FreePort(tb.Context())
	must(tb, err)
	return port
}

// Stop ends the server before its test does. Its data stay where it was told to
// keep them.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	must(tb, s.proc.Stop())
}

// Kill ends the server as a crash would, without a word. It can be started again
// by Restart.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	must(tb, s.proc.Kill())
}

// Restart starts a server again that was stopped.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	must(tb, s.proc.Restart(lasting(tb)))
}

// PID is the server's process id.
func (s *Server) PID(tb testing.TB) int {
	tb.Helper()
	if s.proc.PID() == 0 {
		tb.Fatal("redis-server does not run")
	}
	return s.proc.PID()
}

// URL is where the server is: its socket, or its port where it has one.
func (s *Server) URL() string { return s.proc.URL() }

// Addr is the server's port on loopback; empty where the settings name none.
func (s *Server) Addr() string { return s.proc.Addr() }

// Do sends one command over a connection of its own and returns the answer as
// text, lists by lines.
func (s *Server) Do(tb testing.TB, args ...string) string {
	tb.Helper()
	reply, err := s.Command(lasting(tb), args...)
	if err != nil {
		tb.Fatalf("redis %s: %v", strings.Join(args, " "), err)
	}
	return reply
}

// Command is Do for those who expect an error.
func (s *Server) Command(ctx context.Context, args ...string) (string, error) {
	return s.proc.Command(ctx, args...)
}

// AwaitMaster waits until the server is a master.
func (s *Server) AwaitMaster(tb testing.TB) {
	tb.Helper()
	must(tb, s.proc.AwaitMaster(lasting(tb)))
}
