package policy

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Violation is one thing wrong with a policy or a request.
type Violation struct {
	// Field is its path in the API's spelling, such as "rules[2].max_retries".
	Field string
	// Description gives the value and what is allowed.
	Description string
}

// The limits of a policy; those of its parts stand with the parts.
const (
	maxRetries      = 1000
	maxRules        = 64
	maxScheduleList = 1000
	maxMatchList    = 1000
	maxWindows      = 32
	minRetention    = time.Minute
)

// checker collects violations.
type checker struct{ list []Violation }

func (c *checker) add(field, format string, args ...any) {
	c.list = append(c.list, Violation{Field: field, Description: fmt.Sprintf(format, args...)})
}

// Validate gives everything that is wrong with the policy at once, nil when it
// is valid. Whether its pause windows leave anything free is judged from nowMS
// on, in UTC where a window names no zone.
func (p Policy) Validate(nowMS int64) []Violation {
	c := checker{ValidateNames(p.ID, p.DisplayName)}
	c.intRange("max_retries", p.MaxRetries, maxRetries)
	c.schedule(&p)
	c.jitter(&p)
	c.duration("max_elapsed", p.MaxElapsed, 0)
	c.rules(p.Rules)
	if p.DefaultAction != ActionRetry && p.DefaultAction != ActionDeadLetter {
		c.add("default_action", "is %v; allowed: RETRY or DEAD_LETTER", p.DefaultAction)
	}
	if p.RetryAfter.Mode > RetryAfterIgnore {
		c.add("retry_after.mode", "is %v; allowed: MAX_OF, OVERRIDE or IGNORE", p.RetryAfter.Mode)
	}
	c.duration("retry_after.cap", p.RetryAfter.Cap, 0)
	c.windows(p.PauseWindows, nowMS)
	c.intRange("max_lease_expiries", p.MaxLeaseExpiries, math.MaxInt32)
	if p.Retention != 0 {
		c.duration("retention", p.Retention, minRetention)
	}
	c.duration("dead_letter_retention", p.DeadLetterRetention, 0)
	return c.list
}

func (c *checker) schedule(p *Policy) {
	s := p.Schedule
	var set []string
	if s.Fixed != nil {
		set = append(set, "fixed")
		c.duration("fixed.delay", s.Fixed.Delay, time.Millisecond)
	}
	if e := s.Exponential; e != nil {
		set = append(set, "exponential")
		c.duration("exponential.initial_delay", e.InitialDelay, time.Millisecond)
		if e.Multiplier != 0 && !(e.Multiplier >= 1 && e.Multiplier <= math.MaxFloat64) {
			c.add("exponential.multiplier", "is %v; allowed: finite and at least 1, or 0 for the default of %d", e.Multiplier, defaultMultiplier)
		}
		if c.duration("exponential.max_delay", e.MaxDelay, 0) && e.MaxDelay != 0 && e.MaxDelay < e.InitialDelay {
			c.add("exponential.max_delay", "is %v; allowed: at least initial_delay, which is %v, or 0 for no cap", e.MaxDelay, e.InitialDelay)
		}
	}
	if s.Delays != nil {
		set = append(set, "delays")
		c.count("delays.delays", len(s.Delays.Delays), 1, maxScheduleList)
		for i, d := range s.Delays.Delays {
			c.duration(fmt.Sprintf("delays.delays[%d]", i), d, 0)
		}
		c.listed(p.MaxRetries, len(s.Delays.Delays), "delays")
	}
	if s.Dates != nil {
		set = append(set, "dates")
		c.count("dates.times", len(s.Dates.Times), 1, maxScheduleList)
		inYears := false
		for i, t := range s.Dates.Times {
			field := fmt.Sprintf("dates.times[%d]", i)
			before := inYears
			if inYears = c.time(field, t); inYears && before && unixMS(t) <= unixMS(s.Dates.Times[i-1]) {
				c.add(field, "is %s; allowed: later, by a millisecond at least, than the one before, %s",
					t.UTC().Format(time.RFC3339Nano), s.Dates.Times[i-1].UTC().Format(time.RFC3339Nano))
			}
		}
		c.listed(p.MaxRetries, len(s.Dates.Times), "dates")
	}
	switch {
	case len(set) > 1:
		c.add("schedule", "is %s at once; allowed: one of them", strings.Join(set, " and "))
	case len(set) == 0 && p.MaxRetries > 0:
		c.add("schedule", "is missing; with max_retries %d one of fixed, exponential, delays and dates must be set", p.MaxRetries)
	}
}

// listed holds max_retries against a list that has an entry for every retry.
func (c *checker) listed(retries, n int, what string) {
	if retries > n {
		c.add("max_retries", "is %d; allowed: at most the number of %s, which is %d, or 0 for all of them", retries, what, n)
	}
}

func (c *checker) jitter(p *Policy) {
	j := p.Jitter
	switch {
	case j.Kind > JitterDecorrelated:
		c.add("jitter", "is %v; allowed: proportional, full, equal or decorrelated", j.Kind)
	case j.Kind == JitterDecorrelated && p.Schedule.Exponential == nil:
		c.add("jitter.decorrelated", "is set without exponential; allowed: only with it")
	}
	if !(j.Proportion >= 0 && j.Proportion <= 1) {
		c.add("jitter.proportional", "is %v; allowed: 0 to 1", j.Proportion)
	} else if j.Kind != JitterProportional && j.Proportion != 0 {
		c.add("jitter.proportional", "is %v beside %v jitter; allowed: one kind of jitter", j.Proportion, j.Kind)
	}
}

// duration reports whether d is within least and MaxDuration.
func (c *checker) duration(field string, d, least time.Duration) bool {
	if d < least || d > MaxDuration {
		c.add(field, "is %v; allowed: %v to %v (100 years)", d, least, MaxDuration)
		return false
	}
	return true
}

// time reports whether the API can express t.
func (c *checker) time(field string, t time.Time) bool {
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		c.add(field, "is in the year %d; allowed: the years 1 to 9999", year)
		return false
	}
	return true
}

func (c *checker) intRange(field string, n, most int) {
	if n < 0 || n > most {
		c.add(field, "is %d; allowed: 0 to %d", n, most)
	}
}

func (c *checker) count(field string, n, least, most int) {
	if n < least || n > most {
		c.add(field, "has %d entries; allowed: %d to %d", n, least, most)
	}
}

// text checks what every free text of the API has in common.
func (c *checker) text(field, s string) {
	if len(s) > maxTokenBytes {
		c.add(field, "has %d bytes; allowed: at most %d", len(s), maxTokenBytes)
	}
	if !utf8.ValidString(s) {
		c.add(field, "is not valid UTF-8")
	}
}
