package redisproc_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/retryd/retryd/internal/redisproc"
)

func start(t *testing.T, settings ...string) *redisproc.Server {
	t.Helper()
	s, err := redisproc.Start(t.Context(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
			t.Errorf("the directory of a closed server: %v", err)
		}
	})
	return s
}

// TestAServerIsKilledAndComesBack kills one that is paused, which hears no other
// signal, and wants what it kept on disk to be there again.
func TestAServerIsKilledAndComesBack(t *testing.T) {
	t.Parallel()
	s := start(t, "--appendonly", "yes", "--appendfsync", "always")
	if _, err := s.Command(t.Context(), "SET", "a", "1"); err != nil {
		t.Fatal(err)
	}
	was := s.PID()
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(was, 0); err == nil || s.PID() != 0 {
		t.Errorf("after the kill: process %d is there (error %v), and the server has id %d", was, err, s.PID())
	}
	if err := s.Signal(syscall.SIGCONT); err == nil {
		t.Error("a signal to a server that does not run is no error")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Command(t.Context(), "GET", "a"); err != nil || got != "1" {
		t.Errorf("a is %q, error %v", got, err)
	}
}

func TestAPausedServerIsStopped(t *testing.T) {
	t.Parallel()
	s := start(t)
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

func TestSentinelsAgreeOnAnother(t *testing.T) {
	t.Parallel()
	s, err := redisproc.StartSentinels(t.Context(), 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Failover(t.Context()); err != nil {
		t.Fatal(err)
	}
	heir, err := s.AwaitOther(t.Context(), s.Master)
	if err != nil {
		t.Fatal(err)
	}
	if heir != s.Replicas[0] && heir != s.Replicas[1] {
		t.Error("the heir is none of the replicas")
	}
	if err := heir.AwaitMaster(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.AwaitMaster(t.Context(), heir); err != nil {
		t.Error(err)
	}
}
