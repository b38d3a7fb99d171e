package client

import (
	"slices"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// line carries what is said about jobs to the server: a stream, or calls while a
// stopping worker has none. All but its channels is guarded by the mutex of the
// shift.
type line struct {
	wake    chan struct{} // there may be something to send
	leaving chan struct{} // closed when the server asks to leave
	ended   chan struct{} // closed when it is over, with err

	calls           bool // it is not a stream
	alive, draining bool
	heard           bool // anything but Drain
	beganAt         time.Time
	err             error

	jobs    map[string]*job // those that it carries
	outbox  []*job
	renewAt time.Time // the earliest of jobs; zero without

	dealt     int // jobs that came by it and are still held
	credit    int // as last told to the server
	lastToken string
	fence     string
	fenceBy   time.Time
	fenceMet  bool
}

func newLine() *line {
	return &line{
		wake:    make(chan struct{}, 1),
		leaving: make(chan struct{}),
		ended:   make(chan struct{}),
		jobs:    make(map[string]*job),
	}
}

// look wakes the line's sender, now or when it next waits.
func (l *line) look() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// post puts a concluded job into the outbox.
func (l *line) post(j *job) {
	if !j.queued {
		j.queued = true
		l.outbox = append(l.outbox, j)
	}
	l.look()
}

func (l *line) renewBy(t time.Time) {
	if l.renewAt.IsZero() || t.Before(l.renewAt) {
		l.renewAt = t
	}
}

// load is what a line has to send at one time.
type load struct {
	flow     int // the new credit; -1: as it was
	outcomes []*retryv1.Outcome
	extend   []string
	// done means that the line has nothing more to do.
	done bool
	// next is when to look again unless woken before; zero: never.
	next time.Time
}

func (ld *load) lookAt(t time.Time) {
	if ld.next.IsZero() || t.Before(ld.next) {
		ld.next = t
	}
}

const (
	// renewals is how often a lease is renewed in its own time.
	renewals = 3
	// renewSlack is the part of a lease by which renewals are made early, to go
	// in one message with others.
	renewSlack = 12
	// fenceTimeout bounds the wait of a leaving worker for its last attempts.
	fenceTimeout = time.Second
	// noToken is a fence where no attempt ever came.
	noToken = "-"
)

// take gives a line's sender what there is to send, and counts it as sent.
func (s *shift) take(l *line) load {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	ld := load{flow: -1}
	if want := s.wantCredit(l); !l.draining && want != l.credit {
		l.credit, ld.flow = want, want
	}

	l.outbox = slices.DeleteFunc(l.outbox, func(j *job) bool {
		if now.Before(j.notBefore) {
			ld.lookAt(j.notBefore)
			return false
		}
		j.queued = false
		ld.outcomes = append(ld.outcomes, j.outcome)
		return true
	})

	if !l.renewAt.IsZero() && !now.Before(l.renewAt) {
		ld.extend = s.renew(l, now)
	}
	if !l.renewAt.IsZero() {
		ld.lookAt(l.renewAt)
	}

	switch {
	case len(l.jobs) > 0:
	case l.draining:
		ld.done = true
	case s.closing && !l.calls:
		s.fence(l, &ld, now)
	}
	return ld
}

// wantCredit is how many attempts may be out by this line, in view of those that
// came by others and are still held. Callers hold mu.
func (s *shift) wantCredit(l *line) int {
	if s.closing {
		return 0
	}
	return max(0, s.w.cfg.maxInFlight-(len(s.jobs)-l.dealt))
}

// renew collects the leases to be renewed now, or nearly, and sets when to do so
// next. Callers hold mu.
func (s *shift) renew(l *line, now time.Time) (tokens []string) {
	l.renewAt = time.Time{}
	horizon := now.Add(s.w.cfg.lease / renewSlack)
	for token, j := range l.jobs {
		if j.outcome != nil || j.lost {
			continue
		}
		if !j.renewAt.After(horizon) {
			tokens = append(tokens, token)
			j.renewAt = now.Add(s.w.cfg.lease / renewals)
		}
		l.renewBy(j.renewAt)
	}
	return tokens
}

// fence makes sure that no attempt is on its way when the line is cut: it would
// stay leased, with nobody to make it. Credit 0 is not answered, but an
// extension is, and it is sent after: of a token that is settled, so that
// nothing is extended. Callers hold mu.
func (s *shift) fence(l *line, ld *load, now time.Time) {
	switch {
	case l.fence == "":
		l.fence = l.lastToken
		if l.fence == "" {
			l.fence = noToken
		}
		l.fenceBy = now.Add(fenceTimeout)
		ld.extend = append(ld.extend, l.fence)
		ld.lookAt(l.fenceBy)
	case l.fenceMet || !now.Before(l.fenceBy):
		ld.done = true
	default:
		ld.lookAt(l.fenceBy)
	}
}

// extended takes the answers to renewals.
func (s *shift) extended(l *line, results []*retryv1.LeaseResult) {
	now := time.Now()
	var gone []Settled
	s.mu.Lock()
	for _, r := range results {
		if r.GetLeaseToken() == l.fence && l.fence != "" {
			l.fenceMet = true
			l.look()
		}
		j := s.jobs[r.GetLeaseToken()]
		if j == nil || j.outcome != nil || r.GetError() == nil {
			continue
		}
		if e := itemError(r.GetError()); !e.Is(ErrLeaseLost) {
			j.renewAt = now.Add(min(max(e.RetryDelay, backoffBase), s.w.cfg.lease/renewals))
			j.home.renewBy(j.renewAt)
			j.home.look()
			continue
		}
		j.lost = true
		if j.cancel != nil {
			j.cancel(ErrLeaseLost)
			continue
		}
		s.waiting = slices.DeleteFunc(s.waiting, func(w *job) bool { return w == j })
		gone = append(gone, s.forget(j, Settled{Refused: ErrLeaseLost}))
	}
	s.mu.Unlock()
	s.tell(gone...)
}

// lineBegan makes l the current line, unless the worker is stopping.
func (s *shift) lineBegan(l *line) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.makeCurrent(l)
	return true
}

func (s *shift) isAlive(l *line) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.alive
}

// makeCurrent lets l carry the jobs that no line carries. Callers hold mu.
func (s *shift) makeCurrent(l *line) {
	l.alive, l.beganAt = true, time.Now()
	s.current = l
	s.move(s.limbo, l)
}

// lineEnded hands the jobs of a line on to another.
func (s *shift) lineEnded(l *line, err error) {
	s.mu.Lock()
	l.alive, l.err = false, err
	if s.current == l {
		s.current = nil
	}
	s.move(l, s.heir())
	s.mu.Unlock()
	close(l.ended)
}

// heir is who carries the jobs of lines that are no more. Callers hold mu.
func (s *shift) heir() *line {
	if s.current != nil {
		return s.current
	}
	return s.limbo
}

// move hands jobs on. Whatever was sent and not confirmed is sent again, since
// the token makes a repeat harmless, and leases are renewed at once, since
// renewals may have been lost. Callers hold mu.
func (s *shift) move(from, to *line) {
	now := time.Now()
	for token, j := range from.jobs {
		j.home = to
		to.jobs[token] = j
		if j.outcome != nil {
			j.queued = false
			to.post(j)
		} else {
			j.renewAt = now
			to.renewBy(now)
		}
	}
	clear(from.jobs)
	from.outbox, from.renewAt = nil, time.Time{}
	to.look()
}
