package scheduler_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// claimCounter counts the claims that a store is asked for.
type claimCounter struct {
	scheduler.Store
	claims atomic.Int64
}

func (c *claimCounter) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	c.claims.Add(int64(len(claims)))
	return c.Store.Claim(ctx, claims)
}

// TestManyEmptyQueuesAreNotClaimedFrom subscribes to more queues than anybody looks
// into one by one: only where something is due is it claimed, and nothing is missed.
func TestManyEmptyQueuesAreNotClaimedFrom(t *testing.T) {
	store := &claimCounter{}
	inWorldOn(t, func(s scheduler.Store) scheduler.Store { store.Store = s; return store }, func(w *world) {
		w.report(failure("due", by("now"), func(r *scheduler.Report) { r.Spec.Queue = "queue-7" }))
		w.report(failure("later", func(r *scheduler.Report) { r.Spec.Queue = "queue-8" }))
		w.pass(time.Second)
		var queues []string
		for i := range 100 {
			queues = append(queues, fmt.Sprint("queue-", i))
		}
		sub := w.worker(5, func(o *scheduler.SubscribeOptions) { o.Queues, o.Lease = queues, time.Hour })
		synctest.Wait()
		if got := w.next(sub).Task.Key.ID; got != "due" {
			t.Errorf("delivered %s", got)
		}
		w.none(sub)
		// That claim, and maybe one more to see that nothing is left.
		if got := store.claims.Load(); got < 1 || got > 3 {
			t.Errorf("%d claims were made for one attempt in 100 queues", got)
		}
		if got := w.next(sub).Task.Key.ID; got != "later" {
			t.Errorf("delivered %s", got)
		}
		w.report(failure("new", by("now"), func(r *scheduler.Report) { r.Spec.Queue = "queue-9" }))
		if got := w.next(sub).Task.Key.ID; got != "new" {
			t.Errorf("delivered %s", got)
		}
	})
}

// silent is a store that gives no hints, and notes how many queues it is asked about at
// once.
type silent struct {
	scheduler.Store
	most atomic.Int64
}

func (*silent) Hints(ctx context.Context, _ func(scheduler.Hint), _ func()) error {
	<-ctx.Done()
	return nil
}

func (s *silent) Heads(ctx context.Context, queues []scheduler.QueueKey) ([][]scheduler.Head, error) {
	s.most.Store(max(s.most.Load(), int64(len(queues))))
	return s.Store.Heads(ctx, queues)
}

// TestThousandsOfQueuesAreAskedAboutInParts has another replica report into some of very
// many queues, of which this one learns only by asking.
func TestThousandsOfQueuesAreAskedAboutInParts(t *testing.T) {
	store := &silent{}
	inWorldOn(t, func(s scheduler.Store) scheduler.Store { store.Store = s; return store }, func(w *world) {
		var queues []string
		for i := range 3500 {
			queues = append(queues, fmt.Sprint("queue-", i))
		}
		sub := w.worker(5, func(o *scheduler.SubscribeOptions) { o.Queues, o.Lease = queues, time.Hour })
		shown := w.observer("queue-1700", "queue-3499")
		synctest.Wait()
		other := w.another()
		for _, i := range []int{0, 1700, 3499} {
			r := failure(queues[i], by("now"), func(r *scheduler.Report) { r.Spec.Queue = queues[i] })
			if _, err := other.Report(w.ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		got := make(map[string]bool)
		for range 3 {
			got[w.next(sub).Task.Key.ID] = true
		}
		equal(t, "delivered", got, map[string]bool{"queue-0": true, "queue-1700": true, "queue-3499": true})
		if took := time.Since(start); took > time.Second {
			t.Errorf("they were handed out after %s", took)
		}
		equal(t, "shown", len(labels(shown)), 2)
		// Those of an observer may come on top.
		if most := store.most.Load(); most > 1000+2 {
			t.Errorf("%d queues were asked about at once", most)
		}
	})
}

// slowClaims is a store whose claims wait while it is held.
type slowClaims struct {
	scheduler.Store
	hold atomic.Pointer[chan struct{}]
}

func (c *slowClaims) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	if held := c.hold.Load(); held != nil {
		<-*held
	}
	return c.Store.Claim(ctx, claims)
}

// TestQueueThatIsSubscribedToAnewWhileClaimedFrom has the only subscriber leave while a
// claim for it is on its way, and another come before the answer does.
func TestQueueThatIsSubscribedToAnewWhileClaimedFrom(t *testing.T) {
	store := &slowClaims{}
	inWorldOn(t, func(s scheduler.Store) scheduler.Store { store.Store = s; return store }, func(w *world) {
		held := make(chan struct{})
		store.hold.Store(&held)
		first := w.worker(1)
		synctest.Wait()
		if err := first.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := w.worker(1)
		store.hold.Store(nil)
		close(held)
		synctest.Wait()
		w.report(failure("a", by("now")))
		if got := w.next(second).Task.Key.ID; got != "a" {
			t.Errorf("delivered %s", got)
		}
	})
}
