package simulation

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// ledger knows what everybody was told, and mirrors what has been written, so that
// each further write and each further word is held against it.
type ledger struct {
	w        *world
	policies map[string]policy.Policy
	ids      []string
	// base is how many entries the journal had when the faults began.
	base int

	accounts map[scheduler.TaskKey]*account
	// order holds the accounts as they were opened; touched are those that have
	// changed since the last look.
	order   []*account
	touched map[*account]bool
	looks   int
	leases  map[scheduler.LeaseToken]*lease
	effects map[string]*effect
	// loose are the tags of reports that may rightly have several effects.
	loose  map[string]bool
	pauses map[scheduler.QueueKey]int64
	// handouts counts them. hasStepped says that the store's clock has.
	handouts   int
	hasStepped bool
}

// account is all that is known of a task.
type account struct {
	key scheduler.TaskKey
	// now is the task as it was written last, nil when it has gone.
	now *scheduler.Task
	// left are the places that it had in indexes since the last look, and may have no
	// more.
	left []scheduler.Entry
	// top is the highest fence of any of its leases.
	top      int64
	handouts []*handout
}

// lease is one that the store has given.
type lease struct {
	key   scheduler.TaskKey
	fence scheduler.Fence
	link  *link
	// claimedMS is when, by the store's clock.
	claimedMS int64
	handout   *handout
	// excused says that it may run out without anybody having got it.
	excused bool
	// void says that the store has lost it in a fail-over.
	void bool
}

// handout is an attempt in the hands of whoever makes it.
type handout struct {
	number int
	holder string
	task   *scheduler.Task
	token  string
	lease  *lease
	// endMS is the lease's end as its holder was told.
	endMS int64
	// over says that it has been settled, handed back or taken away.
	over bool
	// abandoned says that its holder will say nothing more.
	abandoned bool
	// said counts what its holder has said of it.
	said int
}

// effect is a record that a report has made.
type effect struct {
	acc *account
	rec scheduler.AttemptRecord
	// fresh counts the answers that were not marked as duplicates.
	fresh int
	// gone says that the store has lost it in a fail-over, or its retention is over.
	gone bool
	// former is the one that the same report had before, which is gone.
	former *effect
}

// answeredBy is which of a report's effects an answer is of: that of one that is gone may
// come after a repeat has had another.
func (e *effect) answeredBy(rec *scheduler.AttemptRecord) *effect {
	for f := e; f != nil; f = f.former {
		if sameRecord(rec, &f.rec) {
			return f
		}
	}
	return e
}

func newLedger(w *world) *ledger {
	return &ledger{
		w: w, accounts: make(map[scheduler.TaskKey]*account), touched: make(map[*account]bool),
		leases: make(map[scheduler.LeaseToken]*lease), effects: make(map[string]*effect), loose: make(map[string]bool), pauses: make(map[scheduler.QueueKey]int64),
	}
}

func (l *ledger) account(key scheduler.TaskKey) *account {
	acc := l.accounts[key]
	if acc == nil {
		acc = &account{key: key}
		l.accounts[key] = acc
		l.order = append(l.order, acc)
	}
	return acc
}

// become takes note of the task as it is written from now on, nil when it has gone.
func (acc *account) become(t *scheduler.Task) {
	if acc.now != nil {
		acc.left = acc.now.Entries(acc.left)
	}
	acc.now = t
}

func compareKeys(a, b scheduler.TaskKey) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.ID, b.ID))
}

// step has the store's clock step. What is past its retention by the clock of
// before is gone, even if it would not be by the clock of after.
func (l *ledger) step(ms int64) {
	l.hasStepped = true
	var keys []scheduler.TaskKey
	for _, acc := range l.order {
		if l.expired(acc) {
			keys = append(keys, acc.key)
			l.forget(acc)
		}
	}
	l.w.db.write(keys, func(s *memstore.Store) { s.Load(l.w.ctx, keys) })
	l.w.db.stepMS.Add(ms)
}

// expired says whether a task is past its retention.
func (l *ledger) expired(acc *account) bool {
	return acc.now != nil && acc.now.State.Ended() && acc.now.ExpireMS <= l.w.db.nowMS()
}

