package policy

import (
	"strings"
	"time"
)

// hint is a destination's Retry-After as it stands after its cap: milliseconds
// from now, 0 when there is none.
type hint struct {
	ms     int64
	header bool // from the header, else from the field
}

// hintOf is the first half of step 7: it reads the failure's hints and takes
// the later. Whatever is no use as a hint leaves a step that says why.
func (c *Compiled) hintOf(f *Failure, nowMS int64, s *stepList) hint {
	header := ""
	if f.Cause == CauseHTTP {
		header = f.RetryAfterHeader
	}
	if header == "" && f.RetryAfter == 0 {
		return hint{}
	}
	if c.retryAfter.Mode == RetryAfterIgnore {
		s.add(StepRetryAfterIgnored, "")
		return hint{}
	}

	var h hint
	if header != "" {
		ms, fault := readRetryAfter(header, nowMS)
		if fault == 0 {
			h = hint{ms: ms, header: true}
		} else {
			s.add(fault, excerpt(header))
		}
	}
	switch {
	case f.RetryAfter < 0:
		s.add(StepRetryAfterNegative, f.RetryAfter.String())
	case f.RetryAfter > 0:
		ms := hintMS(f.RetryAfter)
		if h.ms > 0 {
			s.add(StepRetryAfterBoth, "", h.ms, ms)
		}
		if ms > h.ms {
			h = hint{ms: ms}
		}
	}
	if h.ms > c.retryAfterCapMS {
		s.add(StepRetryAfterCapped, "", h.ms, c.retryAfterCapMS)
		h.ms = c.retryAfterCapMS
	}
	return h
}

// hintMS rounds up, and unlike toMS knows no bound but the type's: hints have a
// cap of their own, and the explanation is to show what was asked for.
func hintMS(d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// applyHint is the second half of step 7: what the hint makes of the delay so
// far.
func (c *Compiled) applyHint(delay int64, h hint, sd *seed, s *stepList) int64 {
	if h.ms == 0 {
		return delay
	}
	if !c.hintDecides(delay, h) {
		s.add(StepRetryAfterShorter, "", h.ms, delay)
		return delay
	}
	s.add(StepRetryAfterUsed, "", h.ms, delay, int64(c.retryAfter.Mode))
	from := c.hintSpan(h)
	if !from.open() {
		return h.ms
	}
	drawn := from.at(sd.draw(drawRetryAfter))
	s.add(StepRetryAfterSpread, "", floatArg(c.jitter.Proportion), from.lo, from.hi, drawn)
	return drawn
}

func (c *Compiled) hintDecides(delay int64, h hint) bool {
	return h.ms > 0 && (c.retryAfter.Mode == RetryAfterOverride || h.ms > delay)
}

// hintSpan is what a hint that decides is spread over: upwards only, since the
// destination has said when it will be ready.
func (c *Compiled) hintSpan(h hint) span {
	s := span{h.ms, h.ms}
	if c.jitter.Kind == JitterProportional {
		s.hi = max(s.hi, roundDown(scale(float64(h.ms), 1+c.jitter.Proportion)))
	}
	return s
}

// maxSeconds keeps a header's seconds within what milliseconds can hold; any
// cap is far below.
const maxSeconds = int64(1) << 53 / 1000

// readRetryAfter reads a Retry-After header as milliseconds from now; what is no
// hint gives the code of the step that says why instead.
func readRetryAfter(header string, nowMS int64) (ms int64, fault StepCode) {
	v := strings.Trim(header, " \t")
	digits := strings.TrimPrefix(v, "-")
	if allDigits(digits) {
		var sec int64
		for i := range len(digits) {
			sec = min(sec*10+int64(digits[i]-'0'), maxSeconds)
		}
		switch {
		case sec == 0:
			return 0, StepRetryAfterZero
		case len(digits) < len(v):
			return 0, StepRetryAfterNegative
		}
		return sec * 1000, 0
	}
	at, ok := parseHTTPDate(v, nowMS)
	switch {
	case !ok:
		return 0, StepRetryAfterUnreadable
	case at <= nowMS:
		return 0, StepRetryAfterPast
	}
	return at - nowMS, 0
}

// parseHTTPDate reads the three forms of RFC 9110, section 5.6.7, as Unix
// milliseconds.
func parseHTTPDate(v string, nowMS int64) (int64, bool) {
	if t, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", v); err == nil {
		return unixMS(t), true
	}
	if t, err := time.Parse("Monday, 02-Jan-06 15:04:05 GMT", v); err == nil {
		// Two digits of a year mean the last such year that is no more than 50
		// years ahead.
		now := time.UnixMilli(nowMS).UTC().Year()
		year := now - now%100 + t.Year()%100
		if year <= now-50 {
			year += 100
		} else if year > now+50 {
			year -= 100
		}
		return unixMS(t.AddDate(year-t.Year(), 0, 0)), true
	}
	if t, err := time.Parse(time.ANSIC, v); err == nil {
		return unixMS(t), true
	}
	return 0, false
}

// allDigits reports whether s is one or more decimal digits.
func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// excerpt keeps what a destination sent short enough to be stored with every
// decision, and valid as text.
func excerpt(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "?")
}
