package scheduler

import "github.com/retryd/retryd/policy"

// policyState is what a decision on the attempt's failure needs to know.
func (t *Task) policyState(attempt int) policy.State {
	return policy.State{
		Namespace:      t.Key.Namespace,
		TaskID:         t.Key.ID,
		Generation:     t.Generation,
		Attempt:        attempt,
		FirstAttempt:   t.FirstAttempt,
		FirstFailureMS: t.FirstFailureMS,
		RuleRetries:    t.RuleRetries,
		LastDelayMS:    t.LastDelayMS,
		LastDateMS:     t.LastDateMS,
		DeadlineMS:     t.deadlineMS(),
		TimeZone:       t.Spec.TimeZone,
	}
}

// follow moves the task to where a decision sends it.
func (t *Task) follow(d *policy.Decision, nowMS, deadLetterRetentionMS int64) {
	t.RuleRetries, t.LastDelayMS, t.LastDateMS = d.RuleRetries, d.LastDelayMS, d.LastDateMS
	t.RetriesLeft = d.RetriesLeft
	t.clearLease()
	switch d.Action {
	case policy.ActionRetry:
		t.State = StateScheduled
		t.Attempt, t.Trigger, t.DueMS = d.NextAttempt, TriggerRetry, d.NextMS
		t.Delivery, t.Expiries = 0, 0
	case policy.ActionHold:
		t.State, t.HoldCondition, t.HoldMS = StateHeld, d.HoldCondition, nowMS
		t.Attempt, t.DueMS = d.Attempt, 0
	default:
		t.Attempt = d.Attempt
		t.die(d.Reason, nowMS, deadLetterRetentionMS)
	}
}

// die makes a dead letter of the task.
func (t *Task) die(reason policy.Reason, nowMS, retentionMS int64) {
	t.State, t.DeadReason = StateDead, reason
	t.EndMS, t.ExpireMS = nowMS, nowMS+retentionMS
	t.DueMS, t.RetriesLeft = 0, 0
	t.HoldCondition, t.HoldMS = "", 0
	t.clearLease()
	t.Fingerprint = fingerprintOf(t.LastFailure())
}

// end ends the task for good: it keeps what answers a late report, and nothing
// of what it was for.
func (t *Task) end(state State, nowMS, retentionMS int64) {
	t.State = state
	t.EndMS, t.ExpireMS = nowMS, nowMS+retentionMS
	t.DueMS, t.RetriesLeft, t.DeadReason, t.Fingerprint = 0, 0, policy.ReasonUnspecified, 0
	t.HoldCondition, t.HoldMS = "", 0
	t.clearLease()
	t.Spec.Payload, t.Spec.Attributes = nil, nil
	bare := make([]AttemptRecord, len(t.History))
	for i, rec := range t.History {
		rec.Message, rec.Failure.Message, rec.Trace = "", "", TraceContext{}
		bare[i] = rec
	}
	t.History = bare
}

// unlease takes the attempt in turn back from its worker, due at dueMS.
func (t *Task) unlease(dueMS int64) {
	t.State, t.DueMS = StateScheduled, dueMS
	t.clearLease()
}

// replayed is a dead letter in its next generation, its attempt in turn due at
// dueMS. What its policy counts starts afresh; its history goes on.
func (t *Task) replayed(dueMS int64) *Task {
	next := *t
	next.scheduleAnew(TriggerReplay, t.inTurn(), dueMS)
	next.Generation++
	next.FirstAttempt = next.Attempt
	next.FirstFailureMS, next.RuleRetries, next.LastDelayMS, next.LastDateMS = 0, nil, 0, 0
	next.DeadReason, next.Fingerprint = policy.ReasonUnspecified, 0
	next.EndMS, next.ExpireMS = 0, 0
	return &next
}

// releasedAt is a held task of whose condition nothing is in the way any more, its
// next attempt due at dueMS even when no retry is left. It stays in its
// generation.
func (t *Task) releasedAt(dueMS int64) *Task {
	next := *t
	next.scheduleAnew(TriggerRelease, t.inTurn(), dueMS)
	next.HoldCondition, next.HoldMS = "", 0
	return &next
}

// scheduleAnew makes an attempt of a parked task the one in turn. How many retries
// are left after it is the ruling's to say; see [ruling.place].
func (t *Task) scheduleAnew(trigger Trigger, attempt int, dueMS int64) {
	t.State, t.Trigger = StateScheduled, trigger
	t.Attempt, t.DueMS = attempt, dueMS
	t.Delivery, t.Expiries, t.RetriesLeft = 0, 0, 0
}

// clearLease forgets the lease but for its fence, above which the next one must
// lie.
func (t *Task) clearLease() {
	t.LeaseEndMS, t.LeaseMS, t.Worker, t.Released = 0, 0, "", Fence{}
}
