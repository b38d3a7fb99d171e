package ledger

import (
	"context"
	"slices"
	"time"
)

// Redelivery is one attempt that came again while the worker that held it did not
// settle it.
type Redelivery struct {
	Task string
	// Ended is when the lease of the first ended, as far as its worker knew, and At
	// when another had the attempt.
	Ended, At time.Time
}

// Redeliveries tells of each attempt that a worker holds, and has not settled, when it
// came again, the first first. missing are those that have not yet.
func (l *Ledger) Redeliveries(via string) (came []Redelivery, missing []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	came, missing = l.redeliveries(via)
	slices.Sort(missing)
	slices.SortFunc(came, func(x, y Redelivery) int { return x.At.Compare(y.At) })
	return came, missing
}

// AwaitRedelivered waits until all that a worker holds has come again elsewhere.
func (l *Ledger) AwaitRedelivered(ctx context.Context, via string) error {
	return l.Await(ctx, "redelivery of all that "+via+" holds", func() bool {
		_, missing := l.redeliveries(via)
		return len(missing) == 0
	})
}

// redeliveries is Redeliveries for those who hold mu.
func (l *Ledger) redeliveries(via string) (came []Redelivery, missing []string) {
	for _, h := range l.leases {
		if h.Via != via || h.settled != nil {
			continue
		}
		others := l.tasks[h.Task].handouts
		next := slices.IndexFunc(others, func(o *handout) bool { return o.Attempt == h.Attempt && o.Delivery > h.Delivery })
		if next < 0 {
			missing = append(missing, h.Task)
			continue
		}
		came = append(came, Redelivery{Task: h.Task, Ended: h.end, At: others[next].At})
	}
	return came, missing
}

// InOtherHands counts the tasks that a worker holds, as far as it knows, and that
// another holds by now.
func (l *Ledger) InOtherHands(via string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, h := range l.leases {
		if h.Via == via && h.settled == nil && slices.ContainsFunc(l.tasks[h.Task].handouts, func(o *handout) bool {
			return o.Via != via && o.settled == nil && o.Delivery > h.Delivery
		}) {
			n++
		}
	}
	return n
}
