package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/ledger"
	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// calm is how long before and after a failover Redis may lose what it has
// acknowledged: it replicates when it can, and tells its clients before.
const calm = time.Second

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]func(t *testing.T, s *redistest.Sentinels){
		"asked": func(t *testing.T, s *redistest.Sentinels) { s.Failover(t) },
		"kill":  func(t *testing.T, s *redistest.Sentinels) { s.Master.Kill(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sentinels := redistest.StartSentinels(t, 3)
			r := startRig(t, sentinels.URL())
			r.steady()
			r.account(r.failover("failover: "+name, sentinels.Replica, func() {
				cause(t, sentinels)
				sentinels.AwaitMaster(t, sentinels.Replica)
			}))
		})
	}
}

// TestClusterFailover kills two masters of a Cluster under load, one after the
// other: first the one that has the policies, then another.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 1, "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no")
	r := startRig(t, cluster.URL())
	meta, _ := cluster.MasterOf(t, redisstore.DefaultPrefix+":{meta}:layout")
	others := cluster.Masters
	for i, m := range cluster.Masters {
		if m == meta {
			others = append(others[:i:i], others[i+1:]...)
		}
	}
	// Those whose tasks lie with the one master that is left alone.
	spared := r.shardsOf(cluster, others[1])
	r.startReporter(reporter{via: "spared", to: r.replicas[:], picks: func(id string) bool {
		return spared[scheduler.ShardOf(scheduler.TaskKey{Namespace: "default", ID: id}, redisstore.DefaultClusterShards)]
	}})
	r.steady()
	var windows []ledger.Window
	for _, victim := range []*redistest.Server{meta, others[0]} {
		what := "the master with the policies killed"
		if victim != meta {
			what = "another master killed"
		}
		windows = append(windows, r.failover(what, heirOf(cluster, victim), func() { victim.Kill(t) }))
	}
	r.account(windows...)
}

// shardsOf are those that lie with a master.
func (r *rig) shardsOf(cluster *redistest.Cluster, server *redistest.Server) map[int]bool {
	r.t.Helper()
	out := make(map[int]bool)
	for shard := range redisstore.DefaultClusterShards {
		if m, _ := cluster.MasterOf(r.t, fmt.Sprintf("%s:{%d}:heads", redisstore.DefaultPrefix, shard)); m == server {
			out[shard] = true
		}
	}
	return out
}

// heirOf is the replica of a Cluster's master.
func heirOf(cluster *redistest.Cluster, server *redistest.Server) *redistest.Server {
	for i, m := range cluster.Masters {
		if m == server {
			return cluster.Replicas[i][0]
		}
	}
	return nil
}

// failover brings one about, waits until the heir is the master and reports are
// taken again, and returns when Redis may have lost something.
func (r *rig) failover(what string, heir *redistest.Server, cause func()) ledger.Window {
	r.t.Helper()
	w := ledger.Window{From: time.Now()}
	cause()
	heir.AwaitMaster(r.t)
	w.To = time.Now()
	r.steady()
	var gaps []string
	for _, via := range []string{"0", "1", "both", "spared"} {
		if gap := r.ledger.Gap(via, w.From); gap > 0 {
			gaps = append(gaps, fmt.Sprintf("%s %s (hand-outs %s)", via, gap, r.ledger.Pause(via, w.From)))
		}
	}
	r.t.Logf("%s: a new master after %s; longest waits of reporters: %s",
		what, w.To.Sub(w.From).Round(time.Millisecond), strings.Join(gaps, ", "))
	w.From, w.To = w.From.Add(-calm), w.To.Add(calm)
	return w
}
