package redisproc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// slots is how many a Cluster has.
const slots = 16384

// Cluster is a Redis Cluster of servers on loopback.
type Cluster struct {
	// Masters share the slots; Replicas[i] are those of Masters[i].
	Masters  []*Server
	Replicas [][]*Server
}

// StartCluster starts a Cluster with settings as of [Start], which ends with Close.
func StartCluster(ctx context.Context, masters, replicas int, settings ...string) (*Cluster, error) {
	c := &Cluster{Replicas: make([][]*Server, masters)}
	err := c.start(ctx, masters, replicas, settings)
	if err == nil {
		err = c.join(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, masters, replicas int, settings []string) error {
	for i := range masters * (1 + replicas) {
		node, err := startNode(ctx, settings)
		if err != nil {
			return err
		}
		if i < masters {
			c.Masters = append(c.Masters, node)
		} else {
			c.Replicas[i%masters] = append(c.Replicas[i%masters], node)
		}
	}
	return nil
}

// join makes the nodes one Cluster.
func (c *Cluster) join(ctx context.Context) error {
	nodes, masters := c.Nodes(), len(c.Masters)
	for i, m := range c.Masters {
		if _, err := m.Command(ctx, "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(slots*i/masters), fmt.Sprint(slots*(i+1)/masters-1)); err != nil {
			return fmt.Errorf("give a node its slots: %w", err)
		}
	}
	for _, n := range nodes[1:] {
		port := n.setting("--port")
		if secured := n.setting("--tls-port"); secured != "" {
			port = secured
		}
		if _, err := nodes[0].Command(ctx, "CLUSTER", "MEET", "127.0.0.1", port, n.setting("--cluster-port")); err != nil {
			return fmt.Errorf("make nodes meet: %w", err)
		}
	}
	for _, n := range nodes {
		if err := n.Await(ctx, "cluster_known_nodes:"+fmt.Sprint(len(nodes)), "CLUSTER", "INFO"); err != nil {
			return err
		}
	}
	for i, list := range c.Replicas {
		id, err := c.Masters[i].Command(ctx, "CLUSTER", "MYID")
		if err != nil {
			return fmt.Errorf("ask a node for its id: %w", err)
		}
		for _, r := range list {
			if err := r.Await(ctx, id, "CLUSTER", "NODES"); err != nil {
				return err
			}
			if _, err := r.Command(ctx, "CLUSTER", "REPLICATE", id); err != nil {
				return fmt.Errorf("make a node a replica: %w", err)
			}
		}
	}
	for _, n := range nodes {
		if err := n.Await(ctx, "cluster_state:ok", "CLUSTER", "INFO"); err != nil {
			return err
		}
	}
	for _, list := range c.Replicas {
		for _, r := range list {
			if err := r.Await(ctx, "master_link_status:up", "INFO", "replication"); err != nil {
				return err
			}
		}
	}
	return nil
}

func startNode(ctx context.Context, settings []string) (*Server, error) {
	port, err := FreePort(ctx)
	if err != nil {
		return nil, err
	}
	bus, err := FreePort(ctx)
	if err != nil {
		return nil, err
	}
	all := []string{
		"--port", port, "--cluster-enabled", "yes", "--cluster-port", bus,
		"--cluster-node-timeout", "2000", "--cluster-config-file", "nodes.conf",
	}
	if slices.Contains(settings, "--tls-cluster") {
		secured, err := FreePort(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, "--tls-port", secured)
	}
	return Start(ctx, append(all, settings...)...)
}

// Nodes are all servers of the Cluster, the first masters first.
func (c *Cluster) Nodes() []*Server {
	nodes := append([]*Server(nil), c.Masters...)
	for _, list := range c.Replicas {
		nodes = append(nodes, list...)
	}
	return nodes
}

// SecureURL names all of the Cluster's nodes by their ports for TLS, which they have
// where the settings have "--tls-cluster", "yes".
func (c *Cluster) SecureURL() string {
	var addrs []string
	for _, n := range c.Nodes() {
		addrs = append(addrs, n.place.addr(n.setting("--tls-port")))
	}
	return "rediss://" + strings.Join(addrs, ",")
}

// URL names all of the Cluster's nodes.
func (c *Cluster) URL() string {
	var addrs []string
	for _, n := range c.Nodes() {
		addrs = append(addrs, n.Addr())
	}
	return "redis://" + strings.Join(addrs, ",")
}

// Close stops all nodes.
func (c *Cluster) Close() error { return closeAll(c.Nodes()) }

// MasterOf returns the first master that has a key's slot, and the slot.
func (c *Cluster) MasterOf(ctx context.Context, key string) (master *Server, slot string, err error) {
	if slot, err = c.Masters[0].Command(ctx, "CLUSTER", "KEYSLOT", key); err != nil {
		return nil, "", fmt.Errorf("ask for the slot of %s: %w", key, err)
	}
	for _, m := range c.Masters {
		// A node refuses a key that is not its own.
		if _, err := m.Command(ctx, "EXISTS", key); err == nil {
			return m, slot, nil
		}
	}
	return nil, slot, fmt.Errorf("no master has slot %s", slot)
}
