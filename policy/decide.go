package policy

import (
	"math"
	"slices"
)

// Reason says why a decision came out as it did.
type Reason uint8

// The reasons. The zero value is none, which no decision has.
const (
	ReasonUnspecified Reason = iota
	ReasonRetryScheduled
	ReasonHeld
	ReasonNonRetryable
	ReasonRetriesExhausted
	ReasonRuleRetriesExhausted
	ReasonMaxElapsed
	ReasonDeadline
	ReasonNoMoreDates
	// ReasonNoPolicy is that of a nil policy.
	ReasonNoPolicy
	// ReasonLeasesExpired is given by the scheduler, never by Decide.
	ReasonLeasesExpired
)

// State is what a decision needs to know of the task. All times are Unix
// milliseconds.
type State struct {
	// Namespace and TaskID seed the draws, with Generation and Attempt.
	Namespace, TaskID string
	// Generation is 1, and one more with every replay.
	Generation int
	// Attempt is the one that failed, from 1; FirstAttempt is the generation's
	// first, 0 meaning 1. Their difference is the number of retries used.
	Attempt, FirstAttempt int
	// FirstFailureMS is the generation's first failure; 0 means this one.
	FirstFailureMS int64
	// RuleRetries, LastDelayMS and LastDateMS are those of the generation's last
	// Decision; zero when there was none.
	RuleRetries []RuleRetries
	LastDelayMS int64
	LastDateMS  int64
	// DeadlineMS is the task's; 0 means none. It binds generation 1 only: who
	// replays a dead letter wants it done, late as it is.
	DeadlineMS int64
	// TimeZone is the task's (IANA); it is that of windows that name none. None,
	// or one that is not known, is UTC.
	TimeZone string
}

// RuleRetries counts the retries made under one rule's name. A task keeps at
// most [MaxRuleRetries] of them.
type RuleRetries struct {
	// Rule is [RuleHash] of the rule's name.
	Rule  uint64
	Count int
}

// MaxRuleRetries is how many rules of a policy may have a limit of their own.
const MaxRuleRetries = 8

// Decision is what becomes of a task after a failure.
type Decision struct {
	Action Action
	Reason Reason
	// Attempt is the one that failed.
	Attempt int
	// NextAttempt, NextMS (Unix milliseconds) and DelayMS (from now to NextMS) are
	// set with ActionRetry only. Where dates are listed, DelayMS may be more than
	// a time.Duration holds.
	NextAttempt int
	NextMS      int64
	DelayMS     int64
	// RetriesLeft is how many more retries the policy would allow after the one
	// scheduled here, or after a hold's release without one; 0 when the task is
	// dead. Limits of rules are not counted: they depend on failures to come.
	RetriesLeft int
	// Rule is the name of the rule that matched, if any.
	Rule string
	// HoldCondition is set with ActionHold.
	HoldCondition string
	// Steps tell what shaped the decision, in order; see [Explain].
	Steps []Step

	// RuleRetries, LastDelayMS and LastDateMS are what the task's next State
	// carries on, whatever the action. RuleRetries may be the State's own slice,
	// which is never written to.
	RuleRetries []RuleRetries
	LastDelayMS int64
	LastDateMS  int64
}

// Decide says what becomes of a task after a failure. It is a total function of
// its arguments: it never fails, and the same arguments give the same decision
// on every replica, at any time. The steps and their order are pictured at the
// top of the package.
func Decide(c *Compiled, st State, f Failure, nowMS int64) Decision {
	d := Decision{
		Attempt:     st.Attempt,
		RuleRetries: st.RuleRetries,
		LastDelayMS: st.LastDelayMS,
		LastDateMS:  st.LastDateMS,
	}
	if c == nil {
		d.Action, d.Reason = ActionDeadLetter, ReasonNoPolicy
		d.Steps = []Step{{Code: StepNoPolicy}}
		return d
	}
	s := newStepList()
	now := clampTime(nowMS)
	rule := c.judge(&d, &st, &f, now, s)
	if d.Action == ActionRetry {
		sd := seed{st: &st}
		if next, ok := c.schedule(&d, &st, &f, rule, now, &sd, s); ok {
			c.bind(&d, &st, rule, now, next, s)
		}
	}
	d.Steps = s.steps
	return d
}

