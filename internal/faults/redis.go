package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/retryd/retryd/internal/redisproc"
	"github.com/retryd/retryd/internal/respproxy"
)

// Redis is what the servers keep their tasks in. Which of its parts are set depends
// on the topology.
type Redis struct {
	// One is the server of Standalone, Proxy what stands before it when that was
	// asked for.
	One   *redisproc.Server
	Proxy *respproxy.Proxy

	Sentinels *redisproc.Sentinels
	Cluster   *redisproc.Cluster
	// Syncs are those of One when they were to be seen.
	Syncs *syncs
	// Link is between the primary and all others when they were to be apart.
	Link *link
}

// startRedis starts one of a topology; dir is for files beside it.
func startRedis(ctx context.Context, on Topology, s *Setup, dir string) (*Redis, error) {
	r := new(Redis)
	var err error
	switch on {
	case Standalone:
		port, portErr := redisproc.FreePort(ctx)
		if portErr != nil {
			return nil, portErr
		}
		var at redisproc.Place
		if s.Synced {
			if r.Syncs, err = newSyncs(ctx, filepath.Join(dir, "syncs")); err == nil {
				at.Before, err = r.Syncs.before()
			}
			if err != nil {
				return nil, errors.Join(err, r.close(ctx))
			}
		}
		if r.One, err = at.Start(ctx, append([]string{"--port", port}, s.Redis...)...); err == nil && s.Proxied {
			r.Proxy, err = respproxy.Start(ctx, respproxy.Config{Network: "tcp", Addr: r.One.Addr(), Seed: s.Seed})
		}
	case Sentinel:
		var near, far redisproc.Place
		if s.Apart {
			if r.Link, err = newLink(ctx); err != nil {
				return nil, err
			}
			near, far = r.Link.near(), r.Link.far()
		}
		r.Sentinels, err = redisproc.StartSentinelsApart(ctx, near, far, 3, 2, s.Redis...)
	case Cluster:
		r.Cluster, err = redisproc.StartCluster(ctx, 3, 1, append([]string{"--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"}, s.Redis...)...)
	default:
		err = fmt.Errorf("there is no topology %q", on)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start redis: %w", err), r.close(context.WithoutCancel(ctx)))
	}
	return r, nil
}

// URL is what the servers are given.
func (r *Redis) URL() string {
	switch {
	case r.Proxy != nil:
		return r.Proxy.URL()
	case r.Sentinels != nil:
		return r.Sentinels.URL()
	case r.Cluster != nil:
		return r.Cluster.URL()
	}
	return r.One.URL()
}

// directURL is URL past the proxy, for the checks.
func (r *Redis) directURL() string {
	if r.Proxy != nil {
		return r.One.URL()
	}
	return r.URL()
}

// Nodes are all servers that may hold tasks, also those that do not run.
func (r *Redis) Nodes() []*redisproc.Server {
	switch {
	case r.Sentinels != nil:
		return append([]*redisproc.Server{r.Sentinels.Master}, r.Sentinels.Replicas...)
	case r.Cluster != nil:
		return r.Cluster.Nodes()
	}
	return []*redisproc.Server{r.One}
}

// clients counts the connections of retryd to all nodes.
func (r *Redis) clients(ctx context.Context) int {
	n := 0
	for _, node := range r.Nodes() {
		list, err := node.Command(ctx, "CLIENT", "LIST")
		if err != nil {
			continue // it is not there, and neither are its clients
		}
		for line := range strings.Lines(list) {
			if strings.Contains(line, " name=retryd ") {
				n++
			}
		}
	}
	return n
}

// keepLogs copies the logs of all servers, which go with them, to a directory.
func (r *Redis) keepLogs(dir string) error {
	logs := make(map[string]*redisproc.Server)
	for i, node := range r.Nodes() {
		logs[fmt.Sprintf("redis-%d.log", i)] = node
	}
	if r.Sentinels != nil {
		for i, one := range r.Sentinels.Watchers {
			logs[fmt.Sprintf("sentinel-%d.log", i)] = one
		}
	}
	var errs []error
	for name, node := range logs {
		text, err := os.ReadFile(filepath.Join(node.Dir(), "log"))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (r *Redis) close(ctx context.Context) error {
	var errs []error
	if r.Proxy != nil {
		errs = append(errs, r.Proxy.Close())
	}
	if r.One != nil {
		errs = append(errs, r.One.Close())
	}
	if r.Sentinels != nil {
		errs = append(errs, r.Sentinels.Close())
	}
	if r.Cluster != nil {
		errs = append(errs, r.Cluster.Close())
	}
	if r.Syncs != nil {
		errs = append(errs, r.Syncs.close())
	}
	if r.Link != nil {
		errs = append(errs, r.Link.close(ctx))
	}
	return errors.Join(errs...)
}
