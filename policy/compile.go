package policy

import (
	"math"
	"slices"
)

// Compiled is a policy made ready for [Decide]: normalized, its matches and
// windows parsed once. It never changes and is safe for concurrent use. Make it
// with [Compile].
type Compiled struct {
	policy Policy

	kind       scheduleKind
	initialMS  int64 // fixed and exponential
	multiplier float64
	maxDelayMS int64 // 0 is none
	delaysMS   []int64
	datesMS    []int64
	// retries is how many the policy allows; unlimited where dates alone limit
	// them.
	retries int

	jitter          Jitter
	rules           []compiledRule
	retryAfter      RetryAfter
	retryAfterCapMS int64
	windows         []window
	maxElapsedMS    int64 // 0 is none
}

type scheduleKind uint8

const (
	scheduleNone scheduleKind = iota
	scheduleFixed
	scheduleExponential
	scheduleDelays
	scheduleDates
)

const unlimited = -1

type compiledRule struct {
	name            string
	hash            uint64
	match           matcher
	action          Action
	delayMultiplier float64
	maxRetries      int // 0 is the policy's limit alone
	holdCondition   string
}

// Compile prepares a policy for decisions. The policy must be valid. What
// Validate refuses does not make it fail, but is left out, so that decisions
// under an invalid policy err towards no retry.
func Compile(p Policy) *Compiled {
	p = p.Normalize()
	c := &Compiled{
		policy:          p,
		jitter:          Jitter{p.Jitter.Kind, within(p.Jitter.Proportion, 0, 1, 0)},
		retryAfter:      p.RetryAfter,
		retryAfterCapMS: toMS(p.RetryAfter.Cap),
		maxElapsedMS:    toMS(p.MaxElapsed),
		rules:           make([]compiledRule, len(p.Rules)),
	}
	c.compileSchedule(p.Schedule, max(p.MaxRetries, 0))
	for i, r := range p.Rules {
		c.rules[i] = compiledRule{
			name:            r.Name,
			hash:            RuleHash(r.Name),
			match:           compileMatch(r.Match),
			action:          r.Action,
			delayMultiplier: within(r.DelayMultiplier, math.SmallestNonzeroFloat64, math.MaxFloat64, defaultDelayMultiplier),
			maxRetries:      max(r.MaxRetries, 0),
			holdCondition:   r.HoldCondition,
		}
	}
	for i, w := range p.PauseWindows {
		if cw, ok := compileWindow(i, w); ok {
			c.windows = append(c.windows, cw)
		}
	}
	return c
}

func (c *Compiled) compileSchedule(s Schedule, maxRetries int) {
	c.retries = maxRetries
	switch {
	case s.Fixed != nil:
		c.kind = scheduleFixed
		c.initialMS = max(toMS(s.Fixed.Delay), 1)
	case s.Exponential != nil:
		c.kind = scheduleExponential
		c.initialMS = max(toMS(s.Exponential.InitialDelay), 1)
		c.multiplier = within(s.Exponential.Multiplier, 1, math.MaxFloat64, defaultMultiplier)
		c.maxDelayMS = toMS(s.Exponential.MaxDelay)
	case s.Delays != nil:
		c.kind = scheduleDelays
		for _, d := range s.Delays.Delays {
			c.delaysMS = append(c.delaysMS, toMS(d))
		}
		if maxRetries == 0 || maxRetries > len(c.delaysMS) {
			c.retries = len(c.delaysMS)
		}
	case s.Dates != nil:
		c.kind = scheduleDates
		for _, t := range s.Dates.Times {
			c.datesMS = append(c.datesMS, unixMS(t))
		}
		slices.Sort(c.datesMS) // an invalid policy's may not be
		if maxRetries == 0 {
			c.retries = unlimited
		}
	default:
		c.retries = 0
	}
}

// within gives def for what lies outside, NaN too.
func within(f, lo, hi, def float64) float64 {
	if f >= lo && f <= hi {
		return f
	}
	return def
}

// Policy is the policy in its normalized form. What it refers to is shared
// with every caller: change nothing in it.
func (c *Compiled) Policy() Policy {
	return c.policy
}

// matching gives the first rule that matches; nil is none.
func (c *Compiled) matching(f *Failure) (int, *compiledRule) {
	for i := range c.rules {
		if c.rules[i].match.matches(f) {
			return i, &c.rules[i]
		}
	}
	return 0, nil
}
