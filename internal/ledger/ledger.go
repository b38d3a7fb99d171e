package ledger

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/scheduler"
)

// Ledger is what everybody outside was told. Its methods may be called by several
// goroutines at a time.
type Ledger struct {
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
	// killed are the workers that ended without a word: what they held has no end.
	killed map[string]bool
	// trials counts what was tried under lost leases, taken what of it was taken.
	trials, taken int
	// faults are entries that cannot be.
	faults []string
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

// handout is one delivery and what became of it.
type handout struct {
	Handout
	fence scheduler.Fence
	// end is until when the store leased it as far as the worker knows, who may have
	// it extended.
	end        time.Time
	extendedAt time.Time
	settled    *Outcome
}

// ack is one acknowledged report.
type ack struct {
	at  time.Time
	via string
}

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{
		began: time.Now(), tasks: make(map[string]*account), leases: make(map[string]*handout),
		acked: make(map[string]int), refusals: make(map[string]int), killed: make(map[string]bool),
	}
}

// account returns a task's account. Callers hold mu.
func (l *Ledger) account(id string) *account {
	a := l.tasks[id]
	if a == nil {
		a = &account{id: id}
		l.tasks[id] = a
	}
	return a
}

// written wakes those who wait for an entry. Callers hold mu.
func (l *Ledger) written() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// Reported enters the answer to a report of a task's first failure.
func (l *Ledger) Reported(id, via string, d *client.Decision, err error) {
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

// HandedOut implements [Sink].
func (l *Ledger) HandedOut(h Handout) {
	token, err := scheduler.ParseLeaseToken(h.Token)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.faults = append(l.faults, fmt.Sprintf("%s was handed out under what is no token: %v", h.Task, err))
		return
	case l.leases[h.Token] != nil:
		l.faults = append(l.faults, h.Task+" was handed out twice under one lease")
		return
	}
	one := &handout{Handout: h, fence: token.Fence, end: h.Ends}
	l.leases[h.Token] = one
	account := l.account(h.Task)
	account.handouts = append(account.handouts, one)
	l.written()
}

// Extended implements [Sink].
func (l *Ledger) Extended(e Extension) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.leases[e.Token]; h != nil && e.Ends.After(h.end) {
		h.end, h.extendedAt = e.Ends, e.At
	}
}

// Settled implements [Sink].
func (l *Ledger) Settled(o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.leases[o.Token]
	if h == nil {
		l.faults = append(l.faults, "what was never handed out was settled")
		return
	}
	h.settled = &o
	if o.took() {
		l.outcomes++
	}
	l.written()
}

// Tried implements [Sink].
func (l *Ledger) Tried(t Trial) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trials++
	switch h := l.leases[t.Token]; {
	case h == nil:
		l.faults = append(l.faults, "something was tried under a lease that nobody was given")
	case t.Taken:
		l.taken++
		l.faults = append(l.faults, fmt.Sprintf("I5: %s: a %s was taken under a lease that was lost", h.Task, t.What))
	case t.Answer != "LEASE_LOST":
		l.faults = append(l.faults, fmt.Sprintf("I5: %s: a %s under a lease that was lost was answered with %s", h.Task, t.What, t.Answer))
	}
	l.written()
}

// AwaitTrials waits until so many things in all were tried under lost leases.
func (l *Ledger) AwaitTrials(ctx context.Context, n int) error {
	return l.Await(ctx, fmt.Sprintf("%d things tried under lost leases", n), func() bool { return l.trials >= n })
}

// Trials is how many things were tried under lost leases.
func (l *Ledger) Trials() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trials
}

// Killed notes that a worker ended without a word.
func (l *Ledger) Killed(via string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.killed[via] = true
}

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

// Acked is how many reports were acknowledged to reporters of that name.
func (l *Ledger) Acked(via string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked[via]
}

// AckedSince is how many of those were acknowledged after a moment.
func (l *Ledger) AckedSince(via string, from time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, a := range l.acks {
		if a.via == via && a.at.After(from) {
			n++
		}
	}
	return n
}

// Outcomes is how many outcomes were acknowledged to workers.
func (l *Ledger) Outcomes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outcomes
}

// Refusals counts what reporters were told instead of a decision, by its reason.
func (l *Ledger) Refusals() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.refusals)
}

// HasToken says whether a lease token was given to any worker.
func (l *Ledger) HasToken(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leases[token] != nil
}

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
func (h *handout) took() bool { return h.settled != nil && h.settled.took() }
