package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Sentinel watches a master and its replica, and makes the one the other when it
// has to.
type Sentinel struct {
	// Sentinel is the one that decides; Servers are the master, at first, and its
	// replica.
	Sentinel *Server
	Servers  [2]*Server
}

// masterName is what the Sentinel calls its master.
const masterName = "main"

// StartSentinel starts a master, a replica and a Sentinel of the test's own, with
// settings as of [Start] for the first two.
func StartSentinel(tb testing.TB, settings ...string) *Sentinel {
	tb.Helper()
	ports := [3]string{FreePort(tb), FreePort(tb), FreePort(tb)}
	s := &Sentinel{}
	s.Servers[0] = Start(tb, append([]string{"--port", ports[0]}, settings...)...)
	s.Servers[1] = Start(tb, append([]string{"--port", ports[1], "--replicaof", "127.0.0.1 " + ports[0]}, settings...)...)
	s.Servers[1].await(tb, "master_link_status:up", "INFO", "replication")

	sentinel, err := launchSentinel(context.WithoutCancel(tb.Context()), ports[2], ports[0])
	if err != nil {
		tb.Fatal(err)
	}
	sentinel.endWith(tb)
	s.Sentinel = sentinel
	s.Sentinel.await(tb, "slaves=1", "INFO", "sentinel")
	return s
}

// URL names the Sentinel and its master.
func (s *Sentinel) URL() string { return s.Sentinel.URL() + "/?master_name=" + masterName }

// Failover makes a master of the replica, and waits until the Sentinel says so.
func (s *Sentinel) Failover(tb testing.TB) {
	tb.Helper()
	to := s.Servers[1]
	if s.Sentinel.Do(tb, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName) == "127.0.0.1\n"+to.setting("--port") {
		to = s.Servers[0]
	}
	// A Sentinel that has just met the replica does not take it for fit yet.
	for deadline := time.Now().Add(startTimeout); ; {
		_, err := s.Sentinel.Command(tb.Context(), "SENTINEL", "FAILOVER", masterName)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the Sentinel refuses to fail over: %v", err)
		}
		<-time.After(100 * time.Millisecond)
	}
	s.Sentinel.await(tb, "127.0.0.1\n"+to.setting("--port"), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName)
}

// launchSentinel starts a Sentinel for the master on a port of loopback. It takes
// its settings from a file, in which it keeps what it knows.
func launchSentinel(ctx context.Context, port, master string) (*Server, error) {
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for redis-sentinel: %w", err)
	}
	s := &Server{dir: dir, addr: net.JoinHostPort("127.0.0.1", port)}
	file := filepath.Join(dir, "sentinel.conf")
	lines := []string{
		"port " + port, "dir " + dir, "unixsocket " + s.socket(), "logfile " + filepath.Join(dir, "log"),
		"sentinel monitor " + masterName + " 127.0.0.1 " + master + " 1",
		"sentinel down-after-milliseconds " + masterName + " 1000",
		"sentinel failover-timeout " + masterName + " 5000",
	}
	s.args = []string{file, "--sentinel"}
	if err = os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err == nil {
		err = s.run(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}
