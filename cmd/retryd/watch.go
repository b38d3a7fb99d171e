package main

import (
	"context"
	"io"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/retryd/retryd/internal/telemetry"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/server"
)

// watch is what looks on at a daemon: its log and its metrics.
type watch struct {
	log *slog.Logger
	// lines holds the lines of decisions until they are written, decisions makes them;
	// it is nil where nobody asks for them.
	lines     *telemetry.LogBuffer
	decisions scheduler.Observer
	metrics   *telemetry.Metrics
	queues    *telemetry.Queues
	// scraped is whether there is a port at which metrics can be read. Where there is
	// none, nothing is counted.
	scraped bool
}

// newWatch makes the log and the metrics of a valid configuration. The log goes to w.
func newWatch(cfg config, w io.Writer) *watch {
	lines := telemetry.NewLogBuffer(w)
	log := newLog(cfg, lines.Direct())
	out := &watch{
		log: log, lines: lines, scraped: cfg.adminListen != "",
		metrics: telemetry.New(telemetry.Config{Log: log, Version: version(), Queues: cfg.metricsQueues, Lines: lines}),
	}
	if cfg.logDecisions && log.Enabled(context.Background(), slog.LevelInfo) {
		out.decisions = telemetry.NewDecisionLog(lines, cfg.logFormat == "json")
	}
	return out
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

// observer is told what becomes of tasks, nil where nobody wants to know.
func (w *watch) observer() scheduler.Observer {
	if !w.scraped {
		return w.decisions
	}
	return scheduler.Observers(w.metrics.Tasks, w.decisions)
}

// redis is told of calls to Redis, nil where nobody wants to know.
func (w *watch) redis() redisstore.Observer {
	if !w.scraped {
		return nil
	}
	return w.metrics.Redis()
}

// calls has the metrics look on at what a server answers.
func (w *watch) calls(opts *server.Config) {
	if w.scraped {
		opts.Calls, opts.Streams = w.metrics.Calls(), w.metrics.Streams()
	}
}

// watch has the metrics tell of a daemon.
func (w *watch) watch(d *daemon) {
	w.metrics.Watch(d.sched, d.server)
	w.queues = w.metrics.WatchQueues(d.sched)
}

// run writes the lines of the log, and counts queues for the metrics, until ctx ends.
func (w *watch) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.lines.Run(ctx) })
	g.Go(func() error { return w.queues.Run(ctx) })
	return g.Wait()
}
