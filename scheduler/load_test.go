package scheduler_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
)

const largePayload = 100_000

// large makes n tasks with large payloads due in a queue at once, which share theirs.
func (w *world) large(queue string, n int) {
	w.t.Helper()
	payload := make([]byte, largePayload)
	for i := range n {
		w.report(failure(fmt.Sprint(queue, i), by("now"), in(queue), func(r *scheduler.Report) { r.Spec.Payload = payload }))
	}
	w.pass(time.Millisecond)
}

// oneRound is how many attempts claims of all shards may bring that were under way when
// the first of them came.
const oneRound = 3 * 100

// TestWorkerThatTakesNothingIsGivenLittle has credit for far more than may wait.
func TestWorkerThatTakesNothingIsGivenLittle(t *testing.T) {
	inWorld(t, func(w *world) {
		const all = 1000
		w.large("q", all)
		deaf := w.worker(all)
		w.pass(10 * time.Second)
		if v := w.view("q"); v.Leased > oneRound {
			t.Errorf("%d attempts of %d bytes are leased for a worker that takes none", v.Leased, largePayload)
		}
		// Once it takes them it gets them all at once, while it settles none.
		start := time.Now()
		for range all {
			w.next(deaf)
		}
		equal(t, "took", time.Since(start), 0*time.Second)
		equal(t, "leased", w.view("q").Leased, int64(all))
	})
}

// TestWorkersThatTakeNothingStarveNobody has several workers take nothing of what carries
// much: others get theirs, and when it is too much in all they get them as soon as one of
// those has gone.
func TestWorkersThatTakeNothingStarveNobody(t *testing.T) {
	inWorld(t, func(w *world) {
		quick := w.worker(10)
		var deaf []*scheduler.Subscription
		for i := range 5 {
			queue := fmt.Sprint("large", i)
			w.large(queue, oneRound)
			deaf = append(deaf, w.worker(1000, func(o *scheduler.SubscribeOptions) { o.Queues = []string{queue} }))
			w.pass(5 * time.Second)
			if i == 3 {
				// They hold 120 MB.
				break
			}
			w.report(failure(fmt.Sprint("quick", i), by("now")))
			w.report(success("", with(w.next(quick))))
		}
		w.report(failure("late", by("now")))
		w.none(quick)
		if err := deaf[0].Close(w.ctx); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		equal(t, "task", w.next(quick).Task.Key.ID, "late")
		equal(t, "waited for", time.Since(start), 0*time.Second)
	})
}

// TestOutcomesOfLargeTasks settles more than is kept of what is out.
func TestOutcomesOfLargeTasks(t *testing.T) {
	inWorld(t, func(w *world) {
		const all = 500
		w.large("q", all)
		sub := w.worker(all)
		var out []scheduler.Delivery
		for range all {
			out = append(out, w.next(sub))
		}
		for i, d := range out {
			w.report(success("", with(d)))
			if got := w.load(d.Task.Key.ID); got.State != scheduler.StateSucceeded {
				t.Fatalf("task %d is %s", i, got.State)
			}
		}
		w.none(sub)
	})
}
