package scheduler_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

func TestQueueCountsItsTasksByState(t *testing.T) {
	inWorld(t, func(w *world) {
		start := time.Now()
		w.report(failure("due", by("now")))
		w.report(failure("leased", by("now")))
		w.report(failure("expired", by("now")))
		w.report(failure("later"))
		w.report(failure("held", held))
		w.report(failure("dead", by("never")))
		w.report(success("done"))
		w.report(failure("elsewhere", in("q2")))
		w.ask(scheduler.NextRequest{TaskID: "leased", Lease: time.Hour})
		w.ask(scheduler.NextRequest{TaskID: "expired", Lease: 10 * time.Second})
		w.pass(50 * time.Second)
		v := w.view("q")
		health := v.Health
		v.Health = nil
		equal(t, "queue", v, scheduler.QueueView{
			Key:       scheduler.QueueKey{Namespace: "ns", Name: "q"},
			Scheduled: 2, Due: 2, Leased: 2, Held: 1, Dead: 1,
			OldestDueAgeMS: time.Since(start).Milliseconds(),
		})
		equal(t, "health rows", len(health), 6)
		equal(t, "of another queue", w.view("q2").Scheduled, int64(1))
		w.report(success("due", by("now")))
		equal(t, "oldest due", w.view("q").OldestDueAgeMS, int64(40_000))
		until := time.Now().Add(time.Minute)
		v = w.pause("q", time.Minute)
		equal(t, "paused until", []any{v.Paused, v.PausedUntilMS}, []any{true, until.UnixMilli()})
		w.pass(time.Minute)
		v = w.view("q")
		equal(t, "paused until, when it is over", []any{v.Paused, v.PausedUntilMS}, []any{false, int64(0)})
	})
}

func TestUnknownQueueIsNotFound(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a"))
		_, err := w.s.Queue(w.ctx, scheduler.QueueKey{Namespace: "ns2", Name: "q"})
		equal(t, "metadata", kindOf(t, err, scheduler.KindQueueNotFound).Metadata, map[string]string{"queue": "q"})
	})
}

func TestQueuesArePagedByName(t *testing.T) {
	inWorld(t, func(w *world) {
		var want []string
		for i := range 250 {
			name := fmt.Sprintf("q%03d", i)
			w.report(failure(name, in(name)))
			want = append(want, name)
		}
		w.report(failure("caller-driven", in("")))
		if _, err := w.s.PauseQueue(w.ctx, scheduler.QueueKey{Namespace: "ns2", Name: "q000"}, 0); err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{1, 7, 125, 1000} {
			var got []string
			after, more := "", true
			for more {
				var page []scheduler.QueueView
				var err error
				if page, more, err = w.s.Queues(w.ctx, "ns", after, limit); err != nil {
					t.Fatal(err)
				}
				if len(page) > limit || len(page) == 0 {
					t.Fatalf("a page of %d holds %d", limit, len(page))
				}
				for _, v := range page {
					got = append(got, v.Key.Name)
					if v.Scheduled != 1 {
						t.Errorf("%s has %d", v.Key.Name, v.Scheduled)
					}
				}
				after = page[len(page)-1].Key.Name
			}
			equal(t, fmt.Sprint("by ", limit), got, want)
		}
	})
}

// A queue that is forgotten while it is listed is not.
func TestQueueThatIsForgottenMeanwhileIsNotListed(t *testing.T) {
	inWorld(t, func(w *world) {
		store := &figured{Store: memstore.New(memstore.Config{})}
		if err := store.PauseQueue(w.ctx, scheduler.QueueKey{Namespace: "ns", Name: "q"}, 0); err != nil {
			t.Fatal(err)
		}
		page, more, err := w.schedulerOver(store).Queues(w.ctx, "ns", "", 10)
		equal(t, "listed", []any{len(page), more, err}, []any{0, false, error(nil)})
	})
}

func TestGroups(t *testing.T) {
	inWorld(t, func(w *world) {
		key := scheduler.GroupKey{Namespace: "ns", Name: "g"}
		_, err := w.s.Group(w.ctx, key)
		equal(t, "metadata", kindOf(t, err, scheduler.KindGroupNotFound).Metadata, map[string]string{"group": "g"})
		w.report(success("done", grouped("g")))
		w.report(failure("dead", by("never"), grouped("g")))
		w.report(failure("held", held, grouped("g")))
		w.report(failure("leased", by("now"), grouped("g")))
		w.report(failure("later", grouped("g")))
		w.ask(scheduler.NextRequest{TaskID: "leased", Lease: time.Hour})
		g, err := w.s.Group(w.ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "counts", g, scheduler.GroupCount{Total: 5, Completed: 1, Failed: 1, InProgress: 1})
		w.repeat(w.s.ReplayMany, scheduler.Bulk{})
		w.repeat(w.s.DiscardMany, scheduler.Bulk{Filter: scheduler.TaskFilter{Condition: "fix"}})
		g, err = w.s.Group(w.ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "counts after a replay and a discard", []any{g, g.Pending()}, []any{scheduler.GroupCount{Total: 5, Completed: 1, Failed: 1, InProgress: 1}, int64(2)})
		if err := w.s.DeleteGroup(w.ctx, key); err != nil {
			t.Fatal(err)
		}
		kindOf(t, w.s.DeleteGroup(w.ctx, key), scheduler.KindGroupNotFound)
	})
}

