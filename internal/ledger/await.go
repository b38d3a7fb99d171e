package ledger

import (
	"context"
	"fmt"
	"time"
)

// Await waits until ok holds of the ledger, for at most a minute. what is for the
// error.
func (l *Ledger) Await(ctx context.Context, what string, ok func() bool) error {
	patience := time.NewTimer(time.Minute)
	defer patience.Stop()
	for {
		l.mu.Lock()
		done := ok()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-patience.C:
			return fmt.Errorf("no %s within a minute", what)
		case <-ctx.Done():
			return fmt.Errorf("no %s: %w", what, context.Cause(ctx))
		}
	}
}

// AwaitTrials waits until so many things in all were tried under lost leases.
func (l *Ledger) AwaitTrials(ctx context.Context, n int) error {
	return l.Await(ctx, fmt.Sprintf("%d things tried under lost leases", n), func() bool { return l.trials >= n })
}

// AwaitAcks waits for n more reports acknowledged to reporters of that name.
func (l *Ledger) AwaitAcks(ctx context.Context, via string, n int) error {
	want := l.Acked(via) + n
	return l.Await(ctx, fmt.Sprintf("%d acknowledged reports via %s", n, via), func() bool { return l.acked[via] >= want })
}

// AwaitAckSince waits until a report has been acknowledged to reporters of that name
// after a moment.
func (l *Ledger) AwaitAckSince(ctx context.Context, via string, from time.Time) error {
	return l.Await(ctx, "acknowledged report via "+via, func() bool {
		_, ok := l.firstAck(via, from)
		return ok
	})
}

// AwaitRefusals waits for n more reports to be refused for a reason.
func (l *Ledger) AwaitRefusals(ctx context.Context, reason string, n int) error {
	want := l.Refusals()[reason] + n
	return l.Await(ctx, fmt.Sprintf("%d refusals with %s", n, reason), func() bool { return l.refusals[reason] >= want })
}

// AwaitOutcomes waits for n more outcomes to be acknowledged.
func (l *Ledger) AwaitOutcomes(ctx context.Context, n int) error {
	want := l.Outcomes() + n
	return l.Await(ctx, fmt.Sprintf("%d acknowledged outcomes", n), func() bool { return l.outcomes >= want })
}

// AwaitHeld waits until a worker holds n attempts.
func (l *Ledger) AwaitHeld(ctx context.Context, via string, n int) error {
	most := 0
	err := l.Await(ctx, fmt.Sprintf("%d attempts held by %s", n, via), func() bool {
		most = max(most, l.held(via))
		return most >= n
	})
	if err != nil {
		return fmt.Errorf("%w: at most %d", err, most)
	}
	return nil
}

// held counts the attempts that a worker holds. Callers hold mu.
func (l *Ledger) held(via string) int {
	n := 0
	for _, h := range l.leases {
		if h.Via == via && h.settled == nil {
			n++
		}
	}
	return n
}
