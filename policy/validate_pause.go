package policy

import (
	"fmt"
	"time"
)

func (c *checker) windows(windows []PauseWindow, nowMS int64) {
	c.count("pause_windows", len(windows), 0, maxWindows)
	before := len(c.list)
	for i := range windows {
		c.window(fmt.Sprintf("pause_windows[%d].", i), &windows[i])
	}
	// Whether anything is free can be told only of windows that can be read.
	if len(c.list) > before || len(windows) > maxWindows {
		return
	}
	compiled := Compile(Policy{PauseWindows: windows})
	if !compiled.FreeWithinYear("", nowMS) {
		c.add("pause_windows", "leave no moment free from %s on; allowed: some free moment within 366 days",
			time.UnixMilli(clampTime(nowMS)).UTC().Format(time.RFC3339))
	}
}

func (c *checker) window(at string, w *PauseWindow) {
	c.duration(at+"spread", w.Spread, 0)
	weekly := w.Start != "" || w.End != ""
	once := !w.StartTime.IsZero() || !w.EndTime.IsZero()
	switch {
	case weekly && once:
		c.add(at+"start_time", "stands beside start and end; allowed: either start and end, or start_time and end_time")
	case once:
		c.onceWindow(at, w)
	default:
		c.weeklyWindow(at, w)
	}
}

func (c *checker) weeklyWindow(at string, w *PauseWindow) {
	for i, day := range w.Days {
		if day < time.Sunday || day > time.Saturday {
			c.add(fmt.Sprintf("%sdays[%d]", at, i), "is %d; allowed: 0, Sunday, to 6, Saturday", int(day))
		}
	}
	if _, ok := parseClock(w.Start, false); !ok {
		c.add(at+"start", `is %s; allowed: "00:00" to "23:59"`, Quote(w.Start))
	}
	if _, ok := parseClock(w.End, true); !ok {
		c.add(at+"end", `is %s; allowed: "00:00" to "24:00"`, Quote(w.End))
	}
	if w.TimeZone != "" && !ValidTimeZone(w.TimeZone) {
		c.add(at+"time_zone", "is %s; allowed: the name of an IANA time zone, such as Europe/Berlin, or none for the task's", Quote(w.TimeZone))
	}
}

func (c *checker) onceWindow(at string, w *PauseWindow) {
	if len(w.Days) > 0 {
		c.add(at+"days", "has %d entries beside start_time and end_time; allowed: only with start and end", len(w.Days))
	}
	if w.TimeZone != "" {
		c.add(at+"time_zone", "is %s beside start_time and end_time; allowed: only with start and end", Quote(w.TimeZone))
	}
	if w.StartTime.IsZero() {
		c.add(at+"start_time", "is missing; with end_time it is needed")
		return
	}
	if w.EndTime.IsZero() {
		c.add(at+"end_time", "is missing; with start_time it is needed")
		return
	}
	inRange := c.time(at+"start_time", w.StartTime)
	if c.time(at+"end_time", w.EndTime) && inRange && unixMS(w.EndTime) <= unixMS(w.StartTime) {
		c.add(at+"end_time", "is %s; allowed: later than start_time, %s",
			w.EndTime.UTC().Format(time.RFC3339Nano), w.StartTime.UTC().Format(time.RFC3339Nano))
	}
}
