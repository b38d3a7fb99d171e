package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

// daemon is a store, a scheduler over it, and the ports on which it is served.
type daemon struct {
	cfg    config
	log    *slog.Logger
	sched  *scheduler.Scheduler
	server *server.Server

	listener, admin net.Listener
}

// newDaemon joins the parts over a store, puts the policies into it and binds the
// ports, so that whoever asked for port 0 can read the address.
func newDaemon(ctx context.Context, cfg config, store scheduler.Store, policies []policy.Policy, reflection bool, log *slog.Logger) (*daemon, error) {
	d := &daemon{cfg: cfg, log: log}
	var err error
	if d.sched, err = scheduler.New(store, scheduler.Config{Log: log, FirstSuccessRetention: cfg.firstSuccessRetention.value}); err != nil {
		return nil, err
	}
	if d.server, err = server.New(server.Config{Log: log, Reflection: reflection, DrainTimeout: cfg.drainTimeout.value}, d.sched); err != nil {
		return nil, err
	}
	if err := applyPolicies(ctx, log, d.sched, policies); err != nil {
		return nil, fmt.Errorf("%s: %w", setting("policies"), err)
	}
	var listen net.ListenConfig
	if d.listener, err = listen.Listen(ctx, "tcp", cfg.listen); err != nil {
		return nil, fmt.Errorf("%s: %w", setting("listen"), err)
	}
	if cfg.adminListen != "" {
		if d.admin, err = listen.Listen(ctx, "tcp", cfg.adminListen); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", setting("admin-listen"), err), d.listener.Close())
		}
	}
	return d, nil
}

// run serves until ctx ends, then drains. It returns nil after an orderly end.
func (d *daemon) run(ctx context.Context) error {
	// The loops outlive the server: while it drains, outcomes are still taken.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	g, serving := errgroup.WithContext(ctx)
	g.Go(func() error { return d.sched.Run(work) })
	g.Go(func() error {
		defer stopWork()
		return d.server.Run(serving, d.listener)
	})
	if d.admin != nil {
		g.Go(func() error { return d.serveAdmin(work, probes(serving)) })
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

// close frees the ports of a daemon that has not run.
func (d *daemon) close() error {
	err := d.listener.Close()
	if d.admin != nil {
		err = errors.Join(err, d.admin.Close())
	}
	return err
}

// newLog returns the daemon's log, as a valid configuration asks for it.
func newLog(cfg config, w io.Writer) *slog.Logger {
	var level slog.Level
	// The level was checked with the rest of the configuration.
	_ = level.UnmarshalText([]byte(cfg.logLevel))
	opts := &slog.HandlerOptions{Level: level}
	if cfg.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
