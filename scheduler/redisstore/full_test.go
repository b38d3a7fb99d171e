package redisstore_test

import (
	"maps"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestFullRedisCanBeDrained shows what goes on when memory is full: nothing new
// is taken, and all that ends or moves what there is goes through.
func TestFullRedisCanBeDrained(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newStore(t, redisstore.Config{URL: server.URL(), Shards: 2})
	ctx := t.Context()
	if err := s.Check(ctx); err != nil {
		t.Fatal(err)
	}
	written := s.Commit(ctx, creations(0, 150))
	wantDone(t, written)
	before, err := s.Dump(ctx)
	if err != nil {
		t.Fatal(err)
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", "100kb")

	for _, got := range s.Commit(ctx, creations(1000, 3)) {
		wantKind(t, got.Err, scheduler.KindFull)
	}
	if after, err := s.Dump(ctx); err != nil || !maps.Equal(before, after) {
		t.Fatalf("refused tasks have changed what is kept (error %v)", err)
	}

	// Taken for new, and known: the engine has to be told.
	got := s.Commit(ctx, creations(149, 2))
	if got[0].Err != nil || got[0].Status != scheduler.CommitConflict || got[0].Task.Version != written[149].Task.Version {
		t.Fatalf("a known task that was taken for new: %+v", got[0])
	}
	wantKind(t, got[1].Err, scheduler.KindFull)

	// Old and new in one call: each gets what is due to it.
	held := *written[0].Task
	held.State, held.HoldCondition = scheduler.StateHeld, "fix"
	got = s.Commit(ctx, append(creations(1000, 1), scheduler.Change{Key: held.Key, Before: written[0].Task, Task: &held}))
	wantKind(t, got[0].Err, scheduler.KindFull)
	wantDone(t, got[1:])

	// A dead letter that is to run again takes room like a new task.
	dead := *written[1].Task
	dead.State, dead.EndMS, dead.ExpireMS, dead.Fingerprint = scheduler.StateDead, 1, 1<<41, 7
	died := s.Commit(ctx, []scheduler.Change{{Key: dead.Key, Before: written[1].Task, Task: &dead}})
	wantDone(t, died)
	replayed := *written[1].Task
	replay := []scheduler.Change{{Key: dead.Key, Before: died[0].Task, Task: &replayed}}
	wantKind(t, s.Commit(ctx, replay)[0].Err, scheduler.KindFull)
	if now := s.Load(ctx, []scheduler.TaskKey{dead.Key})[0]; now.Err != nil || now.Task.State != scheduler.StateDead {
		t.Errorf("after a refused replay: %+v", now)
	}

	claimed := claimDue(ctx, t, s, 100)
	if len(claimed) != 148 {
		t.Fatalf("%d tasks claimed, want 148", len(claimed))
	}
	var changes []scheduler.Change
	for i, task := range claimed {
		next := *task
		switch i % 3 {
		case 0:
			changes = append(changes, scheduler.Change{Key: task.Key, Before: task})
			continue
		case 1:
			next.State, next.EndMS, next.ExpireMS = scheduler.StateSucceeded, 1, 1<<41
		case 2:
			next.State, next.DueMS = scheduler.StateScheduled, 1<<41
			next.History = []scheduler.AttemptRecord{{Attempt: 2, Failure: policy.Failure{Cause: policy.CauseTimeout}}}
		}
		changes = append(changes, scheduler.Change{Key: task.Key, Before: task, Task: &next})
	}
	wantDone(t, s.Commit(ctx, changes))
	if ok, err := s.PutPolicy(ctx, &scheduler.PolicyRecord{Namespace: "ns", Policy: policy.Policy{ID: "p"}, Revision: 1}, 0); !ok || err != nil {
		t.Errorf("put policy: %v, error %v", ok, err)
	}
	if err := s.Check(ctx); err != nil {
		t.Errorf("check: %v", err)
	}
	wantSound(ctx, t, s)

	server.Do(t, "CONFIG", "SET", "maxmemory", "0")
	wantDone(t, s.Commit(ctx, replay))
	wantDone(t, s.Commit(ctx, creations(1000, 3)))
	wantSound(ctx, t, s)
}