// inJumpingWorld is inWorld with a clock that jumps ahead, without all the sweeps
// that go before.
func inJumpingWorld(t *testing.T, test func(w *world, jump func(time.Duration))) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var off time.Duration
		store := memstore.New(memstore.Config{Shards: 4, NowMS: func() int64 { return time.Now().Add(off).UnixMilli() }})
		w := newWorld(t, store)
		test(w, func(d time.Duration) {
			off += d
			w.s = w.another()
			w.pass(5 * time.Minute)
		})
	})
}

func TestGroupsGoNinetyDaysAfterTheirLastChange(t *testing.T) {
	inJumpingWorld(t, func(w *world, jump func(time.Duration)) {
		group := func(name string) error {
			_, err := w.s.Group(w.ctx, scheduler.GroupKey{Namespace: "ns", Name: name})
			return err
		}
		w.all(2_500, func(i int) scheduler.Report {
			return success(fmt.Sprint("t", i), grouped(fmt.Sprint("old", i)))
		})
		w.report(success("a", grouped("alive")))
		const day = 24 * time.Hour
		jump(60 * day)
		w.report(success("b", grouped("alive")))
		jump(30*day - time.Hour)
		if err := group("old0"); err != nil {
			t.Errorf("gone too early: %v", err)
		}
		// The passes that go on do it in time, without a scheduler that is new.
		w.pass(3 * time.Hour)
		for i := range 2_500 {
			kindOf(t, group(fmt.Sprint("old", i)), scheduler.KindGroupNotFound)
		}
		if err := group("alive"); err != nil {
			t.Error(err)
		}
	})
}

func TestQueuesGoWhenNothingHappensInThem(t *testing.T) {
	inJumpingWorld(t, func(w *world, jump func(time.Duration)) {
		known := func(name string) bool {
			_, err := w.s.Queue(w.ctx, scheduler.QueueKey{Namespace: "ns", Name: name})
			return err == nil
		}
		w.all(5_000, func(i int) scheduler.Report {
			return success(fmt.Sprint("t", i), in(fmt.Sprint("idle", i)))
		})
		w.report(failure("dead", by("never"), in("dead")))
		w.pause("paused", 0)
		jump(24 * time.Hour)
		equal(t, "known after a day", known("idle0"), true)
		jump(time.Hour)
		for i := range 5_000 {
			if name := fmt.Sprint("idle", i); known(name) {
				t.Fatalf("%s is still known", name)
			}
		}
		equal(t, "with a task, and paused", []bool{known("dead"), known("paused")}, []bool{true, true})
	})
}

// TestForgettingGoesOnWhenTheClockHasGoneBack has the store's clock be a year ahead when
// forgetting begins for the first time.
func TestForgettingGoesOnWhenTheClockHasGoneBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		set := func(d time.Duration) { ahead.Store(d.Milliseconds()) }
		set(365 * 24 * time.Hour)
		w := newWorld(t, memstore.New(memstore.Config{Shards: 1, NowMS: func() int64 { return time.Now().UnixMilli() + ahead.Load() }}))
		w.pass(time.Minute)
		set(0)
		w.report(success("t", in("idle")))
		set(25 * time.Hour)
		w.pass(2 * time.Hour)
		if _, err := w.s.Queue(w.ctx, scheduler.QueueKey{Namespace: "ns", Name: "idle"}); err == nil {
			t.Error("the queue is still known")
		}
	})
}

// What cannot be forgotten at one time is at the next.
func TestForgettingGoesOnAfterAFailure(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(success("t", in("idle")))
		store := &forgetless{Store: w.store}
		w.store = store
		w.another()
		w.pass(time.Minute)
		if store.asked < 2*w.store.Shards() {
			t.Errorf("it has asked %d times in a minute", store.asked)
		}
	})
}

// forgetless is a store that cannot forget.
type forgetless struct {
	scheduler.Store
	asked int
}

func (f *forgetless) ForgetQueues(_ context.Context, _ int, after scheduler.QueueKey, _ int) (scheduler.QueueKey, error) {
	f.asked++
	return after, errAway
}