// judge is steps 1 to 4: whether the failure may be retried at all. It leaves
// ActionRetry where it may, and gives the rule that matched, if any.
func (c *Compiled) judge(d *Decision, st *State, f *Failure, now int64, s *stepList) *compiledRule {
	if f.Permanent {
		s.add(StepPermanent, "")
		d.end(ReasonNonRetryable)
		return nil
	}

	action, condition := c.policy.DefaultAction, ""
	index, rule := c.matching(f)
	if rule != nil {
		action, condition, d.Rule = rule.action, rule.holdCondition, rule.name
		s.add(StepRule, rule.name, int64(index), int64(action))
	} else {
		s.add(StepNoRule, "", int64(action))
	}

	used := st.retriesUsed()
	switch action {
	case ActionRetry:
	case ActionHold:
		d.Action, d.Reason, d.HoldCondition = ActionHold, ReasonHeld, condition
		d.RetriesLeft = c.retriesLeft(used, st, now)
		s.add(StepHeld, condition)
		return rule
	default:
		d.end(ReasonNonRetryable)
		return rule
	}

	if c.retries != unlimited && used >= c.retries {
		s.add(StepRetriesUsed, "", int64(used), int64(c.retries))
		d.end(ReasonRetriesExhausted)
		return rule
	}
	if rule != nil && rule.maxRetries > 0 {
		if n := countOf(st.RuleRetries, rule.hash); n >= rule.maxRetries {
			s.add(StepRuleRetriesUsed, rule.name, int64(n), int64(rule.maxRetries))
			d.end(ReasonRuleRetriesExhausted)
			return rule
		}
	}
	d.Action = ActionRetry
	return rule
}

// schedule is steps 5 to 8: when the next attempt is made. It reports false
// when it ended the task for want of a date.
func (c *Compiled) schedule(d *Decision, st *State, f *Failure, rule *compiledRule, now int64, sd *seed, s *stepList) (int64, bool) {
	var next int64
	if c.kind == scheduleDates {
		date, ok := c.pickDate(d, st, f, now, s)
		if !ok {
			return 0, false
		}
		next = date
	} else {
		base := c.baseDelay(st.retriesUsed()+1, rule, s)
		delay := c.drawJitter(base, st.LastDelayMS, sd, s)
		d.LastDelayMS = delay
		next = later(now, c.applyHint(delay, c.hintOf(f, now, s), sd, s))
	}
	if len(c.windows) > 0 {
		z := zoneCursor{task: taskZone(st.TimeZone)}
		if free, ok := c.leaveWindows(next, drawWindow, &z, sd, s); ok {
			next = free
		}
	}
	return next, true
}

// pickDate is steps 5 and 7 where dates are listed.
func (c *Compiled) pickDate(d *Decision, st *State, f *Failure, now int64, s *stepList) (int64, bool) {
	h := c.hintOf(f, now, s)
	count := int64(len(c.datesMS))
	i, ok := c.nextDate(now, st.LastDateMS, h)
	if h.ms > 0 {
		code := StepRetryAfterDateLater
		if plain, _ := c.nextDate(now, st.LastDateMS, hint{}); plain != i {
			code = StepRetryAfterDate
		}
		s.add(code, "", h.ms, later(now, h.ms))
	}
	if !ok {
		s.add(StepNoMoreDates, "", count, max(later(now, h.ms), st.LastDateMS))
		d.end(ReasonNoMoreDates)
		return 0, false
	}
	d.LastDateMS = c.datesMS[i]
	s.add(StepDate, "", int64(i), count, d.LastDateMS)
	return d.LastDateMS, true
}

