package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/retryd/retryd/internal/heap"
	"github.com/retryd/retryd/internal/tracing"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

// daemon is a store, a scheduler over it, and the ports on which it is served.
type daemon struct {
	cfg    config
	log    *slog.Logger
	watch  *watch
	sched  *scheduler.Scheduler
	server *server.Server
	quotas *quotaFile
	// tracing is nil where it is off.
	tracing *tracing.Tracing
	// ready is whether the store can be used.
	ready atomic.Bool

	listener, admin net.Listener
}

// newDaemon joins the parts over a store. opts are what is not in cfg.
func newDaemon(ctx context.Context, cfg config, store scheduler.Store, opts server.Config, watch *watch) (*daemon, error) {
	log := watch.log
	d := &daemon{cfg: cfg, log: log, watch: watch}
	var err error
	if d.tracing, err = cfg.traces.start(ctx, log); err != nil {
		return nil, err
	}
	// The thresholds were checked with the rest of the configuration.
	health := cfg.health.read(func(string, error) {})
	if d.sched, err = scheduler.New(store, scheduler.Config{
		Log: log, FirstSuccessRetention: cfg.firstSuccessRetention.value, Health: health, Audit: cfg.audit(),
		Observer: scheduler.Observers(watch.observer(), d.observer()),
	}); err != nil {
		return nil, err
	}
	quotas, text, err := readQuotas(cfg.quotas)
	if err == nil {
		err = d.sched.SetQuotas(quotas)
	}
	if err != nil {
		return nil, err
	}
	d.quotas = &quotaFile{path: cfg.quotas, log: log, sched: d.sched, text: text}
	opts.Log, opts.DrainTimeout, opts.Version = log, cfg.drainTimeout.value, version()
	opts.MaxConnections, opts.MaxStreams = cfg.maxConnections, cfg.maxStreams
	watch.calls(&opts)
	if d.tracing != nil {
		opts.Tracer = d.tracing
		watch.metrics.WatchTraces(d.tracing.Results())
	}
	if d.server, err = server.New(opts, d.sched); err != nil {
		return nil, err
	}
	watch.watch(d)
	d.ready.Store(!opts.Closed)
	return d, nil
}

// apply puts the policies into the store.
func (d *daemon) apply(ctx context.Context, policies []policy.Policy) error {
	if err := applyPolicies(ctx, d.log, d.sched, policies); err != nil {
		return fmt.Errorf("%s: %w", setting("policies"), err)
	}
	return nil
}

// listen binds the ports, so that whoever asked for port 0 can read the address.
func (d *daemon) listen(ctx context.Context) error {
	var listen net.ListenConfig
	var err error
	if d.listener, err = listen.Listen(ctx, "tcp", d.cfg.listen); err != nil {
		return fmt.Errorf("%s: %w", setting("listen"), err)
	}
	if d.cfg.adminListen != "" {
		if d.admin, err = listen.Listen(ctx, "tcp", d.cfg.adminListen); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", setting("admin-listen"), err), d.listener.Close())
		}
	}
	return nil
}

// run serves until ctx ends, then drains. It returns nil after an orderly end.
// Over a store that may be away, keep looks after it: it calls begin once the
// store can be used, and returns when ctx ends or the store can never be used.
// Whatever else is to run beside the server does so to its end.
func (d *daemon) run(ctx context.Context, keep func(ctx context.Context, begin func()) error, beside ...func(ctx context.Context, log *slog.Logger) error) (err error) {
	defer func() {
		if err == nil {
			d.log.InfoContext(ctx, "stopped")
		}
	}()
	defer heap.Tune(d.log)()
	// The loops outlive the server: while it drains, outcomes are still taken.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	defer d.watch.lines.Flush()
	g, serving := errgroup.WithContext(ctx)
	begin := func() { g.Go(func() error { return d.sched.Run(work) }) }
	if keep == nil {
		begin()
	} else {
		g.Go(func() error { return keep(serving, begin) })
	}
	g.Go(func() error {
		defer stopWork()
		return d.server.Run(serving, d.listener)
	})
	g.Go(func() error { return d.watch.run(work) })
	if d.cfg.quotas != "" {
		g.Go(func() error {
			d.quotas.follow(serving)
			return nil
		})
	}
	for _, run := range beside {
		g.Go(func() error { return run(work, d.log) })
	}
	if d.admin != nil {
		g.Go(func() error {
			ready := func() bool { return d.ready.Load() && serving.Err() == nil }
			return d.serveAdmin(work, adminPages(ready, d.watch.metrics.Handler(), d.cfg.pprof))
		})
	}
	if d.tracing != nil {
		stopped := make(chan time.Time, 1)
		defer context.AfterFunc(serving, func() { stopped <- time.Now() })()
		defer func() { d.flushTraces(ctx, time.Since(<-stopped)) }()
	}
	return g.Wait()
}

func (d *daemon) serveAdmin(ctx context.Context, handler http.Handler) error {
	admin := adminServer(handler)
	stop := context.AfterFunc(ctx, func() {
		// Probes are short; whoever is still reading has had its answer.
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := admin.Shutdown(shutdown); err != nil {
			d.log.WarnContext(shutdown, "the admin port did not close in time", "error", err)
		}
	})
	defer stop()
	if err := admin.Serve(d.admin); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin port: %w", err)
	}
	return nil
}

// adminAddr is the address of the admin port, empty where there is none.
func (d *daemon) adminAddr() string {
	if d.admin == nil {
		return ""
	}
	return d.admin.Addr().String()
}

// close frees the ports of a daemon that has not run.
func (d *daemon) close() error {
	err := d.listener.Close()
	if d.admin != nil {
		err = errors.Join(err, d.admin.Close())
	}
	return err
}
