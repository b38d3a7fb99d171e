package ledger

import (
	"maps"
	"slices"
	"time"
)

// FirstAck is how long after from the first report was acknowledged to reporters of
// that name; ok is false when none was.
func (l *Ledger) FirstAck(via string, from time.Time) (after time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.firstAck(via, from)
}

// firstAck looks from the newest back: from is of late. Callers hold mu.
func (l *Ledger) firstAck(via string, from time.Time) (after time.Duration, ok bool) {
	for _, a := range slices.Backward(l.acks) {
		if !a.at.After(from) {
			break
		}
		if a.via == via {
			after, ok = a.at.Sub(from), true
		}
	}
	return after, ok
}

// Gap is the longest time after from in which no report was acknowledged to
// reporters of that name; 0 when there are none.
func (l *Ledger) Gap(via string, from time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var times []time.Time
	for _, a := range l.acks {
		if a.via == via {
			times = append(times, a.at)
		}
	}
	return longest(times, from)
}

// Pause is the longest time after from in which no task of those reporters was
// handed out.
func (l *Ledger) Pause(via string, from time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var times []time.Time
	for _, h := range l.leases {
		if l.tasks[h.Task].via() == via {
			times = append(times, h.At)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return longest(times, from)
}

// Lateness returns how long after they fell due attempts were handed out since from,
// the shortest first: those handed out for the first time, or those that came again.
func (l *Ledger) Lateness(from time.Time, repeats bool) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []time.Duration
	for _, h := range l.leases {
		if h.At.After(from) && (h.Delivery > 1) == repeats {
			out = append(out, h.At.Sub(h.Due))
		}
	}
	slices.Sort(out)
	return out
}

// Repeats are when attempts were handed out again since from, in any order.
func (l *Ledger) Repeats(from time.Time) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []time.Time
	for _, h := range l.leases {
		if h.At.After(from) && h.Delivery > 1 {
			out = append(out, h.At)
		}
	}
	return out
}

// FirstLateness returns how long after they fell due attempts that fell due since from
// first came to any worker, the shortest first: also when what was delivered before
// has come to none.
func (l *Ledger) FirstLateness(from time.Time) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []time.Duration
	for _, acc := range l.tasks {
		first := make(map[int]time.Duration)
		for _, h := range acc.handouts {
			late := h.At.Sub(h.Due)
			if before, ok := first[h.Attempt]; h.Due.After(from) && (!ok || late < before) {
				first[h.Attempt] = late
			}
		}
		out = slices.AppendSeq(out, maps.Values(first))
	}
	slices.Sort(out)
	return out
}

// longest is the longest time after from between two moments, given in order.
func longest(times []time.Time, from time.Time) time.Duration {
	last, most := from, time.Duration(0)
	for _, at := range times {
		if at.After(from) {
			most = max(most, at.Sub(last))
			last = at
		}
	}
	return most.Round(time.Millisecond)
}
