package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Sentinels watch over a master and its replica.
type Sentinels struct {
	// Master and Replica are what they were at the start.
	Master, Replica *Server
	list            []*Server
}

// master is what the Sentinels call what they watch over.
const master = "watched"

// StartSentinels starts a master, a replica, with settings as of [Start], and n
// Sentinels, of which more than half must agree that a master is down. All end
// with the test. A master counts as down after a second without an answer.
func StartSentinels(tb testing.TB, n int, settings ...string) *Sentinels {
	tb.Helper()
	s := new(Sentinels)
	s.Master = Start(tb, append([]string{"--port", FreePort(tb)}, settings...)...)
	host, port, err := net.SplitHostPort(s.Master.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	s.Replica = Start(tb, append([]string{"--port", FreePort(tb), "--replicaof", host, port}, settings...)...)
	s.Replica.await(tb, "master_link_status:up", "INFO", "replication")
	for range n {
		s.list = append(s.list, startSentinel(tb, host, port, n/2+1))
	}
	for _, one := range s.list {
		one.await(tb, fmt.Sprintf("num-other-sentinels\n%d\n", n-1), "SENTINEL", "MASTER", master)
		one.await(tb, "num-slaves\n1\n", "SENTINEL", "MASTER", master)
	}
	return s
}

// startSentinel starts one, which keeps what it learns in its own configuration.
func startSentinel(tb testing.TB, host, port string, quorum int) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "redistest-") //nolint:usetesting // a socket's path must be short
	if err != nil {
		tb.Fatal(err)
	}
	own := FreePort(tb)
	s := &Server{dir: dir, addr: net.JoinHostPort("127.0.0.1", own)}
	config := filepath.Join(dir, "sentinel.conf")
	s.args = []string{config, "--sentinel"}
	text := strings.Join([]string{
		"port " + own, "dir " + dir, "unixsocket " + s.socket(), "logfile " + filepath.Join(dir, "log"),
		fmt.Sprintf("sentinel monitor %s %s %s %d", master, host, port, quorum),
		"sentinel down-after-milliseconds " + master + " 1000",
		"sentinel failover-timeout " + master + " 2000", "",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.close(); err != nil {
			tb.Errorf("stop the sentinel: %v", err)
		}
	})
	if err := s.run(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
	return s
}

// URL names the Sentinels and what they watch over.
func (s *Sentinels) URL() string {
	var addrs []string
	for _, one := range s.list {
		addrs = append(addrs, one.Addr())
	}
	return "redis://" + strings.Join(addrs, ",") + "/?master_name=" + master
}

// SentinelURL is where one of the Sentinels is, taken for a server.
func (s *Sentinels) SentinelURL() string { return s.list[0].URL() }

// Failover asks for one while the master is up, until it is granted: a Sentinel
// that has just met the replica does not take it for fit yet.
func (s *Sentinels) Failover(tb testing.TB) {
	tb.Helper()
	for deadline := time.Now().Add(startTimeout); ; {
		_, err := s.list[0].Command(context.WithoutCancel(tb.Context()), "SENTINEL", "FAILOVER", master)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the Sentinel refuses to fail over: %v", err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// AwaitMaster waits until all Sentinels say that a server is the master.
func (s *Sentinels) AwaitMaster(tb testing.TB, server *Server) {
	tb.Helper()
	_, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	for _, one := range s.list {
		one.await(tb, port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)
	}
}
