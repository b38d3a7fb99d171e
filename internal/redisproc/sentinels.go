package redisproc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Sentinels watch over a master and its replicas.
type Sentinels struct {
	// Master and Replicas are what they were at the start.
	Master   *Server
	Replicas []*Server
	// Watchers are the Sentinels themselves.
	Watchers []*Server
}

// MasterName is what the Sentinels call what they watch over.
const MasterName = "watched"

// StartSentinels starts a master and replicas, with settings as of [Start], and n
// Sentinels, of which more than half must agree that a master is down. All end with
// Close. A master counts as down after a second without an answer.
func StartSentinels(ctx context.Context, n, replicas int, settings ...string) (*Sentinels, error) {
	return StartSentinelsApart(ctx, Place{}, Place{}, n, replicas, settings...)
}

// StartSentinelsApart is StartSentinels with the master at one place, and all others
// at another.
func StartSentinelsApart(ctx context.Context, master, others Place, n, replicas int, settings ...string) (*Sentinels, error) {
	s := new(Sentinels)
	if err := s.start(ctx, master, others, n, replicas, settings); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sentinels) start(ctx context.Context, master, others Place, n, replicas int, settings []string) error {
	port, err := FreePort(ctx)
	if err != nil {
		return err
	}
	if s.Master, err = master.Start(ctx, append([]string{"--port", port}, settings...)...); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(s.Master.Addr())
	if err != nil {
		return err
	}
	for range replicas {
		own, err := FreePort(ctx)
		if err != nil {
			return err
		}
		r, err := others.Start(ctx, append([]string{"--port", own, "--replicaof", host, port}, settings...)...)
		if err != nil {
			return err
		}
		s.Replicas = append(s.Replicas, r)
	}
	for _, r := range s.Replicas {
		if err := r.Await(ctx, "master_link_status:up", "INFO", "replication"); err != nil {
			return err
		}
	}
	for range n {
		one, err := startSentinel(ctx, others, host, port, n/2+1)
		if err != nil {
			return err
		}
		s.Watchers = append(s.Watchers, one)
	}
	for _, one := range s.Watchers {
		for _, text := range []string{fmt.Sprintf("num-other-sentinels\n%d\n", n-1), fmt.Sprintf("num-slaves\n%d\n", replicas)} {
			if err := one.Await(ctx, text, "SENTINEL", "MASTER", MasterName); err != nil {
				return err
			}
		}
	}
	return nil
}

// startSentinel starts one, which keeps what it learns in its own configuration.
func startSentinel(ctx context.Context, at Place, host, port string, quorum int) (*Server, error) {
	own, err := FreePort(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "redisproc-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for a sentinel: %w", err)
	}
	s := &Server{place: at, dir: dir, addr: at.addr(own)}
	config := filepath.Join(dir, "sentinel.conf")
	s.args = []string{config, "--sentinel"}
	text := strings.Join([]string{
		"bind " + cmp.Or(at.IP, "127.0.0.1"), "protected-mode no", "port " + own, "dir " + dir, "unixsocket " + s.Socket(), "logfile " + filepath.Join(dir, "log"),
		fmt.Sprintf("sentinel monitor %s %s %s %d", MasterName, host, port, quorum),
		"sentinel down-after-milliseconds " + MasterName + " 1000",
		"sentinel failover-timeout " + MasterName + " 2000", "",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("write a sentinel's configuration: %w", err), os.RemoveAll(dir))
	}
	if err := s.Restart(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// Close stops all of them.
func (s *Sentinels) Close() error {
	return closeAll(slices.Concat(s.Watchers, s.Replicas, []*Server{s.Master}))
}

func closeAll(servers []*Server) error {
	var errs []error
	for _, one := range servers {
		if one != nil {
			errs = append(errs, one.Close())
		}
	}
	return errors.Join(errs...)
}

// URL names the Sentinels and what they watch over.
func (s *Sentinels) URL() string {
	var addrs []string
	for _, one := range s.Watchers {
		addrs = append(addrs, one.Addr())
	}
	return "redis://" + strings.Join(addrs, ",") + "/?master_name=" + MasterName
}

// Failover asks for one while the master is up, until it is granted: a Sentinel
// that has just met the replicas does not take them for fit yet.
func (s *Sentinels) Failover(ctx context.Context) error {
	for deadline := time.Now().Add(startTimeout); ; {
		_, err := s.Watchers[0].Command(ctx, "SENTINEL", "FAILOVER", MasterName)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the Sentinel refuses to fail over: %w", err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// AwaitMaster waits until all Sentinels say that a server is the master.
func (s *Sentinels) AwaitMaster(ctx context.Context, server *Server) error {
	_, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		return err
	}
	for _, one := range s.Watchers {
		if err := one.Await(ctx, port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName); err != nil {
			return err
		}
	}
	return nil
}

// electTimeout is how long Sentinels may take to agree. One that a busy disk or machine has
// held up for 2 s does nothing for 30 s, by its own rules (TILT).
const electTimeout = time.Minute

// AwaitOther waits until all Sentinels agree on a master other than the one given,
// and returns it.
func (s *Sentinels) AwaitOther(ctx context.Context, than *Server) (*Server, error) {
	for deadline := time.Now().Add(electTimeout); ; {
		heirs := make(map[*Server]int)
		for _, one := range s.Watchers {
			got, err := one.Command(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName)
			if err != nil {
				return nil, fmt.Errorf("ask a sentinel for the master: %w", err)
			}
			for _, server := range append([]*Server{s.Master}, s.Replicas...) {
				if server != than && strings.ReplaceAll(strings.TrimSpace(got), "\n", ":") == server.Addr() {
					heirs[server]++
				}
			}
		}
		for server, votes := range heirs {
			if votes == len(s.Watchers) {
				return server, nil
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the sentinels agree on no other master within %s", electTimeout)
		}
		<-time.After(10 * time.Millisecond)
	}
}
