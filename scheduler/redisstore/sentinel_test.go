package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	sentinels := redistest.StartSentinels(t, 1)
	cfg := redisstore.Config{URL: sentinels.URL(), Shards: 4}
	s := newStore(t, cfg)
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantDone(t, s.Commit(t.Context(), creations(0, 200)))
	// The new master has what the old one had acknowledged.
	for size := sentinels.Master.Do(t, "DBSIZE"); sentinels.Replica.Do(t, "DBSIZE") != size; {
		<-time.After(time.Millisecond)
	}
	sentinels.Failover(t)
	sentinels.AwaitMaster(t, sentinels.Replica)

	// Until the old master is told, it goes on taking what is lost with it: see
	// docs/redis.md. From then on all goes to the new one.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	began := time.Now()
	for from := 200; ; from++ {
		changes := creations(from, 1)
		got := s.Commit(ctx, changes)[0]
		if got.Err == nil && sentinels.Replica.Do(t, "EXISTS", s.TaskKey(changes[0].Key)) == "1" {
			break
		}
		if got.Err != nil {
			wantKind(t, got.Err, scheduler.KindUnavailable)
		}
		if ctx.Err() != nil {
			t.Fatalf("the store has not found the new master: %v", got.Err)
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Logf("the new master is found after %s", time.Since(began))
	if got := len(claimDue(ctx, t, s, 100)); got < 201 {
		t.Errorf("%d tasks claimed, want those of before and one at least", got)
	}
	wantSound(ctx, t, s)
}

func TestCheckOfASentinelTakenForAServer(t *testing.T) {
	t.Parallel()
	sentinels := redistest.StartSentinels(t, 1)
	if err := newStore(t, redisstore.Config{URL: sentinels.SentinelURL()}).Check(t.Context()); !isUnfit(err) {
		t.Errorf("check: %v", err)
	}
}
