package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/scheduler/storetest"
)

func TestStoreOnACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	t.Run("conformance", func(t *testing.T) {
		t.Parallel()
		storetest.Exercise(t, func(t *testing.T, shards int, nowMS func() int64) (store, peer scheduler.Store) {
			t.Helper()
			cfg := redisstore.Config{URL: cluster.URL(), Prefix: redistest.Prefix(t), Shards: shards, NowMS: nowMS}
			s := newStore(t, cfg)
			t.Cleanup(func() { wantSound(context.WithoutCancel(t.Context()), t, s) })
			return s, newStore(t, cfg)
		})
	})
	t.Run("many at once", func(t *testing.T) {
		t.Parallel()
		s := newStore(t, redisstore.Config{URL: cluster.URL(), Prefix: redistest.Prefix(t)})
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.Shards() != redisstore.DefaultClusterShards {
			t.Errorf("%d shards", s.Shards())
		}
		wantDone(t, s.Commit(t.Context(), creations(0, 500)))
		if got := len(claimDue(t.Context(), t, s, 20)); got != 500 {
			t.Errorf("%d claimed, want 500", got)
		}
		wantSound(t.Context(), t, s)
	})
	t.Run("check without saying that it is one", func(t *testing.T) {
		t.Parallel()
		s := newStore(t, redisstore.Config{URL: cluster.Masters[0].URL(), Prefix: redistest.Prefix(t)})
		if err := s.Check(t.Context()); !isUnfit(err) {
			t.Errorf("check: %v", err)
		}
	})
}

// TestNodeThatHangsHoldsUpItsOwnShards has one of two nodes hang: what the other has is
// claimed long before the caller's time is up, and the rest when it goes on, by the
// same claims.
func TestNodeThatHangsHoldsUpItsOwnShards(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 0)
	s := newStore(t, redisstore.Config{URL: cluster.URL()})
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantDone(t, s.Commit(t.Context(), creations(0, 200)))
	thaw := freeze(t, cluster.Masters[0])
	const patient = 2 * time.Second // less than Redis may take to answer
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	claimed, refused := 0, 0
	for _, got := range s.Claim(ctx, dueClaims(s, 20)) {
		claimed += len(got.Tasks)
		if got.Err != nil {
			wantKind(t, got.Err, scheduler.KindUnavailable)
			refused++
		}
	}
	if ctx.Err() != nil || claimed == 0 || refused == 0 {
		t.Errorf("%d claimed and %d claims refused, context %v; want some of each while there is time", claimed, refused, ctx.Err())
	}
	thaw()
	await(t, "the claims of the node that goes on", func() bool {
		claimed = 0
		for _, got := range s.Claim(t.Context(), dueClaims(s, 20)) {
			claimed += len(got.Tasks)
		}
		return claimed == 200
	})
}

// TestNodeThatHangsTakesNothingOfOthers asks for what three nodes keep while one of
// them hangs: of the others comes all, and soon.
func TestNodeThatHangsTakesNothingOfOthers(t *testing.T) {
	t.Parallel()
	// Three, so that the others go on being a Cluster however long it hangs.
	cluster := redistest.StartCluster(t, 3, 0, "--cluster-require-full-coverage", "no")
	s := newStore(t, redisstore.Config{URL: cluster.URL()})
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	changes := creations(0, 200)
	wantDone(t, s.Commit(t.Context(), changes[:100]))
	freeze(t, cluster.Masters[0])
	const patient = 2 * time.Second // less than Redis may take to answer
	for name, ask := range map[string]func(ctx context.Context) (errs []error){
		"Commit": func(ctx context.Context) (errs []error) {
			for _, got := range s.Commit(ctx, changes[100:]) {
				errs = append(errs, got.Err)
			}
			return errs
		},
		"Load": func(ctx context.Context) (errs []error) {
			var keys []scheduler.TaskKey
			for _, c := range changes[:100] {
				keys = append(keys, c.Key)
			}
			for _, got := range s.Load(ctx, keys) {
				errs = append(errs, got.Err)
			}
			return errs
		},
		"CheckLeases": func(ctx context.Context) (errs []error) {
			var checks []scheduler.LeaseCheck
			for _, c := range changes[:100] {
				checks = append(checks, scheduler.LeaseCheck{Key: c.Key, Queue: scheduler.QueueKey{Namespace: c.Key.Namespace, Name: c.Task.Spec.Queue}})
			}
			for _, got := range s.CheckLeases(ctx, checks) {
				errs = append(errs, got.Err)
			}
			return errs
		},
		"Heads": func(ctx context.Context) (errs []error) {
			first := changes[0]
			heads, err := s.Heads(ctx, []scheduler.QueueKey{{Namespace: first.Key.Namespace, Name: first.Task.Spec.Queue}})
			if heads == nil {
				return []error{err}
			}
			for _, head := range heads[0] {
				if head.LookMS != 0 {
					errs = append(errs, nil)
				}
			}
			return append(errs, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			await(t, "answers of the other nodes", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), patient)
				defer cancel()
				done, refused := 0, 0
				for _, err := range ask(ctx) {
					if err == nil {
						done++
						continue
					}
					wantKind(t, err, scheduler.KindUnavailable)
					refused++
				}
				return ctx.Err() == nil && done > 0 && refused > 0
			})
		})
	}
}

