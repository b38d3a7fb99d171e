package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config is what a Scheduler needs to know. The zero value is the default.
type Config struct {
	// Log takes what operators should know; the default is [slog.Default].
	Log *slog.Logger
	// FirstSuccessRetention is how long a task is remembered that succeeded at
	// its first attempt. Default 10 min.
	FirstSuccessRetention time.Duration
	// Health holds the thresholds of a queue's health that are not to be those of
	// [DefaultThresholds], by the names used there.
	Health Thresholds
	// Now is this machine's clock, which need not be right: what is due is for the
	// store's to say. Default [time.Now].
	Now func() time.Time
	// Audit says how the auditor goes about.
	Audit AuditConfig
	// Observer is told what becomes of tasks; nil where nobody is to know.
	Observer Observer
}

// DefaultFirstSuccessRetention is that of a zero Config.
const DefaultFirstSuccessRetention = 10 * time.Minute

// Scheduler is the life of tasks: it judges reports, keeps what is due, and
// hands it out. Any number of schedulers may work over one store.
type Scheduler struct {
	cfg     Config
	log     *slog.Logger
	store   Store
	shards  int
	replica string

	clock    clock
	compiled rulings
	noPolicy *ruling
	leases   leaseCache
	watchers watchers[TaskKey]
	// pauses tells of namespaces in which a queue is paused or resumed.
	pauses     watchers[string]
	dispatcher *dispatcher
	audited    auditLog
	quotas     *quotaKeeper

	// looker looks for observers.
	looker *looker

	draining  chan struct{}
	drainOnce sync.Once
}

// New returns a scheduler over a store. It does nothing by itself until Run.
func New(store Store, cfg Config) (*Scheduler, error) {
	if cfg.FirstSuccessRetention < 0 {
		return nil, fmt.Errorf("first-success retention is %s: it cannot be negative", cfg.FirstSuccessRetention)
	}
	if cfg.FirstSuccessRetention == 0 {
		cfg.FirstSuccessRetention = DefaultFirstSuccessRetention
	}
	health, err := cfg.Health.orDefault()
	if err != nil {
		return nil, err
	}
	cfg.Health = health
	if cfg.Audit, err = cfg.Audit.orDefault(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Scheduler{
		cfg:      cfg,
		log:      cfg.Log,
		store:    store,
		shards:   store.Shards(),
		replica:  fmt.Sprintf("%016x", rand.Uint64()),
		clock:    clock{local: cfg.Now},
		noPolicy: newNoPolicy(),
		draining: make(chan struct{}),
		looker:   newLooker(store),
	}
	s.dispatcher = newDispatcher(s)
	s.quotas = newQuotaKeeper(s)
	return s, nil
}

// Run hands out what falls due, and carries out what falls due where nobody
// asks, until ctx ends. Reports are taken without it.
func (s *Scheduler) Run(ctx context.Context) error {
	if nowMS, err := s.store.Now(ctx); err == nil {
		s.clock.heard(nowMS)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.dispatcher.run(ctx) })
	g.Go(func() error { return newSweeper(s).run(ctx) })
	g.Go(func() error { return newAuditor(s).run(ctx) })
	g.Go(func() error { return s.quotas.run(ctx) })
	g.Go(func() error { return s.store.Hints(ctx, s.dispatcher.hinted, s.dispatcher.missed) })
	return g.Wait()
}

// Drain ends the handing out, for good: nothing more is claimed, and waiting
// callers are answered. Reports, extensions and releases are still taken.
func (s *Scheduler) Drain() {
	s.drainOnce.Do(func() {
		s.dispatcher.stop()
		close(s.draining)
	})
}

// Draining is closed by Drain.
func (s *Scheduler) Draining() <-chan struct{} { return s.draining }

// NowMS is the store's clock as this scheduler knows it, in Unix milliseconds.
func (s *Scheduler) NowMS() int64 { return s.clock.nowMS() }

// moved tells all who care of a task's change that this replica has written.
func (s *Scheduler) moved(before, after *Task) {
	key := after.keyOr(before)
	s.leases.update(key, after)
	s.quotas.moved(before, after)
	s.dispatcher.moved(before, after)
	s.watchers.changed(key)
	if s.cfg.Observer != nil {
		s.observeMove(before, after)
	}
}

func (t *Task) keyOr(other *Task) TaskKey {
	if t == nil {
		return other.Key
	}
	return t.Key
}

func (s *Scheduler) newOp() OpID { return OpID(rand.Uint64() | 1) }
