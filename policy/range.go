package policy

import "slices"

// Range gives the earliest and the latest moment, as Unix milliseconds, at
// which other draws of this same step could have put the next attempt. Both are
// the decision's own moment when nothing is drawn, and 0 when the decision is
// not a retry. Draws that would break max_elapsed or the deadline do not count.
func Range(c *Compiled, st State, f Failure, nowMS int64) (earliestMS, latestMS int64) {
	d := Decide(c, st, f, nowMS)
	if d.Action != ActionRetry {
		return 0, 0
	}
	now := clampTime(nowMS)
	drawn := c.drawnSpan(&st, &f, now, &d)
	limit := int64(maxTimeMS)
	if last, bound := c.lastByElapsed(&st, now); bound {
		limit = min(limit, last)
	}
	if last, bound := st.lastByDeadline(); bound {
		limit = min(limit, last)
	}
	if len(c.windows) == 0 {
		return drawn.lo, max(drawn.lo, min(drawn.hi, limit))
	}

	z := &zoneCursor{task: taskZone(st.TimeZone)}
	earliest, ok := c.firstFree(drawn.lo, z)
	if !ok {
		earliest = drawn.lo
	}
	latest := c.lastFree(span{drawn.lo, min(drawn.hi, limit)}, limit, z)
	// The decision itself is always one of the draws.
	return min(earliest, d.NextMS), max(latest, d.NextMS)
}

// drawnSpan is where steps 5 to 7 could put the next attempt, windows apart.
func (c *Compiled) drawnSpan(st *State, f *Failure, now int64, d *Decision) span {
	if c.kind == scheduleDates {
		return span{d.LastDateMS, d.LastDateMS}
	}
	_, rule := c.matching(f)
	s := c.jitterSpan(c.baseDelay(st.retriesUsed()+1, rule, nil), st.LastDelayMS)
	s = span{c.jitterCut(s.lo), c.jitterCut(s.hi)}
	if h := c.hintOf(f, now, nil); c.hintDecides(s.lo, h) {
		// Draws below the hint are lifted to its span; those above it stay, unless
		// it overrides them.
		lifted := c.hintSpan(h)
		if !c.hintDecides(s.hi, h) {
			lifted.hi = max(lifted.hi, s.hi)
		}
		s = lifted
	}
	return span{later(now, s.lo), later(now, s.hi)}
}

// lastFree gives the last free moment, not after limit, that can come of a
// moment in from once it has left the pause windows; noMoment when it finds none.
//
// What is free stays where it is. What falls into a window comes out anywhere
// in the spread after its end, maybe in the next window. So only the windows
// that end near from's end can lead beyond it, and the search begins there; it
// goes back further only when all it finds is beyond the limit.
func (c *Compiled) lastFree(from span, limit int64, z *zoneCursor) int64 {
	var widest int64
	for i := range c.windows {
		widest = max(widest, c.windows[i].spreadMS)
	}
	if _, ok := c.firstFree(from.hi, z); !ok {
		// Windows that leave nothing free are ignored, and what falls into them
		// stays where it is.
		return from.hi
	}
	for width := widest + calm*1000; ; width *= 2 {
		start := max(from.lo, from.hi-width)
		if best := c.sweep(span{start, from.hi}, limit, z); best > noMoment || start == from.lo {
			return best
		}
	}
}

// noMoment is before all that the API can express.
const noMoment = minTimeMS - 1

// maxSweep bounds the work for one preview: a year of five windows a day. Only
// spreads that lead through more, from window to window, get there; the range
// then ends at the last moment seen.
const maxSweep = 4000

// sweep goes through all moments that draws can reach, in order of time, and
// gives the last free one. pending holds what is reached and not yet looked at,
// in order and without overlap.
func (c *Compiled) sweep(from span, limit int64, z *zoneCursor) int64 {
	horizon := later(from.hi, lookAheadMS)
	pending := []span{from}
	best := int64(noMoment)
	for range maxSweep {
		if len(pending) == 0 || pending[0].lo > min(limit, horizon) {
			break
		}
		t := pending[0].lo
		w, end := c.openAt(t, z)
		// Up to the next start nothing changes but that the window ends.
		until := c.nextStart(t, z)
		if w == nil {
			best = max(best, min(pending[0].hi, until-1, limit))
		} else {
			until = min(until, end)
		}
		if until > pending[0].hi {
			pending = pending[1:]
		} else {
			pending[0].lo = until
		}
		if w != nil && end <= horizon {
			pending = insertSpan(pending, span{end, later(end, w.spreadMS)})
		}
	}
	// Beyond the horizon no window is left any more, so that only what is free
	// counts: the last of it is found from the end.
	for _, reached := range slices.Backward(pending) {
		s := span{max(reached.lo, horizon), min(reached.hi, limit)}
		if at := c.freeBefore(s, z); at > noMoment {
			return max(best, at)
		}
	}
	return best
}

// freeBefore gives the last free moment of the span; noMoment when it finds
// none.
func (c *Compiled) freeBefore(s span, z *zoneCursor) int64 {
	t := s.hi
	for range maxSweep {
		opened := t + 1
		for i := range c.windows {
			if open, is := c.windows[i].spanAt(t, z); is {
				opened = min(opened, open.lo)
			}
		}
		if t < s.lo {
			break
		}
		if opened > t {
			return t
		}
		t = opened - 1
	}
	return noMoment
}

// insertSpan keeps the list in order and joins what overlaps or touches.
func insertSpan(list []span, s span) []span {
	i := 0
	for i < len(list) && list[i].hi < s.lo-1 {
		i++
	}
	j := i
	for j < len(list) && list[j].lo <= s.hi+1 {
		s = span{min(s.lo, list[j].lo), max(s.hi, list[j].hi)}
		j++
	}
	return slices.Replace(list, i, j, s)
}

// nextStart gives the first moment after t at which a window opens; the end of
// time when none does.
func (c *Compiled) nextStart(t int64, z *zoneCursor) int64 {
	next := int64(maxTimeMS)
	for i := range c.windows {
		next = min(next, c.windows[i].startAfter(t, z))
	}
	return next
}

// startAfter is nextStart of one window.
func (w *window) startAfter(t int64, z *zoneCursor) int64 {
	if w.once {
		if w.fromMS > t {
			return w.fromMS
		}
		return maxTimeMS
	}
	sec := floorDiv(t, 1000)
	loc := z.in(w.zone)
	p := z.period(loc, sec)
	today := floorDiv(sec+p.offset, secondsPerDay)
	if p.calmAt(sec) {
		for day := today; ; day++ {
			if from := (day*secondsPerDay + w.start - p.offset) * 1000; from > t && w.startsOn(day) {
				return from
			}
		}
	}
	// The next day of the week, and as many more as a clock change may empty.
	for day := today - 2; day <= today+16; day++ {
		if !w.startsOn(day) {
			continue
		}
		if from, to := w.on(day, loc); from < to && from*1000 > t {
			return from * 1000
		}
	}
	return maxTimeMS
}
