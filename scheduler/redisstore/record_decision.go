package redisstore

import (
	"encoding/binary"
	"slices"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// The fields of a decision. What nearly always follows from others is left out
// where it does.
const (
	decisionReason mask = 1 << iota
	decisionDelay
	decisionRetriesLeft
	decisionSteps
	decisionRule
	// decisionLastDelay: it is not the delay.
	decisionLastDelay
	decisionAction
	// decisionAttempt: it is not the record's.
	decisionAttempt
	// decisionNextAttempt: it is not the one after the record's with a retry, or 0.
	decisionNextAttempt
	// decisionNext: it is not the record's time plus the delay with a retry, or 0.
	decisionNext
	decisionHoldCondition
	decisionRuleRetries
	// decisionTaskRuleRetries: they are the task's.
	decisionTaskRuleRetries
	decisionLastDate
)

func hasDecision(d *policy.Decision) bool {
	return d.Action != 0 || d.Reason != 0 || d.Attempt != 0 || d.NextAttempt != 0 || d.NextMS != 0 || d.DelayMS != 0 ||
		d.RetriesLeft != 0 || d.Rule != "" || d.HoldCondition != "" || len(d.Steps) > 0 || len(d.RuleRetries) > 0 ||
		d.LastDelayMS != 0 || d.LastDateMS != 0
}

// impliedNext is what the next attempt and its time are where nothing else is
// said.
func impliedNext(d *policy.Decision, rec *scheduler.AttemptRecord) (attempt int, ms int64) {
	if d.Action != policy.ActionRetry {
		return 0, 0
	}
	return rec.Attempt + 1, rec.TimeMS + d.DelayMS
}

func (e *encoder) decision(d *policy.Decision, rec *scheduler.AttemptRecord, t *scheduler.Task) {
	nextAttempt, nextMS := impliedNext(d, rec)
	taskRules := len(d.RuleRetries) > 0 && slices.Equal(d.RuleRetries, t.RuleRetries)
	var m mask
	// A retry is what most decisions are.
	m.when(decisionAction, d.Action != policy.ActionRetry)
	m.when(decisionReason, d.Reason != policy.ReasonRetryScheduled)
	m.when(decisionDelay, d.DelayMS != 0)
	m.when(decisionRetriesLeft, d.RetriesLeft != 0)
	m.when(decisionSteps, len(d.Steps) > 0)
	m.when(decisionRule, d.Rule != "")
	m.when(decisionLastDelay, d.LastDelayMS != d.DelayMS)
	m.when(decisionAttempt, d.Attempt != rec.Attempt)
	m.when(decisionNextAttempt, d.NextAttempt != nextAttempt)
	m.when(decisionNext, d.NextMS != nextMS)
	m.when(decisionHoldCondition, d.HoldCondition != "")
	m.when(decisionRuleRetries, len(d.RuleRetries) > 0 && !taskRules)
	m.when(decisionTaskRuleRetries, taskRules)
	m.when(decisionLastDate, d.LastDateMS != 0)
	e.uvarint(uint64(m))
	if m.has(decisionAction) {
		e.byte(byte(d.Action))
	}
	if m.has(decisionReason) {
		e.byte(byte(d.Reason))
	}
	if m.has(decisionDelay) {
		e.varint(d.DelayMS)
	}
	if m.has(decisionRetriesLeft) {
		e.int(d.RetriesLeft)
	}
	if m.has(decisionRule) {
		e.str(d.Rule)
	}
	if m.has(decisionLastDelay) {
		e.varint(d.LastDelayMS)
	}
	if m.has(decisionAttempt) {
		e.int(d.Attempt)
	}
	if m.has(decisionNextAttempt) {
		e.int(d.NextAttempt)
	}
	if m.has(decisionNext) {
		e.varint(d.NextMS - rec.TimeMS)
	}
	if m.has(decisionHoldCondition) {
		e.str(d.HoldCondition)
	}
	if m.has(decisionRuleRetries) {
		e.ruleRetries(d.RuleRetries)
	}
	if m.has(decisionLastDate) {
		e.varint(d.LastDateMS)
	}
	if m.has(decisionSteps) {
		e.uvarint(uint64(len(d.Steps)))
		for i := range d.Steps {
			e.step(&d.Steps[i], d, rec.TimeMS)
		}
	}
}

func (d *decoder) decision(to *policy.Decision, rec *scheduler.AttemptRecord, t *scheduler.Task) {
	m := d.mask()
	to.Action, to.Reason, to.Attempt = policy.ActionRetry, policy.ReasonRetryScheduled, rec.Attempt
	if m.has(decisionAction) {
		to.Action = policy.Action(d.byte())
	}
	if m.has(decisionReason) {
		to.Reason = policy.Reason(d.byte())
	}
	if m.has(decisionDelay) {
		to.DelayMS = d.varint()
	}
	to.LastDelayMS = to.DelayMS
	to.NextAttempt, to.NextMS = impliedNext(to, rec)
	if m.has(decisionRetriesLeft) {
		to.RetriesLeft = d.int()
	}
	if m.has(decisionRule) {
		to.Rule = d.str()
	}
	if m.has(decisionLastDelay) {
		to.LastDelayMS = d.varint()
	}
	if m.has(decisionAttempt) {
		to.Attempt = d.int()
	}
	if m.has(decisionNextAttempt) {
		to.NextAttempt = d.int()
	}
	if m.has(decisionNext) {
		to.NextMS = d.varint() + rec.TimeMS
	}
	if m.has(decisionHoldCondition) {
		to.HoldCondition = d.str()
	}
	if m.has(decisionRuleRetries) {
		to.RuleRetries = d.ruleRetries()
	}
	if m.has(decisionTaskRuleRetries) {
		to.RuleRetries = t.RuleRetries
	}
	if m.has(decisionLastDate) {
		to.LastDateMS = d.varint()
	}
	if m.has(decisionSteps) {
		if n := d.count(); n > 0 {
			to.Steps = make([]policy.Step, n)
			for i := range to.Steps {
				d.step(&to.Steps[i], to, rec.TimeMS)
			}
		}
	}
	if m >= decisionLastDate<<1 {
		d.fail(errGarbage)
	}
}

// How a step's text is kept: it is often that of the decision.
const (
	textNone = iota
	textOwn
	textRule
	textHoldCondition
)

func (e *encoder) step(s *policy.Step, d *policy.Decision, nowMS int64) {
	text := uint64(textNone)
	switch s.Text {
	case "":
	case d.Rule:
		text = textRule
	case d.HoldCondition:
		text = textHoldCondition
	default:
		text = textOwn
	}
	e.byte(byte(s.Code))
	e.uvarint(uint64(len(s.Args))<<2 | text)
	if text == textOwn {
		e.str(s.Text)
	}
	for _, a := range s.Args {
		e.arg(a, nowMS)
	}
}

func (d *decoder) step(s *policy.Step, of *policy.Decision, nowMS int64) {
	s.Code = policy.StepCode(d.byte())
	head := d.uvarint()
	if head>>2 > uint64(len(d.s)) {
		d.fail(errTruncated)
		return
	}
	switch head & 3 {
	case textOwn:
		s.Text = d.str()
	case textRule:
		s.Text = of.Rule
	case textHoldCondition:
		s.Text = of.HoldCondition
	}
	if n := int(head >> 2); n > 0 {
		s.Args = make([]int64, n)
		for i := range s.Args {
			s.Args[i] = d.arg(nowMS)
		}
	}
}

// A step's figure is a small number, a moment, which lies near the record's
// time, or the bits of a float, whose low bytes are mostly zeros. The lowest two
// bits say which of them it was taken for.
const (
	argNumber uint64 = 0
	argMoment uint64 = 1
	argBits   uint64 = 2
	// argKinds is how many bits they take.
	argKinds = 2
)

func (e *encoder) arg(v, nowMS int64) {
	number, moment := zigzag(v), zigzag(v-nowMS)
	switch {
	case number < 1<<40:
		e.uvarint(number << argKinds) // argNumber
	case moment < 1<<40:
		e.uvarint(moment<<argKinds | argMoment)
	case number < 1<<56:
		e.uvarint(number << argKinds)
	default:
		var bits [8]byte
		binary.BigEndian.PutUint64(bits[:], uint64(v))
		n := 8
		for n > 0 && bits[n-1] == 0 {
			n--
		}
		e.uvarint(uint64(n)<<argKinds | argBits)
		e.b = append(e.b, bits[:n]...)
	}
}

func (d *decoder) arg(nowMS int64) int64 {
	head := d.uvarint()
	v := head >> argKinds
	switch head & (1<<argKinds - 1) {
	case argNumber:
		return unzigzag(v)
	case argMoment:
		return unzigzag(v) + nowMS
	case argBits:
		if v <= 8 {
			return int64(d.fixed(int(v)) << (8 * (8 - v)))
		}
	}
	d.fail(errGarbage)
	return 0
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
