package scheduler

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// AuditConfig says how the auditor goes about. The zero value is the default.
type AuditConfig struct {
	// Off switches it off.
	Off bool
	// Interval is how long after its last walk's beginning the next one begins, at
	// least 1 s; a walk that takes longer is followed at once. Default 30 s.
	Interval time.Duration
	// Rate is how many tasks, places and counts it looks at a second, from 1 to
	// 1,000,000. Default 16,000: a walk over 100,000 tasks is done within a minute.
	Rate int
}

// The defaults of a zero AuditConfig, and its bounds.
const (
	DefaultAuditInterval = 30 * time.Second
	DefaultAuditRate     = 16_000
	MinAuditInterval     = time.Second
	MaxAuditRate         = 1_000_000
)

func (c AuditConfig) orDefault() (AuditConfig, error) {
	if c.Interval == 0 {
		c.Interval = DefaultAuditInterval
	}
	if c.Rate == 0 {
		c.Rate = DefaultAuditRate
	}
	if c.Interval < MinAuditInterval {
		return c, fmt.Errorf("audit interval is %s: it must be at least %s", c.Interval, MinAuditInterval)
	}
	if c.Rate < 1 || c.Rate > MaxAuditRate {
		return c, fmt.Errorf("audit rate is %d: it must be 1 to %d", c.Rate, MaxAuditRate)
	}
	return c, nil
}

// AuditCounts is what this replica's auditor has done since it was started.
type AuditCounts struct {
	// Walks are those that came to their end, LastWalk how long the last one took.
	Walks    int64
	LastWalk time.Duration
	// Looked counts tasks, places and counts looked at.
	Looked int64
	// Found counts findings by kind, Left those that were not mended.
	Found [NumFindings]int64
	Left  int64
}

// AuditCounts returns what this replica's auditor has done. Among replicas, one
// at a time has the turn.
func (s *Scheduler) AuditCounts() AuditCounts {
	s.audited.mu.Lock()
	defer s.audited.mu.Unlock()
	return s.audited.counts
}

// auditLog is what is counted for AuditCounts.
type auditLog struct {
	mu     sync.Mutex
	counts AuditCounts
}

// auditor walks over all that the store keeps, slowly, and has it mended where it
// does not follow from the tasks. All replicas have one; the one that has the turn
// walks.
type auditor struct {
	s   *Scheduler
	cfg AuditConfig
	// holds is until when the turn is surely ours, zero while it is not.
	holds time.Time
	// walk is the one under way, nil between two; it began at began.
	walk  AuditWalk
	began time.Time
	// logged is how many findings of this walk have a line in the log, found how many
	// there are.
	logged, found int
	failing       bool
}

const (
	// auditHold is for how long a replica has the turn, and so how long the others
	// wait when it is gone; auditTry is how often they ask, and it prolongs it.
	auditHold = 15 * time.Second
	auditTry  = 5 * time.Second
	// maxAuditLines bounds what one walk says: a store that was restored from half of
	// its files must not fill a disk.
	maxAuditLines = 20
)

func newAuditor(s *Scheduler) *auditor { return &auditor{s: s, cfg: s.cfg.Audit} }

// run audits until ctx ends.
func (a *auditor) run(ctx context.Context) error {
	if a.cfg.Off {
		return nil
	}
	defer a.giveBack(ctx)
	for {
		wait, err := a.runOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !a.failing {
			a.s.log.WarnContext(ctx, "the audit is cut short and begins anew", "error", err)
		}
		a.failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// runOnce makes one pass, if it is this replica's turn and time for a walk, and
// returns how long to wait for the next.
func (a *auditor) runOnce(ctx context.Context) (time.Duration, error) {
	if time.Until(a.holds) < auditHold-auditTry {
		asked := time.Now()
		mine, err := a.s.store.AuditTurn(ctx, a.s.replica, auditHold)
		if err != nil || !mine {
			a.holds = time.Time{}
			a.drop()
			return auditTry, err
		}
		a.holds = asked.Add(auditHold)
	}
	begin := time.Now()
	if a.walk == nil {
		if wait := a.began.Add(a.cfg.Interval).Sub(begin); wait > 0 {
			return min(wait, auditTry), nil
		}
		a.walk, a.began = a.s.store.Audit(), begin
		a.logged, a.found = 0, 0
	}
	pass, err := a.walk.Pass(ctx)
	took := time.Since(begin)
	if err != nil {
		a.drop()
		return auditTry, err
	}
	a.note(ctx, pass)
	// Never more than three quarters of the time, however slow the store is.
	return max(time.Duration(pass.Looked)*time.Second/time.Duration(a.cfg.Rate)-took, took/3), nil
}

// drop gives up a walk; the next one begins as soon as it can.
func (a *auditor) drop() { a.walk, a.began = nil, time.Time{} }

// note counts and logs what a pass has found.
func (a *auditor) note(ctx context.Context, pass AuditPass) {
	a.s.audited.add(pass, time.Since(a.began))
	for _, f := range pass.Findings {
		a.found++
		if a.logged == maxAuditLines {
			continue
		}
		a.logged++
		outcome := "mended"
		if f.Left {
			outcome = "left as it is"
		}
		a.s.log.WarnContext(ctx, "the audit found what does not follow from the tasks", "kind", f.Kind.String(),
			"namespace", f.Namespace, "name", f.Name, "shard", f.Shard, "detail", f.Detail, "outcome", outcome)
	}
	if !pass.Done {
		return
	}
	a.walk = nil
	if more := a.found - a.logged; more > 0 {
		a.s.log.WarnContext(ctx, "the audit found more than it has told of", "more", more)
	}
}

func (l *auditLog) add(pass AuditPass, since time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Looked += int64(pass.Looked)
	for _, f := range pass.Findings {
		l.counts.Found[f.Kind]++
		if f.Left {
			l.counts.Left++
		}
	}
	if pass.Done {
		l.counts.Walks++
		l.counts.LastWalk = since
	}
}

// giveBack lets another replica have the turn at once.
func (a *auditor) giveBack(ctx context.Context) {
	if a.holds.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	// Where it fails, the turn ends by itself.
	_, _ = a.s.store.AuditTurn(ctx, a.s.replica, 0)
}
