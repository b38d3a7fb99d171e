package policy

import (
	"slices"
	"strings"
	"time"
)

// The defaults that Normalize makes explicit.
const (
	defaultMultiplier          = 2
	defaultDelayMultiplier     = 1
	defaultRetryAfterCap       = 24 * time.Hour
	defaultMaxLeaseExpiries    = 5
	defaultRetention           = 24 * time.Hour
	defaultDeadLetterRetention = 30 * 24 * time.Hour
)

// Normalize gives the form in which a policy is stored: every default written
// out, status tokens in lower case, times in UTC. It shares no memory with p,
// and normalizing twice changes nothing more.
//
// MaxRetries stays 0 with delays and dates: written out it would turn a later
// edit of the list into a contradiction.
func (p Policy) Normalize() Policy {
	p.Schedule = p.Schedule.normalize()
	p.Rules = slices.Clone(p.Rules)
	for i := range p.Rules {
		p.Rules[i] = p.Rules[i].normalize()
	}
	p.RetryAfter.Cap = orDefault(p.RetryAfter.Cap, defaultRetryAfterCap)
	p.PauseWindows = slices.Clone(p.PauseWindows)
	for i := range p.PauseWindows {
		w := &p.PauseWindows[i]
		w.Days = slices.Clone(w.Days)
		w.StartTime, w.EndTime = plainUTC(w.StartTime), plainUTC(w.EndTime)
	}
	p.MaxLeaseExpiries = orDefault(p.MaxLeaseExpiries, defaultMaxLeaseExpiries)
	p.Retention = orDefault(p.Retention, defaultRetention)
	p.DeadLetterRetention = orDefault(p.DeadLetterRetention, defaultDeadLetterRetention)
	return p
}

func (s Schedule) normalize() Schedule {
	if s.Fixed != nil {
		f := *s.Fixed
		s.Fixed = &f
	}
	if s.Exponential != nil {
		e := *s.Exponential
		e.Multiplier = orDefault(e.Multiplier, defaultMultiplier)
		s.Exponential = &e
	}
	if s.Delays != nil {
		s.Delays = &DelayList{Delays: slices.Clone(s.Delays.Delays)}
	}
	if s.Dates != nil {
		times := slices.Clone(s.Dates.Times)
		for i := range times {
			times[i] = plainUTC(times[i])
		}
		s.Dates = &DateList{Times: times}
	}
	return s
}

func (r Rule) normalize() Rule {
	r.DelayMultiplier = orDefault(r.DelayMultiplier, defaultDelayMultiplier)
	m := &r.Match
	m.Statuses = lowered(m.Statuses)
	m.StatusesExcept = lowered(m.StatusesExcept)
	m.ConnectionKinds = slices.Clone(m.ConnectionKinds)
	m.GRPCCodes = slices.Clone(m.GRPCCodes)
	m.Codes = slices.Clone(m.Codes)
	m.CodesExcept = slices.Clone(m.CodesExcept)
	m.Outcomes = slices.Clone(m.Outcomes)
	return r
}

func lowered(tokens []string) []string {
	out := slices.Clone(tokens)
	for i := range out {
		out[i] = strings.ToLower(out[i])
	}
	return out
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// plainUTC drops the monotonic clock and the zone, so that equal times are
// equal values.
func plainUTC(t time.Time) time.Time {
	return t.Round(0).UTC()
}
