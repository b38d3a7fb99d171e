package simulation

import (
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// fate is what the network does to an operation.
type fate uint8

const (
	fateFine fate = iota
	// fateLost carries the operation out and loses its reply.
	fateLost
	// fateRefused does not carry it out.
	fateRefused
	// fateTwice carries it out twice; the second reply arrives.
	fateTwice
	// fateLate carries it out late, perhaps when nobody waits for it any more.
	fateLate
)

var fateNames = [...]string{"", "reply lost", "does not arrive", "arrives twice", "late"}

func (f fate) String() string { return fateNames[f] }

// dispatch draws what becomes of an operation that has arrived.
func (w *world) dispatch(op *operation) {
	w.busy(op)
	f := w.drawFate()
	delay := w.between(50*time.Microsecond, 2*time.Millisecond)
	if f != fateFine {
		w.figures.Faults++
		op.faulty = true
		w.ledger.faulty(op)
	}
	if f == fateLate {
		delay = w.between(300*time.Millisecond, 2*patience)
	}
	w.after(delay, func() { w.arrive(op, f) })
}

// mostInASecond is how many writes of one process may arrive within a second; the
// tasks are few.
const mostInASecond = 400

// busy wants nobody to ask in vain, over and over.
func (w *world) busy(op *operation) {
	if now := time.Now(); now.Sub(op.link.second) > time.Second {
		op.link.second, op.link.sent = now, 0
	}
	if op.link.sent++; op.link.sent == mostInASecond {
		w.wrong("I9", "%s sends %d writes within a second, of late %s", op.link.replica, mostInASecond, op)
	}
}

func (w *world) drawFate() fate {
	x := w.rng.Float64()
	for _, f := range []struct {
		fate  fate
		share float64
	}{{fateLost, w.plan.lost}, {fateRefused, w.plan.refused}, {fateTwice, w.plan.twice}, {fateLate, w.plan.late}} {
		if x < w.share(f.share) {
			return f.fate
		}
		x -= w.share(f.share)
	}
	return fateFine
}

// arrive lets an operation through to the store, or not.
func (w *world) arrive(op *operation, f fate) {
	if op.link.away.Load() {
		// It was on its way when the line was cut.
		f = fateRefused
		if w.chance(0.5) {
			f = fateLost
		}
	}
	if f == fateRefused {
		w.note(op.link.replica, "%s: %s", op, f)
		r := op.unanswered()
		w.full(op, &r)
		op.answer(r)
		return
	}
	got := w.carryOut(op)
	if f == fateTwice {
		got = w.carryOut(op)
	}
	if f == fateLost {
		lost := op.unanswered()
		// A reply may come for a part of the items.
		for i := range got.committed {
			if len(got.committed) > 1 && w.chance(0.5) {
				lost.committed[i] = got.committed[i]
			}
		}
		for i := range got.claimed {
			if len(got.claimed) > 1 && w.chance(0.5) {
				lost.claimed[i] = got.claimed[i]
			}
		}
		got = lost
	}
	if f != fateFine {
		w.note(op.link.replica, "%s: %s", op, f)
	}
	// The hints are told before the reply, lest it be chance which comes first.
	w.settleHints()
	op.answer(got)
}

// full makes some of what is refused new tasks that a full store does not take.
func (w *world) full(op *operation, r *reply) {
	for i, c := range op.changes {
		if c.Before == nil && w.chance(0.2) {
			r.committed[i].Err = &scheduler.Error{Kind: scheduler.KindFull, Message: "the store is full"}
		}
	}
}

// carryOut writes to the store, and enters what has changed.
func (w *world) carryOut(op *operation) reply {
	ctx := w.ctx
	var got reply
	nowMS := w.db.nowMS()
	switch {
	case op.changes != nil:
		w.db.write(op.keys(), func(s *memstore.Store) { got.committed = s.Commit(ctx, op.changes) })
		for i, c := range got.committed {
			w.ledger.committed(op, op.changes[i], c, nowMS)
		}
	case op.claims != nil:
		w.db.write(nil, func(s *memstore.Store) { got.claimed = s.Claim(ctx, op.claims) })
		entry := &w.db.journal[len(w.db.journal)-1]
		for i, c := range got.claimed {
			for _, t := range c.Tasks {
				entry.keys = append(entry.keys, t.Key)
			}
			w.ledger.claimed(op, op.claims[i], c, nowMS)
		}
	case op.audit != nil:
		w.db.write(nil, func(s *memstore.Store) { op.audit.carryOut(ctx, s, &got) })
		for _, f := range got.audited.Findings {
			w.wrong("I7", "the audit finds %s: %s %s in shard %d, %s", f.Kind, f.Namespace, f.Name, f.Shard, f.Detail)
		}
	case op.resume:
		w.db.write(nil, func(s *memstore.Store) { got.err = s.ResumeQueue(ctx, op.queue) })
		w.ledger.resumed(op.queue)
	default:
		w.db.write(nil, func(s *memstore.Store) { got.err = s.PauseQueue(ctx, op.queue, op.untilMS) })
		w.ledger.paused(op.queue, op.untilMS)
	}
	return got
}

func (op *operation) keys() []scheduler.TaskKey {
	var keys []scheduler.TaskKey
	for _, c := range op.changes {
		keys = append(keys, c.Key)
	}
	return keys
}

// settleHints tells what has just been written.
func (w *world) settleHints() {
	for {
		// The store's own carrier of hints has to bring them first.
		synctest.Wait()
		if !w.tellHints() {
			return
		}
	}
}
