package redistest

import (
	"syscall"
	"testing"
)

// AwaitMaster waits until the server is a master.
func (s *Server) AwaitMaster(tb testing.TB) {
	tb.Helper()
	s.await(tb, "role:master", "INFO", "replication")
}

// Kill ends the server as a crash would, without a word. It can be started again
// by Restart.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if err := syscall.Kill(s.PID(tb), syscall.SIGKILL); err != nil {
		tb.Fatal(err)
	}
	s.Stop(tb)
}
