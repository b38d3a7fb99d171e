package simulation

import (
	"fmt"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// claimed holds what a claim took against the rules, and enters the leases.
func (l *ledger) claimed(op *operation, c scheduler.Claim, got scheduler.Claimed, nowMS int64) {
	room := 0
	for _, slot := range c.Slots {
		room += slot.Count
	}
	if len(got.Tasks) > room {
		l.w.wrong("I4", "a claim took %d tasks, and had room for %d", len(got.Tasks), room)
	}
	for _, t := range got.Tasks {
		acc := l.account(t.Key)
		before := acc.now
		if before != nil && before.Version == t.Version {
			// It is the answer of before again.
			continue
		}
		l.touched[acc] = true
		if l.pausedNow(c.Queue, nowMS) {
			l.w.wrong("I3", "attempt %d of %s was claimed from a queue that is paused", t.Attempt, t.Key.ID)
		}
		l.w.note(op.link.replica, "%s/%s: %s", t.Key.Namespace, t.Key.ID, describe(before, t, nowMS))
		l.leased(acc, before, t, nowMS)
		acc.become(t)
		acc.top = max(acc.top, t.Fence.Number)
		l.leases[scheduler.LeaseToken{Key: t.Key, Fence: t.Fence}] = &lease{
			key: t.Key, fence: t.Fence, link: op.link, claimedMS: nowMS,
			// Who asks for one attempt, and has no answer in time, does not come back for it.
			excused: op.link.away.Load() || c.Replica == "" && op.faulty,
		}
	}
}

// leased holds one lease against the rules.
func (l *ledger) leased(acc *account, before, t *scheduler.Task, nowMS int64) {
	id := t.Key.ID
	if before == nil {
		l.w.wrong("I7", "%s was claimed, and there is no such task", id)
		return
	}
	lookMS, waiting := before.LookMS()
	if !waiting || lookMS > nowMS {
		l.w.wrong("I3", "%s was claimed at %d, and falls due at %d (%s)", id, nowMS, lookMS, before.State)
	}
	if t.Fence.Number <= acc.top {
		l.w.wrong("I4", "the token of attempt %d of %s has number %d, and %d was there before", t.Attempt, id, t.Fence.Number, acc.top)
	}
	expiries := before.Expiries
	if before.State == scheduler.StateLeased {
		expiries++
		l.ranOut(acc, before)
	}
	if t.Expiries != expiries || t.Delivery != before.Delivery+1 {
		l.w.wrong("I6", "delivery %d of attempt %d of %s, after %d expiries, follows delivery %d and %d expiries (%s)", t.Delivery, t.Attempt, id, t.Expiries,
			before.Delivery, before.Expiries, before.State)
	}
	if t.Attempt != before.Attempt || t.RetriesLeft != before.RetriesLeft || len(t.History) != len(before.History) || t.Generation != before.Generation {
		l.w.wrong("I6", "a claim of %s has burned a retry", id)
	}
	if t.Released != (scheduler.Fence{}) {
		l.w.wrong("I7", "attempt %d of %s was claimed, and counts as released", t.Attempt, id)
	}
	if t.LeaseEndMS != nowMS+t.LeaseMS {
		l.w.wrong("I4", "the lease of attempt %d of %s does not end when it should", t.Attempt, id)
	}
	for _, h := range acc.handouts {
		if !h.over && !h.lease.void && nowMS < h.endMS {
			l.w.wrong("I4", "attempt %d of %s was claimed while %s holds its lease", t.Attempt, id, h.holder)
		}
	}
}

// ranOut takes note of a lease that ended without a word: somebody must have had it,
// or have been killed.
func (l *ledger) ranOut(acc *account, before *scheduler.Task) {
	l.w.figures.Expiries++
	ls := l.lease(acc.key, before.Fence)
	if ls == nil {
		return
	}
	if ls.handout != nil {
		ls.handout.over = true
		return
	}
	if l.w.plan.calm() && !ls.excused {
		l.w.wrong("I6", "the lease of attempt %d of %s ran out, and nobody was given it", before.Attempt, acc.key.ID)
	}
}

// handedOut enters an attempt that somebody got, and holds it against the rules. It
// is nil where its holder has it already.
func (l *ledger) handedOut(holder string, r *replica, d scheduler.Delivery, again bool) *handout {
	t := d.Task
	id := t.Key.ID
	l.w.figures.HandOuts++
	l.w.note(holder, "gets attempt %d of %s/%s, delivery %d, from %s", t.Attempt, t.Key.Namespace, id, t.Delivery, r.name)
	token, err := scheduler.ParseLeaseToken(d.Token)
	ls := l.lease(t.Key, token.Fence)
	if err != nil || ls == nil || token.Key != t.Key {
		l.w.wrong("I4", "attempt %d of %s was handed out under a lease that the store has not given", t.Attempt, id)
		return nil
	}
	acc := l.account(t.Key)
	if ls.handout != nil {
		if !again {
			l.w.wrong("I4", "attempt %d of %s was handed out twice under one lease", t.Attempt, id)
		}
		return nil
	}
	for _, h := range acc.handouts {
		old := h.task
		if !h.lease.void && old.Generation == t.Generation && old.Attempt == t.Attempt && old.Delivery >= t.Delivery &&
			h.lease.fence.Number < ls.fence.Number && old.History[0].Op == t.History[0].Op && !l.w.plan.lossy && !again && old.Trigger == t.Trigger {
			l.w.wrong("I6", "delivery %d of attempt %d of %s comes after delivery %d", t.Delivery, t.Attempt, id, old.Delivery)
		}
		if !h.over && h.endMS > l.w.db.nowMS() && !h.lease.void && !l.hasStepped {
			l.w.wrong("I4", "attempt %d of %s was handed out while %s holds its lease", t.Attempt, id, h.holder)
		}
	}
	if t.DueMS > ls.claimedMS {
		l.w.wrong("I3", "attempt %d of %s was handed out before it was due", t.Attempt, id)
	}
	pol := l.policies[t.Spec.Policy]
	if t.Expiries >= pol.MaxLeaseExpiries {
		l.w.wrong("I6", "attempt %d of %s was handed out after %d expired leases", t.Attempt, id, t.Expiries)
	}
	l.admitted(acc, t, ls)
	l.handouts++
	h := &handout{number: l.handouts, holder: holder, task: t, token: d.Token, lease: ls, endMS: t.LeaseEndMS}
	if now := acc.now; now == nil || now.State != scheduler.StateLeased || now.Fence != ls.fence {
		// It was cancelled, or ran out, on its way.
		h.over = true
	}
	ls.handout = h
	acc.handouts = append(acc.handouts, h)
	return h
}

// admitted wants an attempt that is handed out to be allowed at that time, as far as
// the replica can know what time it is.
func (l *ledger) admitted(acc *account, t *scheduler.Task, ls *lease) {
	if !l.w.plan.steady() {
		return
	}
	const slackMS = 100
	if over := l.w.db.nowMS() - t.LeaseEndMS; over > slackMS {
		l.w.wrong("I4", "attempt %d of %s was handed out %d ms after the end of its lease", t.Attempt, acc.key.ID, over)
	}
	l.outsideWindows(acc, ls.claimedMS, slackMS)
	if t.Generation == 1 && t.Spec.DeadlineMS != 0 && ls.claimedMS > t.Spec.DeadlineMS+slackMS {
		l.w.wrong("I6", "attempt %d of %s was handed out after its deadline", t.Attempt, acc.key.ID)
	}
}

// describe tells of a write.
func describe(before, after *scheduler.Task, nowMS int64) string {
	out := fmt.Sprintf("%s to %s, attempt %d, delivery %d, %d expiries", stateOf(before), after.State, after.Attempt, after.Delivery, after.Expiries)
	if ms, ok := after.LookMS(); ok {
		out += fmt.Sprintf(", to be looked at in %d ms", ms-nowMS)
	}
	if n := len(after.History); n > 0 && (before == nil || len(before.History) < n) {
		rec := &after.History[n-1]
		out += ", by " + tagOf(rec)
	}
	if after.State == scheduler.StateDead && after.DeadReason != policy.ReasonUnspecified {
		out += ", " + after.DeadReason.String()
	}
	return out
}
