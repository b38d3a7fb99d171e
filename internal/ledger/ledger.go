package ledger

import (
	"cmp"
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
		// A worker does not begin an attempt whose lease has ended on the way, and gives
		// it back.
		if o.took() {
			l.faults = append(l.faults, "what was never handed out was settled")
		}
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
