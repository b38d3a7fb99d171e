package policy

import (
	"math"
	"slices"
	"time"
)

// maxDelayMS is where delays stop growing.
const maxDelayMS = int64(MaxDuration / time.Millisecond)

// The moments that the API can express, the years 1 to 9999.
const (
	minTimeMS = -62135596800000
	maxTimeMS = 253402300799999
)

// later gives t + ms, within the moments that the API can express.
func later(t, ms int64) int64 {
	if ms > maxTimeMS-t {
		return maxTimeMS
	}
	return t + ms
}

func clampTime(ms int64) int64 { return min(max(ms, minTimeMS), maxTimeMS) }

// toMS rounds up to whole milliseconds, between 0 and MaxDuration.
func toMS(d time.Duration) int64 {
	d = min(max(d, 0), MaxDuration)
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// unixMS rounds up to whole milliseconds.
func unixMS(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) > 0 {
		ms++
	}
	return clampTime(ms)
}

// scale is the one multiplication of delays: whatever comes in, what comes out
// is from 0 to MaxDuration, in milliseconds.
func scale(ms, factor float64) float64 {
	x := ms * factor
	switch {
	case x >= float64(maxDelayMS):
		return float64(maxDelayMS)
	case x > 0:
		return x
	default: // also NaN, which no valid policy leads to
		return 0
	}
}

// noise is the relative error up to which a product is taken for the whole
// number beside it: 100 ms * 1.1 * 1.1 is 121 ms, not the 122 that rounding up
// 121.00000000000001 would give.
const noise = 1e-12

func roundUp(x float64) int64 {
	if r := math.Round(x); math.Abs(x-r) <= r*noise {
		return int64(r)
	}
	return int64(math.Ceil(x))
}

func roundDown(x float64) int64 {
	if r := math.Round(x); math.Abs(x-r) <= r*noise {
		return int64(r)
	}
	return int64(math.Floor(x))
}

// baseDelay is step 5 for all schedules but dates: the delay of retry n (from
// 1) in milliseconds, with the rule's multiplier, cut to the schedule's cap.
func (c *Compiled) baseDelay(n int, rule *compiledRule, s *stepList) int64 {
	var base float64
	switch c.kind {
	case scheduleFixed:
		base = float64(c.initialMS)
		s.add(StepFixed, "", int64(n), c.initialMS)
	case scheduleExponential:
		if c.jitter.Kind == JitterDecorrelated {
			// Nothing of this step is used, nor the rule's multiplier: the draw has its
			// own range.
			return c.initialMS
		}
		base = scale(float64(c.initialMS), math.Pow(c.multiplier, float64(n-1)))
		s.add(StepExponential, "", int64(n), c.initialMS, floatArg(c.multiplier), roundUp(base))
	case scheduleDelays:
		if n > len(c.delaysMS) { // not reached: the list's length bounds the retries
			return 0
		}
		base = float64(c.delaysMS[n-1])
		s.add(StepDelays, "", int64(n), int64(len(c.delaysMS)), c.delaysMS[n-1])
	}
	if rule != nil && rule.delayMultiplier != 1 {
		base = scale(base, rule.delayMultiplier)
		s.add(StepDelayMultiplier, rule.name, floatArg(rule.delayMultiplier), roundUp(base))
	}
	d := roundUp(base)
	if c.maxDelayMS > 0 && d > c.maxDelayMS {
		d = c.maxDelayMS
		s.add(StepMaxDelay, "", d)
	}
	return d
}

// nextDate is step 5 for dates: the index of the first listed time after now
// and after the last one used, and, with a hint, not before it.
func (c *Compiled) nextDate(nowMS, lastMS int64, h hint) (int, bool) {
	after := nowMS
	if lastMS != 0 {
		after = max(after, lastMS)
	}
	if h.ms > 0 {
		after = max(after, later(nowMS, h.ms)-1)
	}
	i, found := slices.BinarySearch(c.datesMS, after)
	for found && i < len(c.datesMS) && c.datesMS[i] == after {
		i++
	}
	return i, i < len(c.datesMS)
}