// TestSlotOnTheMove stops a slot's move half-way: what cannot be carried out is
// not carried out in part, and goes on once the slot has moved. One of the keys
// that a claim learns from what it reads has moved already.
func TestSlotOnTheMove(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]func(s *redisstore.Store, last *scheduler.Task) string{
		"a task":           func(s *redisstore.Store, last *scheduler.Task) string { return s.TaskKey(last.Key) },
		"a group's counts": func(s *redisstore.Store, last *scheduler.Task) string { return s.GroupKey(last) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testSlotOnTheMove(t, key)
		})
	}
}

func testSlotOnTheMove(t *testing.T, key func(s *redisstore.Store, last *scheduler.Task) string) {
	t.Helper()
	ctx := t.Context()
	cluster := redistest.StartCluster(t, 2, 0)
	s := newStore(t, redisstore.Config{URL: cluster.URL(), Shards: 1})
	// All keys that a claim declares are there: one that is not is refused before the
	// script begins.
	if err := s.PauseQueue(ctx, scheduler.QueueKey{Namespace: "ns", Name: "other"}, 0); err != nil {
		t.Fatal(err)
	}
	changes := creations(0, 20)
	changes[9].Task.Spec.Group, changes[9].Task.DueMS = "g", 2
	written := s.Commit(ctx, changes)
	wantDone(t, written)
	claim := func(id uint64) scheduler.Claimed {
		return s.Claim(ctx, []scheduler.Claim{{
			ID: id, Replica: "r", Queue: written[0].Task.Queue(),
			Slots: []scheduler.Slot{{Count: 10, LeaseMS: 60_000}}, Nonces: make([]uint64, 10),
		}})[0]
	}
	if got := claim(1); got.Err != nil || len(got.Tasks) != 10 {
		t.Fatalf("claimed: %+v", got)
	}

	moved := key(s, written[9].Task)
	from, slot := cluster.MasterOf(t, moved)
	to := cluster.Masters[0]
	if to == from {
		to = cluster.Masters[1]
	}
	to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.Do(t, "CLUSTER", "MYID"))
	from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.Do(t, "CLUSTER", "MYID"))
	_, port, err := net.SplitHostPort(to.Addr())
	if err != nil {
		t.Fatal(err)
	}
	from.Do(t, "MIGRATE", "127.0.0.1", port, moved, "0", "5000")

	before, err := s.Dump(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := claim(2)
	wantKind(t, got.Err, scheduler.KindUnavailable)
	if cause := errors.Unwrap(got.Err); cause == nil || !strings.Contains(cause.Error(), "non local key") {
		t.Errorf("refused because of %v, want a key that the script has learned", cause)
	}
	wantKind(t, s.Commit(ctx, creations(100, 1))[0].Err, scheduler.KindUnavailable)
	ended := *written[9].Task
	ended.State, ended.ExpireMS = scheduler.StateSucceeded, 1<<41
	change := scheduler.Change{Key: ended.Key, Before: written[9].Task, Task: &ended}
	wantKind(t, s.Commit(ctx, []scheduler.Change{change})[0].Err, scheduler.KindUnavailable)
	after, err := s.Dump(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, after) {
		t.Error("what was refused has changed what is kept")
	}

	for key := range after {
		if key != moved && redisSlot(t, from, key) == slot {
			from.Do(t, "MIGRATE", "127.0.0.1", port, key, "0", "5000")
		}
	}
	for _, n := range []*redistest.Server{to, from} {
		n.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", to.Do(t, "CLUSTER", "MYID"))
	}
	if got := claim(2); got.Err != nil || len(got.Tasks) != 10 {
		t.Fatalf("claimed: %+v", got)
	}
	wantDone(t, s.Commit(ctx, creations(100, 1)))
	wantSound(ctx, t, s)
}

