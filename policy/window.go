package policy

import (
	"time"
)

// lookAheadMS is how far a free moment is looked for: every weekly window and
// every clock change of a year has come by then.
const lookAheadMS = 366 * secondsPerDay * 1000

// window is a PauseWindow, parsed once.
type window struct {
	index int // in the policy

	// A window that is open once has its moments, in milliseconds.
	once            bool
	fromMS, untilMS int64

	// A weekly window has the days on which it starts, a bit per time.Weekday,
	// and its ends in seconds from the local midnight before its start; end is
	// more than a day when the window runs past the next midnight.
	days       uint8
	start, end int64
	zone       *time.Location // nil is the task's

	spreadMS int64
}

// compileWindow reports false for a window that Validate has refused.
func compileWindow(index int, p PauseWindow) (window, bool) {
	w := window{index: index, spreadMS: toMS(p.Spread)}
	if p.Start == "" && p.End == "" {
		w.once = true
		w.fromMS, w.untilMS = unixMS(p.StartTime), unixMS(p.EndTime)
		return w, !p.StartTime.IsZero() && w.fromMS < w.untilMS
	}
	var okStart, okEnd bool
	w.start, okStart = parseClock(p.Start, false)
	w.end, okEnd = parseClock(p.End, true)
	if !okStart || !okEnd {
		return w, false
	}
	if w.end <= w.start {
		w.end += secondsPerDay
	}
	for _, day := range p.Days {
		if day < time.Sunday || day > time.Saturday {
			return w, false
		}
		w.days |= 1 << day
	}
	if len(p.Days) == 0 {
		w.days = 1<<7 - 1
	}
	if p.TimeZone != "" {
		w.zone = loadZone(p.TimeZone)
		return w, w.zone != nil
	}
	return w, true
}

// parseClock reads "HH:MM" as seconds from midnight; "24:00" only where it is
// an end.
func parseClock(s string, end bool) (int64, bool) {
	if len(s) != 5 || s[2] != ':' || !allDigits(s[:2]) || !allDigits(s[3:]) {
		return 0, false
	}
	hour := int64(s[0]-'0')*10 + int64(s[1]-'0')
	minute := int64(s[3]-'0')*10 + int64(s[4]-'0')
	if hour > 23 || minute > 59 {
		return secondsPerDay, end && s == "24:00"
	}
	return hour*3600 + minute*60, true
}

// startsOn reports whether the window starts on a local day, counted from
// 1970-01-01, which was a Thursday.
func (w *window) startsOn(day int64) bool {
	weekday := (day%7 + 7 + int64(time.Thursday)) % 7
	return w.days>>weekday&1 == 1
}

// on gives the seconds between which the window that starts on a local day is
// open. It is empty when a clock change skips all of it.
func (w *window) on(day int64, loc *time.Location) (from, to int64) {
	midnight := day * secondsPerDay
	return instant(loc, midnight+w.start, false), instant(loc, midnight+w.end, true)
}

// calm is how long before and after a moment the offset must stay the same for
// plain arithmetic to do: a window and the search for its ends reach no further.
const calm = 8 * secondsPerDay

func (p period) calmAt(sec int64) bool {
	return sec-calm >= p.from && sec+calm < p.to
}

// spanAt gives when the window that is open at t opened and when it ends, in
// milliseconds; where two of its days overlap, that of the later end. The span's
// hi is the window's end, and so outside it.
func (w *window) spanAt(t int64, z *zoneCursor) (open span, is bool) {
	if w.once {
		return span{w.fromMS, w.untilMS}, w.fromMS <= t && t < w.untilMS
	}
	sec := floorDiv(t, 1000)
	loc := z.in(w.zone)
	p := z.period(loc, sec)
	local := sec + p.offset
	today := floorDiv(local, secondsPerDay)
	if p.calmAt(sec) {
		for day := today; day >= today-1; day-- {
			from, to := day*secondsPerDay+w.start, day*secondsPerDay+w.end
			if from <= local && local < to && w.startsOn(day) {
				return span{(from - p.offset) * 1000, (to - p.offset) * 1000}, true
			}
		}
		return span{}, false
	}
	// Around a clock change all days are tried that it may have moved here: zones
	// have skipped and repeated whole days, and a change just after midnight goes
	// back to the evening before.
	for day := today + 2; day >= today-2; day-- {
		if !w.startsOn(day) {
			continue
		}
		from, to := w.on(day, loc)
		if from <= sec && sec < to && (!is || to*1000 > open.hi) {
			open, is = span{from * 1000, to * 1000}, true
		}
	}
	return open, is
}

