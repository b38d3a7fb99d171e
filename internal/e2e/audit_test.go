package e2e_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/scheduler"
)

// window is a time in which Redis may have lost what it had acknowledged, since a
// replica took over that had not got it yet.
type window struct{ from, to time.Time }

// audit holds the store, at the end of a run, against the ledger.
type audit struct {
	*ledger
	// windows are empty where nothing may be lost at all.
	windows []window
	sum     figures

	problems map[string][]string // by task
}

// figures are what an audit counts.
type figures struct {
	tasks, reports, outcomes, handouts int
	// lostReports and lostOutcomes were acknowledged and are not in the store,
	// lostClaims were handed out and are not.
	lostReports, lostOutcomes, lostClaims int
	// expired are hand-outs that ended without an outcome that counted, extended
	// are leases whose end was put off.
	expired, extended int
	// unknown are tasks whose only report was not answered; kept are those of them
	// that the store has.
	unknown, kept int
}

func (f *figures) String() string {
	return fmt.Sprintf("%d tasks: lost %d of %d acknowledged reports and %d of %d acknowledged outcomes; "+
		"%d hand-outs, of which Redis lost %d, and %d ended without an outcome that counted; %d leases extended; of %d tasks reported without an answer %d were kept",
		f.tasks, f.lostReports, f.reports, f.lostOutcomes, f.outcomes,
		f.handouts, f.lostClaims, f.expired, f.extended, f.unknown, f.kept)
}

// run checks every task that anybody was told of. Callers have ended all load.
func (a *audit) run(t *testing.T, load func(ids []string) map[string]*scheduler.Task) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := make([]string, 0, len(a.tasks))
	for id := range a.tasks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	records := load(ids)
	a.problems = make(map[string][]string)
	for _, id := range ids {
		a.check(a.tasks[id], records[id])
	}
	// A fault of many tasks is told by some.
	shown := 0
	for _, id := range ids {
		if len(a.problems[id]) == 0 {
			continue
		}
		if shown++; shown <= 5 {
			t.Errorf("%q\n%s", a.problems[id], a.tasks[id].log(a.began, records[id]))
		}
	}
	if shown > 5 {
		t.Errorf("and %d more tasks", shown-5)
	}
}

// check holds one task against its account.
func (a *audit) check(acc *account, task *scheduler.Task) {
	a.sum.tasks++
	if !acc.acknowledged() {
		a.sum.unknown++
		if task != nil {
			a.sum.kept++
		}
	}
	if task != nil {
		a.checkHistory(acc, task)
	}
	a.checkReports(acc, task)
	slices.SortFunc(acc.handouts, func(x, y *handout) int { return cmp.Compare(x.fence.Number, y.fence.Number) })
	for i, h := range acc.handouts {
		a.checkHandout(acc, h, task)
		a.checkLater(acc, h, acc.handouts[i+1:], task)
	}
}

func (a *audit) problem(acc *account, format string, args ...any) {
	a.problems[acc.id] = append(a.problems[acc.id], fmt.Sprintf(format, args...))
}

// lose counts something that was acknowledged and is not there, which is a
// problem unless Redis may have lost it.
func (a *audit) lose(acc *account, count *int, at time.Time, what string) {
	*count++
	if !slices.ContainsFunc(a.windows, func(w window) bool { return at.After(w.from) && at.Before(w.to) }) {
		a.problem(acc, "lost: %s", what)
	}
}

// checkHistory wants each attempt's effect exactly once.
func (a *audit) checkHistory(acc *account, task *scheduler.Task) {
	ok := task.State == scheduler.StateSucceeded && len(task.History) == 3 && task.Dropped == 0 && task.Generation == 1
	for i, rec := range task.History {
		ok = ok && rec.Attempt == i+1 && rec.Success == (rec.Attempt == 3)
	}
	if !ok {
		a.problem(acc, "it has not come to its end by one failure, a second one and a success")
	}
}

