package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/retryd/retryd/internal/ledger"
)

// lateness adds how late attempts were handed out since from: those that came for the
// first time, and those that came again since whoever held them was gone.
func (w *World) lateness(f *Figures, from time.Time) {
	w.firstLateness(f, from)
	if repeats := w.Ledger.Lateness(from, true); len(repeats) > 0 {
		f.Add("redelivered", len(repeats))
		f.Add("after they fell due p99", percentile(repeats, 99))
	}
}

// firstLateness is lateness of what came for the first time alone.
func (w *World) firstLateness(f *Figures, from time.Time) {
	if first := w.Ledger.Lateness(from, false); len(first) > 0 {
		f.Add("late p99", percentile(first, 99))
	}
}

// sinceLast is for each moment how long it is after the last of some others, which are
// in order, the shortest first. What was before them all is left out.
func sinceLast(moments, others []time.Time) []time.Duration {
	var out []time.Duration
	for _, at := range moments {
		if i, _ := slices.BinarySearchFunc(others, at, time.Time.Compare); i > 0 {
			out = append(out, at.Sub(others[i-1]))
		}
	}
	slices.Sort(out)
	return out
}

// executions tells how often the store has done what it was asked for once: 1 when
// nothing was done again because its answer had not come.
func executions(a *ledger.Figures) Figures {
	var f Figures
	f.Add("executions per operation", fmt.Sprintf("%.3f", float64(a.Executions)/float64(max(1, a.Operations))))
	return f
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
