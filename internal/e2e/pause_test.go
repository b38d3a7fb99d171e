package e2e_test

import (
	"context"
	"sync"
	"testing"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/scheduler"
)

// TestPauseInADrain pauses a queue at one replica while workers of two drain it:
// once the pause is confirmed, nothing more is claimed, and what was claimed
// before is settled as ever. Resumed at the other replica, the rest drains, each
// task once.
func TestPauseInADrain(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() scheduler.Store) {
		const n = 10_000
		replicas := []*replica{serve(t, open()), serve(t, open())}
		c := replicas[0].client(t)
		createPolicy(t, c, "soon", time.Millisecond)
		for i := 0; i < n; i += 500 {
			if err := reportFor(t.Context(), c, "soon", i, 500); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		runs := make(map[string]int)
		settled, claimed := 0, time.Time{}
		some, all := make(chan struct{}), make(chan struct{})
		for i := range 4 {
			work(t, replicas[i%2].client(t), func(_ context.Context, a *client.Attempt) error {
				mu.Lock()
				defer mu.Unlock()
				runs[a.TaskID]++
				if at := a.LeaseExpireTime.Add(-30 * time.Second); at.After(claimed) {
					claimed = at
				}
				if len(runs) == n/10 {
					close(some)
				}
				return nil
			}, client.WithMaxInFlight(32), client.WithConcurrency(8), client.WithLeaseDuration(30*time.Second),
				client.WithSettled(func(client.Settled) {
					mu.Lock()
					defer mu.Unlock()
					if settled++; settled == n {
						close(all)
					}
				}))
		}
		<-some
		paused, err := replicas[0].queues(t).PauseQueue(t.Context(), &retryv1.PauseQueueRequest{Queue: "q"})
		at := time.Now()
		if err != nil || !paused.GetQueue().GetPaused() {
			t.Fatalf("pause: %v, %v", paused, err)
		}
		left := awaitNoneLeased(t, replicas[1].queues(t))
		if left < n/10 {
			t.Errorf("only %d of %d were left when nothing was leased any more", left, n)
		}
		mu.Lock()
		if claimed.After(at) {
			t.Errorf("an attempt was claimed %s after the pause had been confirmed", claimed.Sub(at))
		}
		if int64(len(runs))+left != n {
			t.Errorf("%d have run and %d are left, want %d together", len(runs), left, n)
		}
		mu.Unlock()
		if _, err := replicas[1].queues(t).ResumeQueue(t.Context(), &retryv1.ResumeQueueRequest{Queue: "q"}); err != nil {
			t.Fatal(err)
		}
		<-all
		for id, times := range runs {
			if times != 1 {
				t.Errorf("task %s has run %d times", id, times)
			}
		}
		if len(runs) != n {
			t.Errorf("%d tasks have run, want %d", len(runs), n)
		}
	})
}

// awaitNoneLeased waits until no attempt of queue q is out, and returns how many
// are left.
func awaitNoneLeased(t *testing.T, queues retryv1.QueueServiceClient) int64 {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := queues.GetQueue(t.Context(), &retryv1.GetQueueRequest{Queue: "q"})
		if err != nil {
			t.Fatal(err)
		}
		if q := got.GetQueue(); q.GetLeased() == 0 {
			return q.GetScheduled()
		}
		<-tick.C
	}
}
