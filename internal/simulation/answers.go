package simulation

import (
	"reflect"

	"github.com/retryd/retryd/scheduler"
)

// answered holds the answer to a report against what has been written.
func (l *ledger) answered(rep *report, a scheduler.Answer, err error) {
	l.typed(err)
	if err != nil {
		l.refused(rep, err)
		return
	}
	tag := tagOf(&a.Record)
	e := l.effects[tag].answeredBy(&a.Record)
	switch {
	case e == nil:
		l.w.wrong("I1", "%s was acknowledged, and nothing was written of it: %s", rep, tag)
		return
	case !a.Duplicate && tag != rep.tag:
		l.w.wrong("I2", "%s was answered with the record of %s, and not as a duplicate", rep, tag)
	case a.Duplicate && rep.sent == 1 && tag == rep.tag:
		l.w.wrong("I2", "%s was sent once, and answered as a duplicate", rep)
	case a.Duplicate:
		l.w.figures.Duplicates++
	default:
		e.fresh++
	}
	if e.gone || l.loose[tag] {
		return
	}
	if e.fresh > 1 {
		l.w.wrong("I2", "%s was answered %d times as if it were the first", rep, e.fresh)
	}
	if !sameRecord(&a.Record, &e.rec) {
		l.w.wrong("I2", "%s was answered with another record than was written:\nwritten %+v\n   told %+v", rep, e.rec, a.Record)
	}
	if h := rep.handout; h != nil && tag != rep.tag && a.Record.Fence != h.lease.fence {
		l.w.wrong("I5", "%s, by a token, was answered with the record of another lease", rep)
	}
}

// refused holds a refusal against what has been written.
func (l *ledger) refused(rep *report, err error) {
	e := l.effects[rep.tag]
	if e != nil && l.expired(e.acc) {
		l.forget(e.acc)
	}
	if rep.handout == nil {
		return
	}
	if !isKind(err, scheduler.KindLeaseLost) {
		l.w.wrong("I5", "%s, by a token, was refused, and not because of its token: %v", rep, err)
		return
	}
	l.w.figures.Stale++
	l.leaseAnswered(rep.handout, err)
	if e != nil && !e.gone {
		l.w.wrong("I2", "%s has had its effect, and was refused: %v", rep, err)
	}
}

// leaseAnswered holds the answer to something done by a token against what has been
// written: a lease is good until a later claim has taken its attempt.
func (l *ledger) leaseAnswered(h *handout, err error) {
	l.typed(err)
	if !isKind(err, scheduler.KindLeaseLost) {
		return
	}
	if t := l.account(h.task.Key).now; t != nil && t.State == scheduler.StateLeased && t.Fence == h.lease.fence {
		l.w.wrong("I5", "the lease of attempt %d of %s is good, and was refused: %v", h.task.Attempt, h.task.Key.ID, err)
	}
}

// extended takes note of a lease's new end.
func (l *ledger) extended(h *handout, endMS int64) {
	if !h.over {
		h.endMS = endMS
	}
}

// shown holds a task that somebody was shown against what has been written.
func (l *ledger) shown(t *scheduler.Task) {
	now := l.account(t.Key).now
	if now != nil && now.Version < t.Version && !l.w.plan.lossy {
		l.w.wrong("I1", "%s was shown in a version that is not written", t.Key.ID)
	}
}

// sameRecord says whether two records are of one report. Messages go when the task
// ends.
func sameRecord(a, b *scheduler.AttemptRecord) bool {
	x, y := *a, *b
	x.Message, y.Message = "", ""
	x.Failure.Message, y.Failure.Message = "", ""
	return reflect.DeepEqual(x, y)
}