// checkReports wants every acknowledged report to be the first record of the
// task, with the decision that was told.
func (a *audit) checkReports(acc *account, task *scheduler.Task) {
	for _, r := range acc.reports {
		if r.err != nil {
			continue
		}
		a.sum.reports++
		if r.decision.Action != client.ActionRetry || r.decision.Attempt != 1 || r.decision.NextAttempt != 2 {
			a.problem(acc, "a first failure was answered with %s", r.decision)
		}
		if task == nil || len(task.History) == 0 || task.History[0].Decision.NextMS != r.decision.NextAttemptTime.UnixMilli() {
			a.lose(acc, &a.sum.lostReports, r.at, "a report")
		}
	}
}

// checkHandout checks what can be said of a hand-out by itself.
func (a *audit) checkHandout(acc *account, h *handout, task *scheduler.Task) {
	a.sum.handouts++
	number := h.attempt.Number
	if h.end.After(h.firstEnd) {
		a.sum.extended++
	}
	if h.claimed.Before(h.attempt.DueTime) || h.start.Before(h.attempt.DueTime) {
		a.problem(acc, "attempt %d was handed out before it was due", number)
	}
	rec := recordOf(task, number)
	counted := rec != nil && rec.Fence == h.fence
	switch {
	case h.settled == nil:
		a.problem(acc, "a hand-out of attempt %d has not ended", number)
	case h.took():
		a.sum.outcomes++
		if !counted {
			a.lose(acc, &a.sum.lostOutcomes, h.settledAt, fmt.Sprintf("an outcome of attempt %d", number))
		}
	default:
		a.sum.expired++
		if !errors.Is(h.settled.Refused, client.ErrLeaseLost) {
			a.problem(acc, "an outcome of attempt %d was refused: %v", number, h.settled.Refused)
		}
		if counted {
			a.problem(acc, "an outcome of attempt %d was refused, and has had an effect", number)
		}
	}
	if !counted {
		return
	}
	before := recordOf(task, number-1)
	if before == nil || before.Decision.NextMS != h.attempt.DueTime.UnixMilli() {
		a.problem(acc, "attempt %d fell due at another time than was decided", number)
	}
	if d := h.settled.Decision; d != nil && d.NextAttemptTime.UnixMilli() != rec.Decision.NextMS {
		a.problem(acc, "the worker was told another decision on attempt %d than was kept", number)
	}
	if rec.Deliveries != h.attempt.Delivery {
		a.problem(acc, "attempt %d was settled by delivery %d, and the record says %d", number, h.attempt.Delivery, rec.Deliveries)
	}
}

// recordOf is what the task's history says of an attempt, nil when it says
// nothing.
func recordOf(task *scheduler.Task, attempt int) *scheduler.AttemptRecord {
	if task == nil || attempt < 1 || attempt > len(task.History) {
		return nil
	}
	return &task.History[attempt-1]
}

// checkLater checks a hand-out against those with a later fence: they must have
// come after its end, and its outcome must not count from then on.
func (a *audit) checkLater(acc *account, h *handout, later []*handout, task *scheduler.Task) {
	x := h.attempt
	rec := recordOf(task, x.Number)
	for _, l := range later {
		y := l.attempt
		if y.Number < x.Number || (y.Number == x.Number && y.Delivery <= x.Delivery) {
			// The store knew nothing of h when it made this one.
			a.lose(acc, &a.sum.lostClaims, h.start, fmt.Sprintf("delivery %d of attempt %d", x.Delivery, x.Number))
			return
		}
		if y.Number > x.Number {
			continue
		}
		if rec != nil && rec.Fence == h.fence {
			a.problem(acc, "delivery %d settled attempt %d, of which there is delivery %d", x.Delivery, x.Number, y.Delivery)
		}
		switch {
		case l.claimed.Before(h.firstEnd):
			a.problem(acc, "deliveries %d and %d of attempt %d overlap", x.Delivery, y.Delivery, x.Number)
		case l.claimed.Before(h.end):
			a.lose(acc, &a.sum.lostClaims, h.extendedAt, fmt.Sprintf("an extension of delivery %d of attempt %d", x.Delivery, x.Number))
			return
		}
	}
}
