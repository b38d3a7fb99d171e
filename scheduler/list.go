package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/retryd/retryd/policy"
)

// TaskFilter says which tasks are meant; what is not set matches all. Queue with
// State, Condition and Fingerprint are answered by indexes; the others are held
// against each task, of which one call looks at no more than 1,000.
type TaskFilter struct {
	// State is a live state; StateUnknown stands for all of them.
	State State
	Queue string
	// Condition is that of HELD tasks, Fingerprint that of DEAD ones.
	Condition   string
	Fingerprint Fingerprint

	Group, Policy, Job, Environment string
	DeadReason                      policy.Reason
}

// Validate says what contradicts itself in the filter, and fills in the state that
// follows from the rest of it.
func (f *TaskFilter) Validate() []policy.Violation {
	var bad []policy.Violation
	refuse := func(field, format string, args ...any) { bad = append(bad, violation(field, format, args...)) }
	if f.State != StateUnknown && !f.State.Live() {
		refuse("state", "is %s; it must be SCHEDULED, LEASED, HELD or DEAD, or left out: ended tasks are not listed, get them by id", f.State)
	}
	only := func(field string, state State) {
		switch f.State {
		case state:
		case StateUnknown:
			f.State = state
		default:
			refuse(field, "is given, which only %s tasks have, with state %s", state, f.State)
		}
	}
	if f.Condition != "" {
		only("condition", StateHeld)
	}
	if f.Fingerprint != 0 {
		only("fingerprint", StateDead)
	}
	if f.DeadReason != policy.ReasonUnspecified {
		only("dead_reason", StateDead)
	}
	return bad
}

// indexed says whether an index answers the whole filter.
func (f *TaskFilter) indexed() bool {
	rest := *f
	rest.Condition, rest.Fingerprint = "", 0
	if f.Condition == "" {
		rest.Queue = ""
	}
	if f.State == StateHeld || f.State == StateDead {
		rest.State = StateUnknown
	}
	return rest == TaskFilter{}
}

// matches holds the filter against a task.
func (f *TaskFilter) matches(t *Task) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return (f.State == StateUnknown || f.State == t.State) &&
		is(f.Queue, t.Spec.Queue) &&
		is(f.Condition, t.HoldCondition) &&
		(f.Fingerprint == 0 || f.Fingerprint == t.Fingerprint) &&
		is(f.Group, t.Spec.Group) &&
		is(f.Policy, t.Spec.Policy) &&
		is(f.Job, t.Spec.Job) &&
		is(f.Environment, t.Spec.Environment) &&
		(f.DeadReason == policy.ReasonUnspecified || f.DeadReason == t.DeadReason)
}

// Cursor is a place in the list of a filter's tasks. The zero Cursor is before
// the first.
type Cursor struct {
	// Index is the one that the place is in.
	Index Index
	Place Place
}

// TaskPage is a page of tasks.
type TaskPage struct {
	// Tasks are without payload and history.
	Tasks []*Task
	// Ends are the places of the tasks, for a page that is to end before its last.
	Ends []Cursor
	// Next is where the page ends; zero when nothing follows.
	Next Cursor
}

// loadedAtOnce is how many tasks are held in memory at a time: their payloads may
// be large.
const loadedAtOnce = 100

// Tasks returns a page of the tasks that match, at most limit: queue by queue in
// the order of their names, in each those SCHEDULED or LEASED, HELD, and DEAD, and
// those by time and id, over all shards. A page may be short, and even empty,
// though more follow. A filter that contradicts itself is KindInvalid.
func (s *Scheduler) Tasks(ctx context.Context, namespace string, f TaskFilter, after Cursor, limit int) (TaskPage, error) {
	if bad := f.Validate(); len(bad) > 0 {
		return TaskPage{}, Invalid(bad...)
	}
	want := limit
	if !f.indexed() {
		want = max(limit, loadedAtOnce)
	}
	w, err := s.newWalk(namespace, f, after, want)
	if err != nil {
		return TaskPage{}, err
	}
	var page TaskPage
	for looked := 0; looked < maxLooked && len(page.Tasks) < limit; {
		n := min(loadedAtOnce, maxLooked-looked)
		if w.exact {
			n = min(n, limit-len(page.Tasks))
		}
		ix, places, err := w.read(ctx, n)
		if err != nil {
			return TaskPage{}, err
		}
		if len(places) == 0 {
			break
		}
		looked += len(places)
		tasks, err := w.tasks(ctx, ix, places)
		if err != nil {
			return TaskPage{}, err
		}
		for i, t := range tasks {
			if t == nil {
				continue
			}
			page.Tasks = append(page.Tasks, t.listed())
			page.Ends = append(page.Ends, Cursor{ix, places[i]})
			if len(page.Tasks) == limit && i < len(tasks)-1 {
				page.Next = Cursor{ix, places[i]}
				return page, nil
			}
		}
	}
	page.Next = w.next()
	return page, nil
}

// listed is the task as lists show it.
func (t *Task) listed() *Task {
	out := *t
	out.Spec.Payload, out.History = nil, nil
	return &out
}

// DeadLetterGroups returns the groups of the dead letters of a queue, or where it
// is empty of all queues of the namespace, the largest first.
func (s *Scheduler) DeadLetterGroups(ctx context.Context, namespace, queue string) ([]DeadLetterGroup, error) {
	groups, err := s.deadLetterGroups(ctx, namespace, []string{queue})
	for after, more := "", queue == ""; more && err == nil; {
		var names []string
		if names, more, err = s.queueNames(ctx, namespace, after, namesPage); err != nil || len(names) == 0 {
			break
		}
		after = names[len(names)-1]
		var found []DeadLetterGroup
		found, err = s.deadLetterGroups(ctx, namespace, names)
		groups = append(groups, found...)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(groups, func(a, b DeadLetterGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(b.LastMS, a.LastMS),
			cmp.Compare(a.Queue.Name, b.Queue.Name), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return groups, nil
}

// deadLetterGroups returns the groups of some queues, in no order.
func (s *Scheduler) deadLetterGroups(ctx context.Context, namespace string, queues []string) ([]DeadLetterGroup, error) {
	of := make([][]DeadLetterGroup, len(queues))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(callsAtOnce)
	for i, name := range queues {
		g.Go(func() (err error) {
			of[i], err = s.store.DeadLetterGroups(ctx, QueueKey{namespace, name})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("group the dead letters of namespace %s: %w", namespace, err)
	}
	return slices.Concat(of...), nil
}

// Samples returns for each group, in order, its sample as it is now, nil where
// that is no longer one of the group. All are held in memory at once, with their
// payloads, so no more than a hundred groups should be given.
func (s *Scheduler) Samples(ctx context.Context, groups []DeadLetterGroup) ([]*Task, error) {
	keys := make([]TaskKey, len(groups))
	for i := range groups {
		keys[i] = groups[i].Sample
	}
	out := make([]*Task, len(groups))
	for i, got := range s.store.Load(ctx, keys) {
		if got.Err != nil {
			return nil, fmt.Errorf("load task %s: %w", keys[i].ID, got.Err)
		}
		if t := got.Task; t.in(StateDead) && t.Fingerprint == groups[i].Fingerprint && t.Queue() == groups[i].Queue {
			out[i] = t
		}
	}
	return out, nil
}
