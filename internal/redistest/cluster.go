package redistest

import (
	"fmt"
	"strings"
	"testing"
)

// slots is how many a Cluster has.
const slots = 16384

// Cluster is a Redis Cluster of servers on loopback.
type Cluster struct {
	// Masters share the slots; Replicas[i] are those of Masters[i].
	Masters  []*Server
	Replicas [][]*Server
}

// StartCluster starts a Cluster of the test's own, with settings as of [Start],
// which ends with the test.
func StartCluster(tb testing.TB, masters, replicas int, settings ...string) *Cluster {
	tb.Helper()
	c := &Cluster{Replicas: make([][]*Server, masters)}
	for range masters {
		c.Masters = append(c.Masters, startNode(tb, settings))
	}
	for i := range c.Replicas {
		for range replicas {
			c.Replicas[i] = append(c.Replicas[i], startNode(tb, settings))
		}
	}
	nodes := c.nodes()
	for i, m := range c.Masters {
		m.Do(tb, "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(slots*i/masters), fmt.Sprint(slots*(i+1)/masters-1))
	}
	for _, n := range nodes[1:] {
		nodes[0].Do(tb, "CLUSTER", "MEET", "127.0.0.1", n.setting("--port"), n.setting("--cluster-port"))
	}
	for _, n := range nodes {
		n.await(tb, "cluster_known_nodes:"+fmt.Sprint(len(nodes)), "CLUSTER", "INFO")
	}
	for i, list := range c.Replicas {
		id := c.Masters[i].Do(tb, "CLUSTER", "MYID")
		for _, r := range list {
			r.await(tb, id, "CLUSTER", "NODES")
			r.Do(tb, "CLUSTER", "REPLICATE", id)
		}
	}
	for _, n := range nodes {
		n.await(tb, "cluster_state:ok", "CLUSTER", "INFO")
	}
	for _, list := range c.Replicas {
		for _, r := range list {
			r.await(tb, "master_link_status:up", "INFO", "replication")
		}
	}
	return c
}

func startNode(tb testing.TB, settings []string) *Server {
	tb.Helper()
	all := []string{
		"--port", FreePort(tb), "--cluster-enabled", "yes", "--cluster-port", FreePort(tb),
		"--cluster-node-timeout", "2000", "--cluster-config-file", "nodes.conf",
	}
	return Start(tb, append(all, settings...)...)
}

func (c *Cluster) nodes() []*Server {
	nodes := append([]*Server(nil), c.Masters...)
	for _, list := range c.Replicas {
		nodes = append(nodes, list...)
	}
	return nodes
}

// URL names all of the Cluster's nodes.
func (c *Cluster) URL() string {
	var addrs []string
	for _, n := range c.nodes() {
		addrs = append(addrs, n.Addr())
	}
	return "redis://" + strings.Join(addrs, ",")
}

// MasterOf returns the master that has a key's slot, and the slot.
func (c *Cluster) MasterOf(tb testing.TB, key string) (master *Server, slot string) {
	tb.Helper()
	slot = c.Masters[0].Do(tb, "CLUSTER", "KEYSLOT", key)
	for _, m := range c.Masters {
		// A node refuses a key that is not its own.
		if _, err := m.Command(tb.Context(), "EXISTS", key); err == nil {
			return m, slot
		}
	}
	tb.Fatalf("no master has slot %s", slot)
	return nil, ""
}
