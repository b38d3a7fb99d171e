package scheduler_test

import (
	"context"
	"errors"
	"fmt"
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