// TestSlotThatBeginsToMove shows that what is carried out while all its keys are
// still there is carried out whole, also where it empties some of them.
func TestSlotThatBeginsToMove(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cluster := redistest.StartCluster(t, 2, 0)
	waiting := dueTask
	dead := func(id, queue string, ms int64) *scheduler.Task {
		task := dueTask(id, queue, 0)
		task.State, task.EndMS, task.ExpireMS, task.Fingerprint = scheduler.StateDead, ms, 1<<41, 7
		return task
	}
	ended := func(id, queue string) *scheduler.Task {
		task := dueTask(id, queue, 0)
		task.State, task.ExpireMS = scheduler.StateSucceeded, 1<<41
		return task
	}
	steps := map[string]struct{ were, are []*scheduler.Task }{
		"the last one ends": {
			were: []*scheduler.Task{waiting("a", "q", 1)},
			are:  []*scheduler.Task{ended("a", "q")},
		},
		"the last of a fingerprint is replayed": {
			were: []*scheduler.Task{dead("a", "q", 2), waiting("b", "q", 1)},
			are:  []*scheduler.Task{waiting("a", "q", 1)},
		},
		"one dies as another is no longer dead": {
			were: []*scheduler.Task{dead("a", "q", 2), waiting("b", "q", 1)},
			are:  []*scheduler.Task{ended("a", "q"), dead("b", "q", 3)},
		},
		"the hours of all change": {},
	}
	for i := range 10 {
		// In which order a script takes the hours is not known, so there are some.
		step, queue, hour := steps["the hours of all change"], fmt.Sprint("q", i), int64(i+1)*scheduler.HourMS
		step.were = append(step.were, waiting(queue, queue, hour))
		step.are = append(step.are, waiting(queue, queue, 20*hour))
		steps["the hours of all change"] = step
	}
	stores, changes := make(map[string]*redisstore.Store), make(map[string][]scheduler.Change)
	for name, step := range steps {
		s := newStore(t, redisstore.Config{URL: cluster.URL(), Prefix: fmt.Sprint("p", len(stores)), Shards: 1})
		stores[name] = s
		var first []scheduler.Change
		for _, task := range step.were {
			first = append(first, scheduler.Change{Key: task.Key, Task: task})
		}
		written := s.Commit(ctx, first)
		wantDone(t, written)
		for i, task := range step.are {
			changes[name] = append(changes[name], scheduler.Change{Key: task.Key, Before: written[i].Task, Task: task})
		}
	}
	from, slot := cluster.MasterOf(t, stores["the last one ends"].DueKey(0, queueQ))
	to := cluster.Masters[0]
	if to == from {
		to = cluster.Masters[1]
	}
	to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.Do(t, "CLUSTER", "MYID"))
	from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.Do(t, "CLUSTER", "MYID"))
	for name, s := range stores {
		for i, got := range s.Commit(ctx, changes[name]) {
			if got.Err != nil || got.Status != scheduler.CommitDone {
				t.Errorf("%s: change %d: status %d, error %v", name, i, got.Status, got.Err)
			}
		}
		// Nobody has paused a queue, so that one of the keys that tell of heads is missing.
		if _, err := s.Heads(ctx, []scheduler.QueueKey{queueQ}); err != nil {
			t.Errorf("%s: heads: %v", name, err)
		}
	}
	for _, n := range []*redistest.Server{to, from} {
		n.Do(t, "CLUSTER", "SETSLOT", slot, "STABLE")
	}
	for _, s := range stores {
		wantSound(ctx, t, s)
	}
}

func redisSlot(t *testing.T, s *redistest.Server, key string) string {
	t.Helper()
	return s.Do(t, "CLUSTER", "KEYSLOT", key)
}
