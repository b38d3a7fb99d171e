package redisstore

import (
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// The fields of a task's state that the scripts do not look at.
const (
	stateAttempt mask = 1 << iota
	stateGeneration
	stateFirstAttempt
	stateTrigger
	stateRetriesLeft
	stateFirstFailure
	stateOp
	stateLastDelay
	stateLastDate
	stateRuleRetries
	stateDeadReason
	stateEnd
	stateExpire
	stateHoldCondition
	stateHold
	stateDropped
	stateFingerprint
)

func (e *encoder) state(t *scheduler.Task, atMS *int64) {
	var m mask
	m.when(stateAttempt, t.Attempt != 0)
	m.when(stateGeneration, t.Generation != 1)
	m.when(stateFirstAttempt, t.FirstAttempt != 1)
	m.when(stateTrigger, t.Trigger != 0)
	m.when(stateRetriesLeft, t.RetriesLeft != 0)
	m.when(stateFirstFailure, t.FirstFailureMS != 0)
	m.when(stateOp, t.Op != 0)
	m.when(stateLastDelay, t.LastDelayMS != 0)
	m.when(stateLastDate, t.LastDateMS != 0)
	m.when(stateRuleRetries, len(t.RuleRetries) > 0)
	m.when(stateDeadReason, t.DeadReason != 0)
	m.when(stateEnd, t.EndMS != 0)
	m.when(stateExpire, t.ExpireMS != 0 && atMS != &t.ExpireMS)
	m.when(stateHoldCondition, t.HoldCondition != "")
	m.when(stateHold, t.HoldMS != 0)
	m.when(stateDropped, t.Dropped != 0)
	m.when(stateFingerprint, t.Fingerprint != 0)
	e.uvarint(uint64(m))
	for _, f := range []struct {
		bit mask
		v   int
	}{
		{stateAttempt, t.Attempt},
		{stateGeneration, t.Generation},
		{stateFirstAttempt, t.FirstAttempt},
		{stateTrigger, int(t.Trigger)},
		{stateRetriesLeft, t.RetriesLeft},
	} {
		if m.has(f.bit) {
			e.int(f.v)
		}
	}
	if m.has(stateFirstFailure) {
		e.moment(t.FirstFailureMS)
	}
	if m.has(stateOp) {
		e.u64(uint64(t.Op))
	}
	if m.has(stateLastDelay) {
		e.varint(t.LastDelayMS)
	}
	if m.has(stateLastDate) {
		e.varint(t.LastDateMS)
	}
	if m.has(stateRuleRetries) {
		e.ruleRetries(t.RuleRetries)
	}
	if m.has(stateDeadReason) {
		e.byte(byte(t.DeadReason))
	}
	if m.has(stateEnd) {
		e.moment(t.EndMS)
	}
	if m.has(stateExpire) {
		e.varint(t.ExpireMS)
	}
	if m.has(stateHoldCondition) {
		e.str(t.HoldCondition)
	}
	if m.has(stateHold) {
		e.moment(t.HoldMS)
	}
	if m.has(stateDropped) {
		e.int(t.Dropped)
	}
	if m.has(stateFingerprint) {
		e.u64(uint64(t.Fingerprint))
	}
}

func (d *decoder) state(t *scheduler.Task) {
	m := d.mask()
	t.Generation, t.FirstAttempt = 1, 1
	if m.has(stateAttempt) {
		t.Attempt = d.int()
	}
	if m.has(stateGeneration) {
		t.Generation = d.int()
	}
	if m.has(stateFirstAttempt) {
		t.FirstAttempt = d.int()
	}
	if m.has(stateTrigger) {
		t.Trigger = scheduler.Trigger(d.uvarint())
	}
	if m.has(stateRetriesLeft) {
		t.RetriesLeft = d.int()
	}
	if m.has(stateFirstFailure) {
		t.FirstFailureMS = d.moment()
	}
	if m.has(stateOp) {
		t.Op = scheduler.OpID(d.fixed(8))
	}
	if m.has(stateLastDelay) {
		t.LastDelayMS = d.varint()
	}
	if m.has(stateLastDate) {
		t.LastDateMS = d.varint()
	}
	if m.has(stateRuleRetries) {
		t.RuleRetries = d.ruleRetries()
	}
	if m.has(stateDeadReason) {
		t.DeadReason = policy.Reason(d.byte())
	}
	if m.has(stateEnd) {
		t.EndMS = d.moment()
	}
	if m.has(stateExpire) {
		t.ExpireMS = d.varint()
	}
	if m.has(stateHoldCondition) {
		t.HoldCondition = d.str()
	}
	if m.has(stateHold) {
		t.HoldMS = d.moment()
	}
	if m.has(stateDropped) {
		t.Dropped = d.int()
	}
	if m.has(stateFingerprint) {
		t.Fingerprint = scheduler.Fingerprint(d.fixed(8))
	}
	if m >= stateFingerprint<<1 {
		d.fail(errGarbage)
	}
}

func (e *encoder) ruleRetries(list []policy.RuleRetries) {
	e.uvarint(uint64(len(list)))
	for _, r := range list {
		e.u64(r.Rule)
		e.int(r.Count)
	}
}

func (d *decoder) ruleRetries() []policy.RuleRetries {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := make([]policy.RuleRetries, n)
	for i := range list {
		list[i] = policy.RuleRetries{Rule: d.fixed(8), Count: d.int()}
	}
	return list
}
