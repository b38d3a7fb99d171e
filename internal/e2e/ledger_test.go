package e2e_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/scheduler"
)

// ledger is what everybody outside was told: reporters of their reports, workers
// of attempts, extensions and outcomes. What the store holds in the end is held
// against it.
type ledger struct {
	began time.Time

	mu     sync.Mutex
	tasks  map[string]*account
	leases map[string]*handout // by token
	acks   []ack
	// acked counts acks by who got them, outcomes those that workers got.
	acked    map[string]int
	outcomes int
	// refusals counts what reporters were told instead of a decision.
	refusals map[string]int
	// changed is closed with the next entry; nil when nobody waits for it.
	changed chan struct{}
}

// account is all that is known of one task.
type account struct {
	id       string
	reports  []reported
	handouts []*handout
}

// reported is the answer to one report of a first failure.
type reported struct {
	at       time.Time
	via      string
	decision *client.Decision
	err      error
}

// handout is one delivery of an attempt, from the worker that got it.
type handout struct {
	via     string
	attempt *client.Attempt
	fence   scheduler.Fence
	start   time.Time
	// claimed is when the store leased it, firstEnd until when it did at that
	// time, and end until when as far as the worker knows, who may have it extended.
	claimed, firstEnd, end time.Time
	extendedAt             time.Time
	settled                *client.Settled
	settledAt              time.Time
}

// ack is one acknowledged report.
type ack struct {
	at  time.Time
	via string
}

func newLedger() *ledger {
	return &ledger{
		began: time.Now(), tasks: make(map[string]*account), leases: make(map[string]*handout),
		acked: make(map[string]int), refusals: make(map[string]int),
	}
}

// account returns a task's account. Callers hold mu.
func (l *ledger) account(id string) *account {
	a := l.tasks[id]
	if a == nil {
		a = &account{id: id}
		l.tasks[id] = a
	}
	return a
}

// written wakes those who wait for an entry. Callers hold mu.
func (l *ledger) written() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// reported enters the answer to a report.
func (l *ledger) reported(id, via string, d *client.Decision, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	a := l.account(id)
	a.reports = append(a.reports, reported{now, via, d, err})
	if err == nil {
		l.acks = append(l.acks, ack{now, via})
		l.acked[via]++
	} else {
		l.refusals[cmp.Or(client.ReasonOf(err), "no answer")]++
	}
	l.written()
}

// handedOut enters an attempt that a worker has got under a lease of that length.
func (l *ledger) handedOut(t testing.TB, via string, a *client.Attempt, lease time.Duration) {
	token, err := scheduler.ParseLeaseToken(a.LeaseToken)
	if err != nil {
		t.Errorf("%s: %v", a.TaskID, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leases[a.LeaseToken] != nil {
		t.Errorf("%s was handed out twice under one lease", a.TaskID)
		return
	}
	h := &handout{
		via: via, attempt: a, fence: token.Fence, start: time.Now(),
		claimed: a.LeaseExpireTime.Add(-lease), firstEnd: a.LeaseExpireTime, end: a.LeaseExpireTime,
	}
	l.leases[a.LeaseToken] = h
	account := l.account(a.TaskID)
	account.handouts = append(account.handouts, h)
	l.written()
}

// extended enters the new end of a lease.
func (l *ledger) extended(token string, end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.leases[token]; h != nil && end.After(h.end) {
		h.end, h.extendedAt = end, time.Now()
	}
}

// settled enters what became of an outcome.
func (l *ledger) settled(t testing.TB, s client.Settled) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.leases[s.Attempt.LeaseToken]
	if h == nil {
		t.Errorf("%s was settled, but never handed out", s.Attempt.TaskID)
		return
	}
	h.settled, h.settledAt = &s, time.Now()
	if h.took() {
		l.outcomes++
	}
	l.written()
}

// await waits until ok holds of the ledger, for at most a minute.
func (l *ledger) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	patience := time.After(time.Minute)
	for {
		l.mu.Lock()
		done := ok()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-patience:
			t.Fatalf("no %s within a minute", what)
		}
	}
}

// awaitAcks waits for n more reports acknowledged to reporters of that name.
func (l *ledger) awaitAcks(t testing.TB, via string, n int) {
	t.Helper()
	l.mu.Lock()
	want := l.acked[via] + n
	l.mu.Unlock()
	l.await(t, fmt.Sprintf("%d acknowledged reports via %s", n, via), func() bool { return l.acked[via] >= want })
}

// awaitOutcomes waits for n more outcomes to be acknowledged.
func (l *ledger) awaitOutcomes(t testing.TB, n int) {
	t.Helper()
	l.mu.Lock()
	want := l.outcomes + n
	l.mu.Unlock()
	l.await(t, fmt.Sprintf("%d acknowledged outcomes", n), func() bool { return l.outcomes >= want })
}

// gap is the longest time after from in which no report was acknowledged to
// reporters of that name; 0 when there are none.
func (l *ledger) gap(via string, from time.Time) time.Duration {
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

// pause is the longest time after from in which no task of those reporters was
// handed out.
func (l *ledger) pause(via string, from time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var times []time.Time
	for _, h := range l.leases {
		if l.tasks[h.attempt.TaskID].via() == via {
			times = append(times, h.start)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return longest(times, from)
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

// via is the name of the task's first reporter.
func (a *account) via() string {
	if len(a.reports) == 0 {
		return ""
	}
	return a.reports[0].via
}

// acknowledged says whether any report of the task was.
func (a *account) acknowledged() bool {
	return slices.ContainsFunc(a.reports, func(r reported) bool { return r.err == nil })
}

// took says whether the worker was told that its outcome has been taken.
func (h *handout) took() bool {
	return h.settled != nil && h.settled.Refused == nil && !h.settled.Released
}

// log tells all that is known of the task, and how the store has it.
func (a *account) log(began time.Time, record *scheduler.Task) string {
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
		what := fmt.Sprintf("attempt %d, delivery %d, fence %d/%x", h.attempt.Number, h.attempt.Delivery, h.fence.Number, h.fence.Nonce)
		add(h.start, "%s handed out via %s: due %s, claimed %s until %s, last known end %s", what, h.via,
			since(began, h.attempt.DueTime), since(began, h.claimed), since(began, h.firstEnd), since(began, h.end))
		switch s := h.settled; {
		case s == nil:
		case s.Refused != nil:
			add(h.settledAt, "%s refused: %v", what, s.Refused)
		case s.Decision != nil:
			add(h.settledAt, "%s failed: %s, due %s, duplicate %t", what, s.Decision, since(began, s.Decision.NextAttemptTime), s.Decision.Duplicate)
		case s.Completion != nil:
			add(h.settledAt, "%s succeeded, duplicate %t", what, s.Completion.Duplicate)
		default:
			add(h.settledAt, "%s released", what)
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
