package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// diary is an observer that writes down what it is told.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// read returns what was written since it was read last.
func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := append([]string{}, d.lines...)
	d.lines = nil
	return out
}

func (d *diary) Reported(_ context.Context, e scheduler.ReportEvent) {
	line := "report of " + e.Report.ID
	if e.Err != nil {
		var err *scheduler.Error
		errors.As(e.Err, &err)
		line += fmt.Sprintf(" refused %d", err.Kind)
	} else {
		line += fmt.Sprintf(": attempt %d %s", e.Answer.Record.Attempt, e.Answer.Record.Decision.Action)
	}
	if e.Task != nil {
		line += " is " + e.Task.State.String()
	}
	if e.Effective() {
		line += " effective"
	}
	d.note("%s", line)
}

func (d *diary) HandedOut(t *scheduler.Task, nowMS int64) {
	d.note("handed out %s/%d/%d %d ms late", t.Key.ID, t.Attempt, t.Delivery, nowMS-t.DueMS)
}

func (d *diary) LeaseExpired(t *scheduler.Task) {
	d.note("expired %s/%d is %s", t.Key.ID, t.Expiries, t.State)
}

func (d *diary) Died(t *scheduler.Task) { d.note("died %s of %s", t.Key.ID, t.DeadReason) }

// inObservedWorld is inWorld with a diary of what its scheduler does.
func inObservedWorld(t *testing.T, test func(w *world, d *diary)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		test(newObservedWorld(t, memstore.New(memstore.Config{Shards: 3}), d), d)
	})
}

func TestObserverIsToldOfReports(t *testing.T) {
	inObservedWorld(t, func(w *world, d *diary) {
		w.report(failure("a", keyed("k")))
		w.report(failure("a", keyed("k")))
		_, _ = w.s.Report(w.ctx, failure("a", attempt(7)))
		_, _ = w.s.Report(w.ctx, failure("", func(r *scheduler.Report) { r.Token = "rubbish" }))
		w.report(failure("b", by("never")))
		w.report(failure("c", by("holds"), outcome("hold")))
		w.report(success("d"))
		equal(t, "told", d.read(), []string{
			"report of a: attempt 1 RETRY is SCHEDULED effective",
			"report of a: attempt 1 RETRY is SCHEDULED",
			fmt.Sprintf("report of a refused %d is SCHEDULED", scheduler.KindOutOfOrder),
			fmt.Sprintf("report of  refused %d", scheduler.KindInvalid),
			"report of b: attempt 1 DEAD_LETTER is DEAD effective",
			"report of c: attempt 1 HOLD is HELD effective",
			"report of d: attempt 1 UNSPECIFIED is SUCCEEDED effective",
		})
	})
}

func TestObserverIsToldOfHandOutsAndExpiries(t *testing.T) {
	inObservedWorld(t, func(w *world, d *diary) {
		sub := w.worker(1)
		w.report(failure("a", by("fragile")))
		w.next(sub)
		w.pass(31 * time.Second)
		w.next(sub)
		w.pass(31 * time.Second)
		w.none(sub)
		equal(t, "told", d.read(), []string{
			"report of a: attempt 1 RETRY is SCHEDULED effective",
			"handed out a/2/1 0 ms late",
			"expired a/1 is LEASED",
			"handed out a/2/2 31000 ms late",
			"expired a/2 is LEASED",
			"died a of LEASES_EXPIRED",
		})
	})
}

func TestObserverIsToldOfWhatNobodyTook(t *testing.T) {
	inObservedWorld(t, func(w *world, d *diary) {
		w.report(failure("late", func(r *scheduler.Report) {
			r.Spec.DeadlineMS = time.Now().Add(2 * time.Minute).UnixMilli()
		}))
		w.report(failure("leased", by("fragile"), func(r *scheduler.Report) { r.Spec.Queue = "other" }))
		w.pass(time.Minute)
		lease := scheduler.NextRequest{Namespace: "ns", TaskID: "leased", Lease: time.Second, Worker: "w"}
		for range 2 {
			if a, err := w.s.Next(w.ctx, lease); err != nil || a.Leased == nil {
				t.Fatal(a, err)
			}
			w.pass(time.Second)
		}
		// The worker that lost the answer asks again: it is handed nothing new.
		if a, err := w.s.Next(w.ctx, lease); err != nil || a.Leased != nil {
			t.Fatal(a, err)
		}
		w.pass(5 * time.Minute)
		got := d.read()
		equal(t, "told", got[2:], []string{
			"handed out leased/2/1 0 ms late",
			"expired leased/1 is LEASED",
			"handed out leased/2/2 1000 ms late",
			"expired leased/2 is LEASED",
			"died leased of LEASES_EXPIRED",
			"died late of DEADLINE",
		})
	})
}

func TestObserverIsToldOnceOfALeaseGivenAgain(t *testing.T) {
	inObservedWorld(t, func(w *world, d *diary) {
		w.report(failure("a", by("now")))
		d.read()
		lease := scheduler.NextRequest{Namespace: "ns", TaskID: "a", Lease: time.Minute, Worker: "w"}
		for range 2 {
			if a, err := w.s.Next(w.ctx, lease); err != nil || a.Leased == nil {
				t.Fatal(a, err)
			}
		}
		equal(t, "told", d.read(), []string{"handed out a/2/1 0 ms late"})
	})
}

func TestObserversTellAll(t *testing.T) {
	t.Parallel()
	a, b := &diary{}, &diary{}
	if got := scheduler.Observers(nil, nil); got != nil {
		t.Errorf("of none: %v, want nil", got)
	}
	if got := scheduler.Observers(nil, a); got != scheduler.Observer(a) {
		t.Errorf("of one: %v, want that one", got)
	}
	both := scheduler.Observers(a, nil, b)
	task := &scheduler.Task{Key: scheduler.TaskKey{Namespace: "ns", ID: "x"}}
	both.Reported(t.Context(), scheduler.ReportEvent{Report: &scheduler.Report{ID: "x"}, Answer: &scheduler.Answer{}})
	both.HandedOut(task, 0)
	both.LeaseExpired(task)
	both.Died(task)
	told := a.read()
	equal(t, "how much", len(told), 4)
	equal(t, "the second", b.read(), told)
}
