package redisstore_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/internal/respproxy"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestNodeThatIsSlowIsNoNodeThatHangs has a node of a Cluster take 60 ms for each answer.
// A new connection has four before that of its first call, and may not be given up in
// favour of the next, which takes as long.
func TestNodeThatIsSlowIsNoNodeThatHangs(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 1, 0)
	node := redistest.StartProxy(t, cluster.Masters[0])
	_, port, err := net.SplitHostPort(node.Addr())
	if err != nil {
		t.Fatal(err)
	}
	cluster.Masters[0].Do(t, "CONFIG", "SET", "cluster-announce-port", port)
	cfg := redisstore.Config{URL: node.URL() + "/?cluster=true"}
	const patience = 20 * time.Second // many times what it takes
	begun := newStore(t, cfg)
	from := 0
	wantCommit := func(when string, s *redisstore.Store) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		tries := 0
		for ; ctx.Err() == nil; tries++ {
			from++
			if got := s.Commit(ctx, creations(from, 1)); got[0].Err == nil {
				return
			}
		}
		t.Errorf("%s none of %d commits was answered in %s", when, tries, patience)
	}
	wantCommit("while it is quick", begun)
	node.Set(respproxy.Rules{Delay: 60 * time.Millisecond})
	wantCommit("by the connections that there are", begun)
	node.Cut()
	wantCommit("by new connections", begun)
	wantCommit("at the start", newStore(t, cfg))
}
