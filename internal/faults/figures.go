package main

import (
	"slices"
	"time"
)

// lateness adds how late attempts were handed out since from: those that came for the
// first time, and those that came again since whoever held them was gone.
func (w *World) lateness(f *Figures, from time.Time) {
	if first := w.Ledger.Lateness(from, false); len(first) > 0 {
		f.Add("late p99", percentile(first, 99))
	}
	if repeats := w.Ledger.Lateness(from, true); len(repeats) > 0 {
		f.Add("redelivered", len(repeats))
		f.Add("after p99", percentile(repeats, 99))
	}
}

// percentile is that of times in order.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[(len(sorted)-1)*p/100].Round(time.Millisecond)
}

// worst puts times in order, and returns the longest.
func worst(times []time.Duration) time.Duration {
	slices.Sort(times)
	if len(times) == 0 {
		return 0
	}
	return times[len(times)-1].Round(time.Millisecond)
}
