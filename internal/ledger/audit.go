package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/scheduler"
)

// Window is a time in which Redis may have lost what it had acknowledged, such as a
// failover to a replica that had not got it yet.
type Window struct{ From, To time.Time }

// Plan says how tasks were to go.
type Plan struct {
	// Attempts is with which attempt each succeeds, those before it having failed.
	Attempts int
	// Windows are empty where nothing may be lost at all.
	Windows []Window
}

// Store is what an audit asks.
type Store interface {
	Load(ctx context.Context, keys []scheduler.TaskKey) []scheduler.Loaded
}

// Figures are what an audit counts.
type Figures struct {
	Tasks    int `json:"tasks"`
	Reports  int `json:"acknowledged_reports"`
	Outcomes int `json:"acknowledged_outcomes"`
	Handouts int `json:"handouts"`
	// LostReports and LostOutcomes were acknowledged and are not in the store,
	// LostClaims were handed out and are not.
	LostReports  int `json:"lost_reports"`
	LostOutcomes int `json:"lost_outcomes"`
	LostClaims   int `json:"lost_claims"`
	// Executions are what the store has done, by what it keeps: failures and successes
	// recorded, and deliveries of what they are of. Operations are how much of it
	// somebody has asked for or got: an attempt's outcome, and a hand-out.
	Executions int `json:"executions"`
	Operations int `json:"operations"`
	// Doubled are attempts with more than one effect, Early are hand-outs before
	// their time, Overlaps leases of one task at the same time, StaleTaken
	// outcomes that counted though the lease had gone to another, StaleTried all that
	// was tried under leases that were lost.
	Doubled    int `json:"double_effects"`
	Early      int `json:"early_handouts"`
	Overlaps   int `json:"overlapping_leases"`
	StaleTaken int `json:"stale_taken"`
	StaleTried int `json:"stale_tried"`
	// Broken are tasks that did not go as planned in any way.
	Broken int `json:"broken_tasks"`
	// Expired are hand-outs that ended without an outcome that counted, Abandoned
	// those of them whose worker was killed, Extended leases whose end was put off.
	Expired   int `json:"expired"`
	Abandoned int `json:"abandoned"`
	Extended  int `json:"extended"`
	// Unknown are tasks whose reports were not answered; Kept are those of them that
	// the store has, Stored all that it has.
	Unknown int `json:"unanswered"`
	Kept    int `json:"unanswered_kept"`
	Stored  int `json:"stored"`
}

// String tells them in a sentence.
func (f *Figures) String() string {
	return fmt.Sprintf("%d tasks: lost %d of %d acknowledged reports and %d of %d acknowledged outcomes; "+
		"%d hand-outs, of which Redis lost %d, and %d ended without an outcome that counted; %d leases extended; of %d tasks reported without an answer %d were kept",
		f.Tasks, f.LostReports, f.Reports, f.LostOutcomes, f.Outcomes,
		f.Handouts, f.LostClaims, f.Expired, f.Extended, f.Unknown, f.Kept)
}

// audit holds the store, at the end of a run, against the ledger.
type audit struct {
	*Ledger
	plan     Plan
	sum      Figures
	problems map[string][]string // by task
}

// told is of how many tasks an audit tells the story.
const told = 5

// Audit checks every task of the namespace "default" that anybody was told of.
// Callers have ended all load. It returns what it counted, and a text for each
// thing that must not be, with the story of the first tasks concerned.
func (l *Ledger) Audit(ctx context.Context, store Store, plan Plan) (Figures, []string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]string, 0, len(l.tasks))
	for id := range l.tasks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	records, err := load(ctx, store, ids)
	if err != nil {
		return Figures{}, nil, err
	}
	a := &audit{Ledger: l, plan: plan, problems: make(map[string][]string)}
	for _, id := range ids {
		a.check(l.tasks[id], records[id])
	}
	a.sum.StaleTried += l.trials
	a.sum.StaleTaken += l.taken
	// A fault of many tasks is told by some.
	found := slices.Clone(l.faults[:min(told, len(l.faults))])
	for _, id := range ids {
		if len(a.problems[id]) == 0 {
			continue
		}
		if a.sum.Broken++; a.sum.Broken <= told {
			found = append(found, fmt.Sprintf("%q\n%s", a.problems[id], l.tasks[id].story(l.began, records[id])))
		}
	}
	if a.sum.Broken > told {
		found = append(found, fmt.Sprintf("and %d more tasks", a.sum.Broken-told))
	}
	return a.sum, found, nil
}

// load reads tasks from the store, those that it has.
func load(ctx context.Context, store Store, ids []string) (map[string]*scheduler.Task, error) {
	const batch = 1000
	out := make(map[string]*scheduler.Task, len(ids))
	for part := range slices.Chunk(ids, batch) {
		keys := make([]scheduler.TaskKey, len(part))
		for i, id := range part {
			keys[i] = scheduler.TaskKey{Namespace: "default", ID: id}
		}
		for i, got := range store.Load(ctx, keys) {
			if got.Err != nil {
				return nil, fmt.Errorf("load task %s: %w", part[i], got.Err)
			}
			out[part[i]] = got.Task
		}
	}
	return out, nil
}

