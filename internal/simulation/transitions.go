package simulation

import (
	"slices"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// mayBecome are the states that may follow each other by a commit; claims have their
// own check.
var mayBecome = map[scheduler.State][]scheduler.State{
	scheduler.StateUnknown:   {scheduler.StateScheduled, scheduler.StateHeld, scheduler.StateDead, scheduler.StateSucceeded},
	scheduler.StateScheduled: {scheduler.StateScheduled, scheduler.StateSucceeded, scheduler.StateHeld, scheduler.StateDead, scheduler.StateCancelled},
	scheduler.StateLeased: {
		scheduler.StateLeased, scheduler.StateScheduled, scheduler.StateSucceeded, scheduler.StateHeld, scheduler.StateDead, scheduler.StateCancelled,
	},
	scheduler.StateHeld: {scheduler.StateScheduled, scheduler.StateSucceeded, scheduler.StateDead, scheduler.StateDiscarded, scheduler.StateCancelled},
	scheduler.StateDead: {scheduler.StateScheduled, scheduler.StateSucceeded, scheduler.StateDiscarded},
}

// committed takes note of what has become of a change.
func (l *ledger) committed(op *operation, c scheduler.Change, got scheduler.Committed, nowMS int64) {
	if got.Err != nil || got.Status != scheduler.CommitDone {
		return
	}
	acc := l.account(c.Key)
	l.touched[acc] = true
	if l.expired(acc) {
		l.forget(acc)
	}
	before := acc.now
	if got.Task == nil {
		if before != nil && (before.State != scheduler.StateDead || nowMS < before.ExpireMS) {
			l.w.wrong("I1", "%s is forgotten while it is %s", c.Key.ID, before.State)
		}
		l.w.note(op.link.replica, "%s: gone", c.Key.ID)
		l.forget(acc)
		return
	}
	l.w.note(op.link.replica, "%s/%s: %s", c.Key.Namespace, c.Key.ID, describe(before, got.Task, nowMS))
	l.transition(acc, before, got.Task, nowMS)
	acc.become(got.Task)
}

// transition holds a write by a commit against the rules.
func (l *ledger) transition(acc *account, before, after *scheduler.Task, nowMS int64) {
	id := acc.key.ID
	from := scheduler.StateUnknown
	if before != nil {
		from = before.State
	}
	if !slices.Contains(mayBecome[from], after.State) {
		l.w.wrong("I7", "%s became %s, and was %s", id, after.State, from)
	}
	l.history(acc, before, after, nowMS)
	if after.State.Ended() && after.ExpireMS < after.EndMS+l.retentionMS(before, after) {
		l.w.wrong("I2", "%s is to be forgotten before its retention is over", id)
	}
	if before == nil {
		return
	}
	leased := after.State == scheduler.StateLeased
	if leased != (after.LeaseEndMS != 0) || leased != (after.LeaseMS != 0) || leased && after.Released != (scheduler.Fence{}) {
		l.w.wrong("I7", "%s is %s, and says something else of its lease", id, after.State)
	}
	if after.Version <= before.Version {
		l.w.wrong("I2", "the version of %s went from %d to %d", id, before.Version, after.Version)
	}
	if after.Fence != before.Fence {
		l.w.wrong("I4", "%s got another fence, and not by a claim", id)
	}
	if len(after.History) == len(before.History) {
		l.unreported(acc, before, after, nowMS)
	}
	if before.State == scheduler.StateLeased && after.State != scheduler.StateLeased {
		if ls := l.lease(acc.key, before.Fence); ls != nil && ls.handout != nil {
			ls.handout.over = true
		}
	}
}

// unreported holds a change without a report against the rules: it makes no attempt.
func (l *ledger) unreported(acc *account, before, after *scheduler.Task, nowMS int64) {
	id := acc.key.ID
	parked := before.State == scheduler.StateHeld || before.State == scheduler.StateDead
	if after.Attempt != before.Attempt && !parked {
		l.w.wrong("I6", "attempt %d of %s follows %d without a report", after.Attempt, id, before.Attempt)
	}
	if after.State == scheduler.StateDead {
		l.died(acc, before, after, nowMS)
	}
	if before.State != scheduler.StateLeased || after.State == scheduler.StateCancelled {
		return
	}
	expired := nowMS >= before.LeaseEndMS
	ls := l.lease(acc.key, before.Fence)
	taken := ls != nil && ls.handout != nil
	switch {
	case after.State == scheduler.StateLeased && after.Expiries == before.Expiries && after.Delivery == before.Delivery:
	case after.Released == before.Fence && after.Delivery == before.Delivery && after.Expiries == before.Expiries:
		if !taken {
			l.w.wrong("I5", "attempt %d of %s was released by nobody", before.Attempt, id)
		}
	case after.Delivery == before.Delivery-1 && after.Expiries == before.Expiries:
		// It was never sent.
		if taken {
			l.w.wrong("I4", "attempt %d of %s was taken back from its holder", before.Attempt, id)
		}
	case after.State == scheduler.StateDead && expired:
		l.ranOut(acc, before)
	default:
		l.w.wrong("I6", "what became of the lease of attempt %d of %s is nothing that may: delivery %d to %d, expiries %d to %d", before.Attempt, id,
			before.Delivery, after.Delivery, before.Expiries, after.Expiries)
	}
}

// died holds a death that nobody reported against its reason.
func (l *ledger) died(acc *account, before, after *scheduler.Task, nowMS int64) {
	pol := l.policies[after.Spec.Policy]
	switch after.DeadReason {
	case policy.ReasonDeadline:
		if deadline := after.Spec.DeadlineMS; deadline == 0 || after.Generation > 1 || after.EndMS <= deadline || nowMS <= deadline-scheduler.MaxAheadMS && !l.hasStepped {
			l.w.wrong("I1", "%s died of a deadline that it has not met", acc.key.ID)
		}
	case policy.ReasonLeasesExpired:
		if after.Expiries < pol.MaxLeaseExpiries {
			l.w.wrong("I6", "%s died of %d expired leases, and may have %d", acc.key.ID, after.Expiries, pol.MaxLeaseExpiries)
		}
	default:
		l.w.wrong("I1", "%s was %s and died of %s, without a report", acc.key.ID, before.State, after.DeadReason)
	}
}

// retentionMS is how long the task is to be remembered once it has ended.
func (l *ledger) retentionMS(before, after *scheduler.Task) int64 {
	if before == nil {
		return scheduler.DefaultFirstSuccessRetention.Milliseconds()
	}
	return l.policies[after.Spec.Policy].Retention.Milliseconds()
}

// history wants what was recorded to stay, and at most one record more.
func (l *ledger) history(acc *account, before, after *scheduler.Task, nowMS int64) {
	var old []scheduler.AttemptRecord
	if before != nil {
		old = before.History
	}
	if n := len(after.History) - len(old); n < 0 || n > 1 {
		l.w.wrong("I1", "the history of %s went from %d records to %d", acc.key.ID, len(old), len(after.History))
		return
	}
	for i := range old {
		if !sameRecord(&old[i], &after.History[i]) {
			l.w.wrong("I1", "record %d of %s has changed", i, acc.key.ID)
		}
	}
	if len(after.History) > len(old) {
		l.effect(acc, before, after, nowMS)
	}
}

// effect holds a new record against the rules, and enters it.
func (l *ledger) effect(acc *account, before, after *scheduler.Task, nowMS int64) {
	id := acc.key.ID
	last := len(after.History) - 1
	rec := after.History[last]
	tag := tagOf(&rec)
	l.w.figures.Effects++
	if e := l.effects[tag]; e != nil && !e.gone && !l.loose[tag] {
		l.w.wrong("I2", "%s has had a second effect", tag)
	}
	l.effects[tag] = &effect{acc: acc, rec: rec, former: l.effects[tag]}
	for i := range after.History[:last] {
		old := &after.History[i]
		if !old.Success && !rec.Success && old.Attempt >= rec.Attempt {
			l.w.wrong("I2", "the failure of attempt %d of %s is recorded after that of %d", rec.Attempt, id, old.Attempt)
		}
		if old.Key != 0 && old.Key == rec.Key && old.Success == rec.Success && old.Attempt == rec.Attempt {
			l.w.wrong("I2", "one key has had two effects on attempt %d of %s", rec.Attempt, id)
		}
	}
	if before != nil {
		l.byToken(acc, before, &rec)
	}
	// A decision may be as old as the store's own word of what time it was.
	ahead := rec.TimeMS - nowMS
	if !l.hasStepped && (ahead > scheduler.MaxAheadMS || ahead < -2*patience.Milliseconds()*tries) {
		l.w.wrong("I3", "%s was judged %d ms ahead of the store's clock", tag, ahead)
	}
	if !rec.Success {
		l.decided(acc, after, &rec)
	}
}

// byToken wants whoever settles a leased attempt to hold its lease.
func (l *ledger) byToken(acc *account, before *scheduler.Task, rec *scheduler.AttemptRecord) {
	leased := before.State == scheduler.StateLeased
	switch {
	case rec.Fence == (scheduler.Fence{}) && leased:
		l.w.wrong("I5", "attempt %d of %s is leased, and was settled without its token", before.Attempt, acc.key.ID)
	case rec.Fence != (scheduler.Fence{}) && (!leased || rec.Fence != before.Fence):
		l.w.wrong("I5", "a stale token has settled attempt %d of %s", rec.Attempt, acc.key.ID)
	}
}

// decided holds a decision against the policy.
func (l *ledger) decided(acc *account, after *scheduler.Task, rec *scheduler.AttemptRecord) {
	pol := l.policies[after.Spec.Policy]
	d := &rec.Decision
	if d.Action != policy.ActionRetry {
		return
	}
	if after.State != scheduler.StateScheduled || after.DueMS != d.NextMS || after.Attempt != rec.Attempt+1 || d.NextMS < rec.TimeMS {
		l.w.wrong("I3", "%s is not scheduled as was decided", acc.key.ID)
	}
	retries := 0
	for i := range after.History {
		if old := &after.History[i]; !old.Success && old.Generation == rec.Generation && old.Decision.Action == policy.ActionRetry {
			retries++
		}
	}
	most := pol.MaxRetries
	switch {
	case pol.Schedule.Delays != nil:
		most = len(pol.Schedule.Delays.Delays)
	case pol.Schedule.Dates != nil:
		most = len(pol.Schedule.Dates.Times)
	}
	if retries > most {
		l.w.wrong("I6", "%s has been retried %d times in generation %d, and its policy allows %d", acc.key.ID, retries, rec.Generation, most)
	}
	if f := pol.Schedule.Fixed; f != nil && d.NextMS < rec.TimeMS+f.Delay.Milliseconds() && pol.RetryAfter.Mode == policy.RetryAfterMaxOf {
		l.w.wrong("I3", "%s is retried before the delay of its policy", acc.key.ID)
	}
	l.outsideWindows(acc, d.NextMS, 0)
}

// outsideWindows wants an attempt to be due or made outside the pause windows of its
// policy, as far as the clocks go alike.
func (l *ledger) outsideWindows(acc *account, ms, slackMS int64) {
	if acc.now == nil {
		return
	}
	for _, p := range l.policies[acc.now.Spec.Policy].PauseWindows {
		if !p.StartTime.IsZero() && ms >= p.StartTime.UnixMilli()+slackMS && ms < p.EndTime.UnixMilli()-slackMS {
			l.w.wrong("I3", "attempt %d of %s falls into a pause window", acc.now.Attempt, acc.key.ID)
		}
	}
}
