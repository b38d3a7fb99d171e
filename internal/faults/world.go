package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/internal/ledger"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// Setup is what a world is made of.
type Setup struct {
	// Redis are settings of each redis-server, as on its command line.
	Redis []string
	// Proxied puts Redis.Proxy between the servers and Redis; for Standalone only.
	Proxied bool
	// Synced has Redis.Syncs know what Redis has on disk; for Standalone only.
	Synced bool
	// Apart puts the primary on our side of Redis.Link, and all others of Redis on the
	// far side; for Sentinel only, and root.
	Apart bool
	// Serve are further arguments of each `retryd serve`.
	Serve []string
	// Policies is the policy file; retries after 200 ms by default.
	Policies string
	// Workers is how many workers of KindPlain the load has; 3 by default.
	Workers int
	// Seed is for all draws.
	Seed uint64
}

const (
	// queue, policy and group are those of all tasks of the load.
	queue  = "q"
	policy = "soon"
	group  = "all"
	// secret is in each payload, and must be in no log and no error.
	secret = "s3cret-payload-of-"
)

// soonPolicy is the policy file unless the setup has one. It has no retry more than
// the load needs, so that one that is burned ends in a dead letter; so many leases may
// expire that no task of a fault is taken for poison.
const soonPolicy = `policies:
  - {id: soon, display_name: Soon, max_retries: 2, max_lease_expiries: 50, fixed: {delay: 200ms}, default_action: RETRY}
`

// World is what a fault is run in: a Redis, three servers on it, the load, and the
// ledger of what everybody was told. Fields and methods are for the goroutine of
// Fault.Run, but for Broken.
type World struct {
	Setup
	On    Topology
	Redis *Redis
	// Servers run when Fault.Run begins.
	Servers []*Server
	Ledger  *ledger.Ledger
	Rand    *rand.Rand
	// Short asks for less of everything.
	Short bool
	// Dir is for logs and files.
	Dir string
	// Store is a look at Redis past proxies and servers.
	Store *redisstore.Store

	load    *load
	workers []*Worker
	windows []ledger.Window
	base    *base

	mu     sync.Mutex
	broken []string
}

// newWorld starts one; it ends with close.
func newWorld(ctx context.Context, opts *options, j job, dir string) (*World, error) {
	w := &World{
		Setup: Setup{Policies: soonPolicy, Workers: 3, Seed: opts.seed}, On: j.on, Ledger: ledger.New(),
		Rand: rand.New(rand.NewPCG(opts.seed, 2)), Short: opts.short, Dir: dir, //nolint:gosec // draws are to be repeatable
	}
	if j.Setup != nil {
		j.Setup(&w.Setup)
	}
	err := w.start(ctx, opts.bin)
	if err != nil {
		return nil, errors.Join(err, w.close(ctx))
	}
	return w, nil
}

func (w *World) start(ctx context.Context, bin string) error {
	policies := filepath.Join(w.Dir, "policies.yaml")
	if err := os.WriteFile(policies, []byte(w.Policies), 0o600); err != nil {
		return fmt.Errorf("write the policies: %w", err)
	}
	var err error
	if w.Redis, err = startRedis(ctx, w.On, &w.Setup, w.Dir); err != nil {
		return err
	}
	for i := range servers {
		s, err := newServer(ctx, w.Dir, i, bin, w.Redis.URL(), policies, w.Serve)
		if err != nil {
			return err
		}
		if err := s.Start(ctx); err != nil {
			return err
		}
		w.Servers = append(w.Servers, s)
	}
	if w.Store, err = redisstore.New(redisstore.Config{URL: w.Redis.directURL(), Log: slog.New(slog.DiscardHandler)}); err != nil {
		return err
	}
	w.base, err = w.takeBase(ctx)
	return err
}

// Dial returns a client of some servers, or of all when none is named, until the world
// ends with the process: callers close it.
func (w *World) Dial(of []*Server, opts ...client.Option) (*client.Client, error) {
	if len(of) == 0 {
		of = w.Servers
	}
	return dial(addrs(of), append([]client.Option{client.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
}

// Broken notes that something is as it must not be. It may be called by any goroutine.
func (w *World) Broken(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// answering is how long an answer may be under way, on a busy machine, from Redis to
// whoever notes when it came.
const answering = 250 * time.Millisecond

// MayLose says that Redis may have lost what it acknowledged in that time, and
// nothing but that.
func (w *World) MayLose(from, to time.Time) {
	w.windows = append(w.windows, ledger.Window{From: from, To: to})
}

// Between is a length of time for a fault: whole runs use full, short ones short.
func (w *World) Between(full, short time.Duration) time.Duration {
	if w.Short {
		return short
	}
	return full
}

// Pause waits, to let the load go on.
func (w *World) Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Steady waits until reports and outcomes have been taken for a while.
func (w *World) Steady(ctx context.Context) error {
	if err := w.Ledger.AwaitAcks(ctx, viaAll, 100); err != nil {
		return err
	}
	return w.Ledger.AwaitOutcomes(ctx, 100)
}

// close ends all that was started.
func (w *World) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	if w.load != nil {
		w.load.stop()
	}
	for _, one := range w.workers {
		if one.running() {
			_ = one.Signal(syscall.SIGCONT)
			errs = append(errs, one.Kill())
		}
	}
	for _, s := range w.Servers {
		if s.Process != nil && s.running() {
			_ = s.Signal(syscall.SIGCONT)
			errs = append(errs, s.Kill())
		}
	}
	if w.Store != nil {
		errs = append(errs, w.Store.Close())
	}
	if w.Redis != nil {
		errs = append(errs, w.Redis.keepLogs(w.Dir), w.Redis.close(ctx))
	}
	return errors.Join(errs...)
}
