package simulation

import (
	"reflect"
	"slices"

	"github.com/retryd/retryd/scheduler"
)

// lookAtAll is after how many steps all tasks are looked at, and not only those that
// have changed.
const lookAtAll = 200

// look holds what the store has of the tasks that have changed, and now and then of
// all, against the mirror, and its indexes against the tasks.
func (l *ledger) look() {
	l.looks++
	all := l.looks%lookAtAll == 0
	if len(l.touched) == 0 && !all {
		return
	}
	for _, acc := range l.order {
		if l.touched[acc] || all {
			l.lookAt(acc)
		}
	}
	clear(l.touched)
	if all {
		l.count()
	}
}

// lookAt wants a task to be as it was written, and in the indexes of its state, and
// where it was since the last look not any more.
func (l *ledger) lookAt(acc *account) {
	store := l.w.db.now.Load()
	if l.expired(acc) {
		l.forget(acc)
	}
	got := store.Load(l.w.ctx, []scheduler.TaskKey{acc.key})[0].Task
	if got != acc.now {
		l.w.wrong("I1", "%s is in the store as %s, and was written as %s", acc.key.ID, stateOf(got), stateOf(acc.now))
		return
	}
	var entries []scheduler.Entry
	if got != nil {
		entries = got.Entries(nil)
	}
	for _, e := range acc.left {
		if !slices.Contains(entries, e) && l.in(acc, e) {
			l.w.wrong("I7", "%s is %s, and still in an index where it was before", acc.key.ID, stateOf(got))
		}
	}
	acc.left = acc.left[:0]
	if got == nil {
		return
	}
	kinds := 0
	for _, e := range entries {
		switch e.Index.Kind {
		case scheduler.IndexDue, scheduler.IndexHeld, scheduler.IndexDead:
			kinds++
		}
		if !l.in(acc, e) {
			l.w.wrong("I7", "%s is %s and not in its index", acc.key.ID, got.State)
		}
	}
	if live := got.State.Live(); live != (kinds == 1) {
		l.w.wrong("I7", "%s is %s and in %d indexes", acc.key.ID, got.State, kinds)
	}
}

// in says whether the store has a task at a place of an index.
func (l *ledger) in(acc *account, e scheduler.Entry) bool {
	part := scheduler.Part{
		Index: e.Index, Shard: scheduler.ShardOf(acc.key, l.w.plan.shards), Limit: 1000,
		After: scheduler.Place{MS: e.MS - 1, Key: scheduler.TaskKey{Namespace: "\xff"}},
	}
	got := l.w.db.now.Load().Browse(l.w.ctx, []scheduler.Part{part})[0].Places
	return slices.Contains(got, scheduler.Place{MS: e.MS, Key: acc.key})
}

// count wants the indexes and the counts to hold what the tasks add up to.
func (l *ledger) count() {
	type sums struct{ waiting, leased, held, dead int64 }
	want := make(map[scheduler.QueueKey]*sums)
	for _, ns := range namespaces {
		for _, name := range append([]string{""}, queues...) {
			want[scheduler.QueueKey{Namespace: ns, Name: name}] = &sums{}
		}
	}
	groups := make(map[scheduler.GroupKey]int64)
	for _, acc := range l.order {
		t := acc.now
		if t == nil {
			continue
		}
		s := want[t.Queue()]
		switch t.State {
		case scheduler.StateLeased:
			s.leased++
			s.waiting++
		case scheduler.StateScheduled:
			s.waiting++
		case scheduler.StateHeld:
			s.held++
		case scheduler.StateDead:
			s.dead++
		}
		if t.Spec.Group != "" && t.State == scheduler.StateLeased {
			groups[scheduler.GroupKey{Namespace: t.Key.Namespace, Name: t.Spec.Group}]++
		}
	}
	for _, ns := range namespaces {
		for _, name := range append([]string{""}, queues...) {
			q := scheduler.QueueKey{Namespace: ns, Name: name}
			counts, err := l.w.db.now.Load().CountQueues(l.w.ctx, []scheduler.QueueKey{q})
			if err != nil {
				l.w.wrong("I7", "the queues cannot be counted: %v", err)
				return
			}
			c := counts[0]
			if got := (sums{c.Waiting, c.Leased, c.Held, c.Dead}); !reflect.DeepEqual(got, *want[q]) {
				l.w.wrong("I7", "queue %s/%s is counted as %+v, and holds %+v", ns, name, got, *want[q])
			}
		}
		key := scheduler.GroupKey{Namespace: ns, Name: "group"}
		got, _, err := l.w.db.now.Load().Group(l.w.ctx, key)
		if err != nil || got.InProgress != groups[key] {
			l.w.wrong("I7", "group %s/%s is counted as %d in progress, and has %d (%v)", ns, key.Name, got.InProgress, groups[key], err)
		}
	}
}
