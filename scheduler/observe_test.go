package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// observer starts one, and returns what it is shown.
func (w *world) observer(queues ...string) <-chan scheduler.Delivery {
	w.t.Helper()
	shown := make(chan scheduler.Delivery, 1000)
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() {
		done <- w.s.Observe(ctx, "ns", queues, func(d scheduler.Delivery) error {
			shown <- d
			return nil
		})
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.t.Errorf("observer: %v", err)
		}
	})
	synctest.Wait()
	return shown
}

func labels(shown <-chan scheduler.Delivery) []string {
	synctest.Wait()
	out := []string{}
	for {
		select {
		case d := <-shown:
			out = append(out, fmt.Sprintf("%s/%d/%d", d.Task.Key.ID, d.Task.Attempt, d.Task.Delivery))
		default:
			return out
		}
	}
}

func TestObserverSeesWhatFallsDueWithoutTakingIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("overdue", by("now")))
		shown := w.observer("q")
		equal(t, "overdue already", labels(shown), []string{"overdue/2/1"})
		w.report(failure("a"))
		equal(t, "not due", labels(shown), []string{})
		w.pass(time.Minute)
		equal(t, "due", labels(shown), []string{"a/2/1"})
		task := w.wantState("a", scheduler.StateScheduled)
		equal(t, "delivery", task.Delivery, 0)
		w.pass(time.Hour)
		equal(t, "once", labels(shown), []string{})
	})
}

func TestObserverSeesWhatWorkersTake(t *testing.T) {
	inWorld(t, func(w *world) {
		shown := w.observer("q")
		sub := w.worker(1)
		w.report(failure("a"))
		d := w.next(sub)
		equal(t, "first delivery", labels(shown), []string{"a/2/1"})
		w.next(sub)
		equal(t, "second delivery", labels(shown), []string{"a/2/2"})
		w.refused(failure("", with(d)), scheduler.KindLeaseLost)
	})
}

func TestObserverSeesManyOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		shown := w.observer("q")
		for i := range 350 {
			w.report(failure(fmt.Sprint("t", i)))
		}
		w.pass(time.Minute)
		seen := make(map[string]int)
		for _, l := range labels(shown) {
			seen[l]++
		}
		equal(t, "tasks", len(seen), 350)
		for l, n := range seen {
			if n != 1 {
				t.Errorf("%s was shown %d times", l, n)
			}
		}
	})
}

// lookCounter is a store that counts the looks at what is due, and takes its time for
// them.
type lookCounter struct {
	scheduler.Store
	looks, underWay, most atomic.Int64
	takes                 time.Duration
}

func (c *lookCounter) Due(ctx context.Context, q scheduler.QueueKey, shard int, after scheduler.Place, limit int) (scheduler.Page, error) {
	c.looks.Add(1)
	c.most.Store(max(c.most.Load(), c.underWay.Add(1)))
	defer c.underWay.Add(-1)
	<-time.After(c.takes)
	return c.Store.Due(ctx, q, shard, after, limit)
}

// TestObserversLookOnlyWhereSomethingIsDue has many look on at many queues, of which one
// has something: nobody looks at the others.
func TestObserversLookOnlyWhereSomethingIsDue(t *testing.T) {
	store := &lookCounter{}
	inWorldOn(t, func(s scheduler.Store) scheduler.Store { store.Store = s; return store }, func(w *world) {
		w.report(failure("due", by("now"), func(r *scheduler.Report) { r.Spec.Queue = "queue-7-3" }))
		var shown []<-chan scheduler.Delivery
		for i := range 20 {
			var queues []string
			for n := range 100 {
				queues = append(queues, fmt.Sprintf("queue-%d-%d", i, n))
			}
			shown = append(shown, w.observer(queues...))
		}
		for i, s := range shown {
			want := []string{}
			if i == 7 {
				want = []string{"due/2/1"}
			}
			equal(t, "shown", labels(s), want)
		}
		if got := store.looks.Load(); got != 1 {
			t.Errorf("%d looks for one attempt in 2,000 queues", got)
		}
		w.report(failure("new", by("now"), func(r *scheduler.Report) { r.Spec.Queue = "queue-9-1" }))
		equal(t, "new", labels(shown[9]), []string{"new/2/1"})
	})
}

// TestObserversShareLooks has many look on at the same while the store is slow: few ask
// it, and all see the same.
func TestObserversShareLooks(t *testing.T) {
	store := &lookCounter{takes: 10 * time.Millisecond}
	inWorldOn(t, func(s scheduler.Store) scheduler.Store { store.Store = s; return store }, func(w *world) {
		for i := range 30 {
			w.report(failure(fmt.Sprint("t", i), by("now")))
		}
		var shown []<-chan scheduler.Delivery
		for range 50 {
			shown = append(shown, w.observer("q"))
		}
		w.pass(500 * time.Millisecond)
		for _, s := range shown {
			equal(t, "shown", len(labels(s)), 30)
		}
		if got := store.most.Load(); got > 4 {
			t.Errorf("%d looks were under way at once", got)
		}
		// Each has three shards to look at. Who comes while a look is under way needs another.
		if got := store.looks.Load(); got > 30 {
			t.Errorf("50 observers of one queue made %d looks", got)
		}
	})
}

// TestObserverWhoLeavesTakesNobodysLook ends one whose look others share.
func TestObserverWhoLeavesTakesNobodysLook(t *testing.T) {
	store := &lookCounter{takes: 10 * time.Millisecond}
	inWorldOn(t, func(s scheduler.Store) scheduler.Store { store.Store = s; return store }, func(w *world) {
		// These take all turns.
		for i := range 4 {
			queue := fmt.Sprint("busy-", i)
			w.report(failure(queue, by("now"), func(r *scheduler.Report) { r.Spec.Queue = queue }))
			w.observer(queue)
		}
		w.report(failure("a", by("now")))
		ctx, leave := context.WithCancel(w.ctx)
		left := make(chan error, 1)
		go func() {
			left <- w.s.Observe(ctx, "ns", []string{"q"}, func(scheduler.Delivery) error { return nil })
		}()
		synctest.Wait()
		stays := w.observer("q")
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		w.pass(100 * time.Millisecond)
		equal(t, "shown to the one who stays", labels(stays), []string{"a/2/1"})
	})
}

func TestObserverThatCannotBeShownMoreEnds(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a", by("now")))
		broken := errors.New("stream is gone")
		err := w.s.Observe(w.ctx, "ns", []string{"q"}, func(scheduler.Delivery) error { return broken })
		if !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	})
}