// zoneCursor is where a search through time stands: the task's zone, and the
// periods looked up last, of which a policy's few zones need one each.
type zoneCursor struct {
	task  *time.Location
	known [3]struct {
		loc *time.Location
		p   period
	}
	oldest int
}

func (z *zoneCursor) in(zone *time.Location) *time.Location {
	if zone == nil {
		return z.task
	}
	return zone
}

func (z *zoneCursor) period(loc *time.Location, sec int64) period {
	for i := range z.known {
		if k := &z.known[i]; k.loc == loc && k.p.from <= sec && sec < k.p.to {
			return k.p
		}
	}
	k := &z.known[z.oldest]
	z.oldest = (z.oldest + 1) % len(z.known)
	k.loc, k.p = loc, periodAt(loc, sec)
	return k.p
}

// openAt gives the window that is open at t with its end in milliseconds; of
// several the one that ends last, then the one with the widest spread, then the
// first listed. nil means that t is free.
func (c *Compiled) openAt(t int64, z *zoneCursor) (open *window, endMS int64) {
	for i := range c.windows {
		w := &c.windows[i]
		s, in := w.spanAt(t, z)
		if in && (open == nil || s.hi > endMS || s.hi == endMS && w.spreadMS > open.spreadMS) {
			open, endMS = w, s.hi
		}
	}
	return open, endMS
}

// firstFree gives the first moment from t on that is in no window; false when
// there is none within the look-ahead.
func (c *Compiled) firstFree(t int64, z *zoneCursor) (int64, bool) {
	horizon := later(t, lookAheadMS)
	for {
		w, end := c.openAt(t, z)
		if w == nil {
			return t, true
		}
		if end > horizon {
			return 0, false
		}
		t = end
	}
}

// leaveWindows is step 8: from a window to its end plus a draw from its spread,
// until outside all windows. It reports false when no moment within the
// look-ahead is free.
func (c *Compiled) leaveWindows(t int64, k drawKind, z *zoneCursor, sd *seed, s *stepList) (int64, bool) {
	start, mark := t, s.mark()
	horizon := later(t, lookAheadMS)
	for i := 0; ; i++ {
		w, end := c.openAt(t, z)
		if w == nil {
			s.endWindows(i, t)
			return t, true
		}
		if end > horizon {
			break
		}
		var drawn int64
		if w.spreadMS > 0 {
			drawn = span{0, w.spreadMS}.at(sd.draw(k + drawKind(i)))
		}
		s.addWindow(i, w, z, t, end, drawn)
		t = later(end, drawn)
	}
	// Wide spreads may throw a task from window to window past all that is free
	// between them: an attempt in a pause would be the worse answer.
	s.reset(mark)
	t, ok := c.firstFree(start, z)
	if ok {
		s.add(StepWindowsFirstFree, "", start, t)
	} else {
		s.add(StepWindowsIgnored, "", lookAheadMS)
	}
	return t, ok
}

// PausedUntil is for hand-out: when a pause window is open now, it gives the
// window's end plus a draw from its spread, and so on until outside all
// windows. Windows that leave no moment of the next 366 days free are ignored,
// as in [Decide]. Of st it needs Namespace, TaskID, Generation, TimeZone, and
// Attempt, here the attempt about to be handed out.
func (c *Compiled) PausedUntil(st State, nowMS int64) (untilMS int64, paused bool) {
	if c == nil || len(c.windows) == 0 {
		return 0, false
	}
	now := clampTime(nowMS)
	z := zoneCursor{task: taskZone(st.TimeZone)}
	if w, _ := c.openAt(now, &z); w == nil {
		return 0, false
	}
	until, ok := c.leaveWindows(now, drawHandOut, &z, &seed{st: &st}, nil)
	return until, ok
}

// FreeWithinYear reports whether the pause windows leave a task with this time
// zone some moment free within 366 days from now. No zone, or one that is not
// known, counts as UTC, as it does in [Decide].
func (c *Compiled) FreeWithinYear(timeZone string, nowMS int64) bool {
	if c == nil || len(c.windows) == 0 {
		return true
	}
	_, ok := c.firstFree(clampTime(nowMS), &zoneCursor{task: taskZone(timeZone)})
	return ok
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