// forget takes note that a task's record has gone: its id is a new task.
func (l *ledger) forget(acc *account) {
	acc.become(nil)
	for _, e := range l.effects {
		if e.acc == acc {
			e.gone = true
		}
	}
	for _, h := range acc.handouts {
		h.over = true
	}
}

func (l *ledger) paused(q scheduler.QueueKey, untilMS int64) { l.pauses[q] = untilMS }

func (l *ledger) resumed(q scheduler.QueueKey) { delete(l.pauses, q) }

// pausedNow says whether nothing may be claimed from a queue.
func (l *ledger) pausedNow(q scheduler.QueueKey, nowMS int64) bool {
	untilMS, paused := l.pauses[q]
	return paused && (untilMS == 0 || nowMS < untilMS)
}

// killed excuses the leases whose attempts a killed replica had not sent.
func (l *ledger) killed(r *replica) {
	for _, ls := range l.leases {
		if ls.link == r.link && ls.handout == nil {
			ls.excused = true
		}
	}
}

// lease returns the lease of a task's fence, nil when the store has given none.
func (l *ledger) lease(key scheduler.TaskKey, fence scheduler.Fence) *lease {
	return l.leases[scheduler.LeaseToken{Key: key, Fence: fence}]
}

// faulty excuses the leases that an operation was to change, which it may not have
// done: nobody repeats what gives an attempt back, and its lease runs out.
func (l *ledger) faulty(op *operation) {
	for _, c := range op.changes {
		if c.Before != nil && c.Before.State == scheduler.StateLeased {
			if ls := l.lease(c.Key, c.Before.Fence); ls != nil {
				ls.excused = true
			}
		}
	}
}

// out are the attempts that a holder has in hand.
func (l *ledger) out(holder string) []*handout {
	var out []*handout
	for _, acc := range l.order {
		for _, h := range acc.handouts {
			if h.holder == holder && !h.over {
				out = append(out, h)
			}
		}
	}
	return out
}

// tagOf is the tag of the report that made a record.
func tagOf(rec *scheduler.AttemptRecord) string {
	if rec.Success {
		return rec.Outcome
	}
	return rec.Failure.Code
}

// lose takes note of what a fail-over has undone: what was told of it no longer
// binds, and everything else still does.
func (l *ledger) lose(keys []scheduler.TaskKey) {
	for _, acc := range l.order {
		if l.expired(acc) {
			l.forget(acc)
		}
		now := l.w.db.now.Load().Load(l.w.ctx, []scheduler.TaskKey{acc.key})[0].Task
		if slices.Contains(keys, acc.key) {
			l.undo(acc, now)
		} else if !reflect.DeepEqual(acc.now, now) {
			l.w.wrong("simulation", "%s is another after a fail-over, and nothing of it was lost", acc.key.ID)
		}
		acc.become(now)
	}
	clear(l.pauses)
	for _, ns := range namespaces {
		for _, name := range queues {
			q := scheduler.QueueKey{Namespace: ns, Name: name}
			counts, err := l.w.db.now.Load().CountQueues(l.w.ctx, []scheduler.QueueKey{q})
			if err == nil && counts[0].Paused {
				l.pauses[q] = counts[0].PausedUntilMS
			}
		}
	}
}

// undo takes note of what a task has become by losing its last writes.
func (l *ledger) undo(acc *account, now *scheduler.Task) {
	l.touched[acc] = true
	acc.top = 0
	if now != nil {
		acc.top = now.Fence.Number
	}
	for _, e := range l.effects {
		if e.acc == acc && !e.in(now) {
			e.gone = true
		}
	}
	for _, h := range acc.handouts {
		// A lease that was lost is void. That of before, which is the task's again, may
		// have been extended since, and settled too.
		h.lease.void = h.lease.void || h.lease.fence.Number > acc.top
		h.over = true
	}
	for _, ls := range l.leases {
		ls.excused = ls.excused || ls.key == acc.key && ls.handout == nil
	}
}

// in says whether the record is in the task's history.
func (e *effect) in(t *scheduler.Task) bool {
	return t != nil && slices.ContainsFunc(t.History, func(rec scheduler.AttemptRecord) bool { return tagOf(&rec) == tagOf(&e.rec) })
}

// typed wants an error to be one that callers can act on.
func (l *ledger) typed(err error) {
	var e *scheduler.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return
	}
	l.w.wrong("errors", "an error without a kind: %v", err)
}
