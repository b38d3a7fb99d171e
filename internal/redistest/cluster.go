package redistest

import (
	"testing"

	"github.com/retryd/retryd/internal/redisproc"
)

// Cluster is a Redis Cluster of servers on loopback.
type Cluster struct {
	// Masters share the slots; Replicas[i] are those of Masters[i].
	Masters  []*Server
	Replicas [][]*Server
	proc     *redisproc.Cluster
}

// StartCluster starts a Cluster of the test's own, with settings as of [Start],
// which ends with the test.
func StartCluster(tb testing.TB, masters, replicas int, settings ...string) *Cluster {
	tb.Helper()
	proc, err := redisproc.StartCluster(lasting(tb), masters, replicas, settings...)
	must(tb, err)
	endWith(tb, proc.Close)
	c := &Cluster{proc: proc}
	for i, m := range proc.Masters {
		c.Masters = append(c.Masters, &Server{m})
		var list []*Server
		for _, r := range proc.Replicas[i] {
			list = append(list, &Server{r})
		}
		c.Replicas = append(c.Replicas, list)
	}
	return c
}

// URL names all of the Cluster's nodes.
func (c *Cluster) URL() string { return c.proc.URL() }

// MasterOf returns the master that has a key's slot, and the slot.
func (c *Cluster) MasterOf(tb testing.TB, key string) (master *Server, slot string) {
	tb.Helper()
	proc, slot, err := c.proc.MasterOf(lasting(tb), key)
	must(tb, err)
	for _, m := range c.Masters {
		if m.proc == proc {
			return m, slot
		}
	}
	return nil, slot
}