// check holds one task against its account.
func (a *audit) check(acc *account, task *scheduler.Task) {
	a.sum.Tasks++
	if task != nil {
		a.sum.Stored++
		a.checkHistory(acc, task)
	}
	if !acc.acknowledged() {
		a.sum.Unknown++
		if task != nil {
			a.sum.Kept++
		}
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
	if !slices.ContainsFunc(a.plan.Windows, func(w Window) bool { return at.After(w.From) && at.Before(w.To) }) {
		a.problem(acc, "I1: lost: %s", what)
	}
}

// checkHistory wants each attempt's effect exactly once.
func (a *audit) checkHistory(acc *account, task *scheduler.Task) {
	effects := make(map[int]int)
	ok := task.State == scheduler.StateSucceeded && len(task.History) == a.plan.Attempts && task.Dropped == 0 && task.Generation == 1
	a.sum.Operations += len(acc.handouts)
	for i, rec := range task.History {
		a.sum.Executions += 1 + rec.Deliveries
		ok = ok && rec.Attempt == i+1 && rec.Success == (rec.Attempt == a.plan.Attempts)
		if effects[rec.Attempt]++; effects[rec.Attempt] == 2 {
			a.sum.Doubled++
		}
	}
	a.sum.Operations += len(effects)
	if !ok {
		a.problem(acc, "I2, I6, I8: it has not come to its end by %d failures and a success", a.plan.Attempts-1)
	}
}

// checkReports wants every acknowledged report to be the first record of the
// task, with the decision that was told.
func (a *audit) checkReports(acc *account, task *scheduler.Task) {
	for _, r := range acc.reports {
		if r.err != nil {
			continue
		}
		a.sum.Reports++
		if r.decision.Action != client.ActionRetry || r.decision.Attempt != 1 || r.decision.NextAttempt != 2 {
			a.problem(acc, "I2: a first failure was answered with %s", r.decision)
		}
		if task == nil || len(task.History) == 0 || task.History[0].Decision.NextMS != r.decision.NextAttemptTime.UnixMilli() {
			a.lose(acc, &a.sum.LostReports, r.at, "a report")
		}
	}
}

// checkHandout checks what can be said of a hand-out by itself.
func (a *audit) checkHandout(acc *account, h *handout, task *scheduler.Task) {
	a.sum.Handouts++
	number := h.Attempt
	if h.end.After(h.Ends) {
		a.sum.Extended++
	}
	if h.Claimed.Before(h.Due) || h.At.Before(h.Due) {
		a.sum.Early++
		a.problem(acc, "I3: attempt %d was handed out before it was due", number)
	}
	rec := recordOf(task, number)
	counted := rec != nil && rec.Fence == h.fence
	switch {
	case h.settled == nil && a.killed[h.Via]:
		if !counted {
			a.sum.Expired++
			a.sum.Abandoned++
		}
	case h.settled == nil:
		a.problem(acc, "I8: a hand-out of attempt %d has not ended", number)
	case h.took():
		a.sum.Outcomes++
		if !counted {
			a.lose(acc, &a.sum.LostOutcomes, h.settled.At, fmt.Sprintf("an outcome of attempt %d", number))
		}
	default:
		a.sum.Expired++
		a.sum.StaleTried++
		if !h.settled.LeaseLost {
			a.problem(acc, "an outcome of attempt %d was refused: %s", number, h.settled.Refused)
		}
		if counted {
			a.sum.StaleTaken++
			a.problem(acc, "I5: an outcome of attempt %d was refused, and has had an effect", number)
		}
	}
	if !counted {
		return
	}
	before := recordOf(task, number-1)
	if before == nil || before.Decision.NextMS != h.Due.UnixMilli() {
		a.problem(acc, "I2: attempt %d fell due at another time than was decided", number)
	}
	if h.settled != nil && h.settled.Decision != nil && h.settled.Decision.NextAttemptTime.UnixMilli() != rec.Decision.NextMS {
		a.problem(acc, "I2: the worker was told another decision on attempt %d than was kept", number)
	}
	if rec.Deliveries != h.Delivery {
		a.problem(acc, "I5: attempt %d was settled by delivery %d, and the record says %d", number, h.Delivery, rec.Deliveries)
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

// heldAt says whether the worker held the attempt at a moment, as far as it knew.
func (h *handout) heldAt(at time.Time) bool {
	return at.Before(h.end) && (h.settled == nil || h.settled.At.After(at))
}

// checkLater checks a hand-out against those with a later fence: they must have
// come after its end, and its outcome must not count from then on. Where the store has
// lost what made it a hand-out, which is a problem or not by itself, others may have
// come meanwhile: this is counted.
func (a *audit) checkLater(acc *account, x *handout, later []*handout, task *scheduler.Task) {
	rec := recordOf(task, x.Attempt)
	for _, y := range later {
		if y.Attempt < x.Attempt || (y.Attempt == x.Attempt && y.Delivery <= x.Delivery) {
			// The store knew nothing of x when it made this one.
			if x.heldAt(y.Claimed) {
				a.sum.Overlaps++
			}
			a.lose(acc, &a.sum.LostClaims, x.At, fmt.Sprintf("delivery %d of attempt %d", x.Delivery, x.Attempt))
			return
		}
		if y.Attempt > x.Attempt {
			continue
		}
		if rec != nil && rec.Fence == x.fence {
			a.sum.StaleTaken++
			a.problem(acc, "I5: delivery %d settled attempt %d, of which there is delivery %d", x.Delivery, x.Attempt, y.Delivery)
		}
		switch {
		case y.Claimed.Before(x.Ends):
			a.sum.Overlaps++
			a.problem(acc, "I4: deliveries %d and %d of attempt %d overlap", x.Delivery, y.Delivery, x.Attempt)
		case y.Claimed.Before(x.end):
			if x.heldAt(y.Claimed) {
				a.sum.Overlaps++
			}
			a.lose(acc, &a.sum.LostClaims, x.extendedAt, fmt.Sprintf("an extension of delivery %d of attempt %d", x.Delivery, x.Attempt))
			return
		}
	}
}
