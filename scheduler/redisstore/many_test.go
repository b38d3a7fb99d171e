package redisstore_test

import (
	"fmt"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestClaimsOfManyQueuesAreAnswered claims at once what a node of a Cluster takes longer to
// lease than one call may take: their repeats, if not they, are answered.
// It keeps the machine busy, and runs beside no others, which have 250 ms for their own.
//
//nolint:paralleltest // see above
func TestClaimsOfManyQueuesAreAnswered(t *testing.T) {
	node := redistest.StartCluster(t, 1, 0).Masters[0]
	s := newStore(t, redisstore.Config{URL: node.URL() + "/?cluster=true"})
	const queues = 20_000
	var changes []scheduler.Change
	var claims []scheduler.Claim
	for i := range queues {
		task := dueTask(fmt.Sprint("t", i), fmt.Sprint("q", i), 1)
		changes = append(changes, scheduler.Change{Key: task.Key, Task: task})
		claims = append(claims, scheduler.Claim{
			ID: uint64(i + 1), Replica: "r", Queue: task.Queue(), Shard: scheduler.ShardOf(task.Key, s.Shards()),
			Slots: []scheduler.Slot{{Count: 1, LeaseMS: 30_000, Worker: "w"}}, Nonces: make([]uint64, 1),
		})
	}
	for len(changes) > 0 {
		wantDone(t, s.Commit(t.Context(), changes[:500]))
		changes = changes[500:]
	}
	claimed := 0
	for range 10 {
		claimed = 0
		for _, got := range s.Claim(t.Context(), claims) {
			claimed += len(got.Tasks)
		}
		if claimed == queues {
			return
		}
	}
	t.Errorf("the tenth time %d of %d claims are answered", claimed, queues)
}
