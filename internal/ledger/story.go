package ledger

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// story tells all that is known of a task, in order, and how the store has it.
func (a *account) story(began time.Time, record *scheduler.Task) string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	add := func(at time.Time, format string, args ...any) {
		lines = append(lines, line{at, fmt.Sprintf(format, args...)})
	}
	for _, r := range a.reports {
		if r.err != nil {
			add(r.at, "report via %s: %v", r.via, r.err)
			continue
		}
		add(r.at, "report via %s: %s, due %s, duplicate %t", r.via, r.decision, since(began, r.decision.NextAttemptTime), r.decision.Duplicate)
	}
	for _, h := range a.handouts {
		what := fmt.Sprintf("attempt %d, delivery %d, fence %d/%x", h.Attempt, h.Delivery, h.fence.Number, h.fence.Nonce)
		add(h.At, "%s handed out via %s: due %s, claimed %s until %s, last known end %s", what, h.Via,
			since(began, h.Due), since(began, h.Claimed), since(began, h.Ends), since(began, h.end))
		switch s := h.settled; {
		case s == nil:
		case s.Refused != "":
			add(s.At, "%s refused: %s", what, s.Refused)
		case s.Decision != nil:
			add(s.At, "%s failed: %s, due %s, duplicate %t", what, s.Decision, since(began, s.Decision.NextAttemptTime), s.Duplicate)
		case s.Succeeded:
			add(s.At, "%s succeeded, duplicate %t", what, s.Duplicate)
		default:
			add(s.At, "%s released", what)
		}
	}
	slices.SortStableFunc(lines, func(x, y line) int { return x.at.Compare(y.at) })
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", a.id)
	for _, l := range lines {
		fmt.Fprintf(&b, "\n  %8s %s", since(began, l.at), l.text)
	}
	if record == nil {
		return b.String() + "\n  not in the store"
	}
	fmt.Fprintf(&b, "\n  in the store: %s, attempt %d, delivery %d, %d expiries", record.State, record.Attempt, record.Delivery, record.Expiries)
	for _, r := range record.History {
		fmt.Fprintf(&b, "\n    attempt %d at %s: %d deliveries, fence %d/%x", r.Attempt, since(began, time.UnixMilli(r.TimeMS)),
			r.Deliveries, r.Fence.Number, r.Fence.Nonce)
		if r.Success {
			b.WriteString(", success")
		} else {
			fmt.Fprintf(&b, ", failure, next due %s", since(began, time.UnixMilli(r.Decision.NextMS)))
		}
	}
	return b.String()
}

// since is a moment as a time since the beginning.
func since(began, at time.Time) string { return fmt.Sprintf("%.3fs", at.Sub(began).Seconds()) }