// bind is steps 9 and 10: whether next is soon enough, and if so what the task
// carries on.
func (c *Compiled) bind(d *Decision, st *State, rule *compiledRule, now, next int64, s *stepList) {
	if last, bound := c.lastByElapsed(st, now); bound && next > last {
		s.add(StepMaxElapsed, "", next, last, c.maxElapsedMS)
		d.end(ReasonMaxElapsed)
		return
	}
	if last, bound := st.lastByDeadline(); bound && next > last {
		s.add(StepDeadline, "", next, last)
		d.end(ReasonDeadline)
		return
	}
	d.Reason = ReasonRetryScheduled
	d.NextAttempt = st.Attempt + 1
	if st.Attempt == math.MaxInt {
		d.NextAttempt = st.Attempt
	}
	d.NextMS, d.DelayMS = next, next-now
	after := *st
	after.LastDateMS = d.LastDateMS
	d.RetriesLeft = c.retriesLeft(st.retriesUsed()+1, &after, next)
	if rule != nil && rule.maxRetries > 0 {
		d.RuleRetries = c.countRetry(st.RuleRetries, rule)
	}
	s.add(StepScheduled, "", int64(d.NextAttempt), d.NextMS, d.DelayMS)
}

func (d *Decision) end(r Reason) {
	d.Action, d.Reason = ActionDeadLetter, r
}

// retriesUsed counts the generation's retries: retry n is the next one when
// this is n-1.
func (st *State) retriesUsed() int {
	return max(st.Attempt, 1) - min(max(st.FirstAttempt, 1), max(st.Attempt, 1))
}

// retriesLeft is how many retries the policy allows after used ones, of dates
// only those after a moment: a pause window may reach over some.
func (c *Compiled) retriesLeft(used int, st *State, after int64) int {
	left := math.MaxInt
	if c.retries != unlimited {
		left = max(c.retries-used, 0)
	}
	if c.kind == scheduleDates {
		i, _ := c.nextDate(after, st.LastDateMS, hint{})
		left = min(left, len(c.datesMS)-i)
	}
	return left
}

// RetriesLeft is how many more retries the policy allows after the attempt that
// st names, made at atMS: of dates only those after that moment, and as in
// [Decision.RetriesLeft] without the limits of rules. Of st it needs Attempt and
// FirstAttempt, and with dates LastDateMS. Under no policy (nil) there are none.
func (c *Compiled) RetriesLeft(st State, atMS int64) int {
	if c == nil {
		return 0
	}
	return c.retriesLeft(st.retriesUsed(), &st, clampTime(atMS))
}

// lastByElapsed is the last moment that the policy's max_elapsed allows.
func (c *Compiled) lastByElapsed(st *State, now int64) (int64, bool) {
	if c.maxElapsedMS == 0 {
		return 0, false
	}
	first := now
	if st.FirstFailureMS != 0 {
		first = clampTime(st.FirstFailureMS)
	}
	return later(first, c.maxElapsedMS), true
}

// lastByDeadline is the last moment that the task's deadline allows.
func (st *State) lastByDeadline() (int64, bool) {
	return st.DeadlineMS, st.DeadlineMS != 0 && st.Generation <= 1
}

func countOf(counts []RuleRetries, rule uint64) int {
	for _, c := range counts {
		if c.Rule == rule {
			return c.Count
		}
	}
	return 0
}

// countRetry adds a retry to the rule's count. A task has slots enough for the
// rules that a policy may limit at one time, but policies are edited: when all
// are taken, one of a rule that is no longer limited makes room.
func (c *Compiled) countRetry(counts []RuleRetries, rule *compiledRule) []RuleRetries {
	out := make([]RuleRetries, len(counts), len(counts)+1)
	copy(out, counts)
	i := slices.IndexFunc(out, func(r RuleRetries) bool { return r.Rule == rule.hash })
	if i < 0 {
		i = len(out)
		out = append(out, RuleRetries{Rule: rule.hash})
	}
	if out[i].Count < math.MaxInt {
		out[i].Count++
	}
	for len(out) > MaxRuleRetries {
		drop := slices.IndexFunc(out, func(r RuleRetries) bool { return !c.limits(r.Rule) })
		if drop < 0 { // more limited rules than a valid policy has
			drop = slices.IndexFunc(out, func(r RuleRetries) bool { return r.Rule != rule.hash })
		}
		out = slices.Delete(out, drop, drop+1)
	}
	return out
}

// limits reports whether a rule of that hash has a limit of its own.
func (c *Compiled) limits(hash uint64) bool {
	return slices.ContainsFunc(c.rules, func(r compiledRule) bool {
		return r.maxRetries > 0 && r.hash == hash
	})
}
