package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/retryd/retryd/client"
)

// Load is who reports, and how.
type Load struct {
	// Rate is how many tasks are reported in a second; 150 by default.
	Rate int
	// Impatient reporters do not repeat a call that was not answered. Those of the
	// load are patient unless this is set, and then none of their reports may fail.
	Impatient bool
	// MayFail lets reports of patient reporters fail.
	MayFail bool
	// Prefix begins the ids of its tasks; "task" by default. A second load needs one.
	Prefix string
	// Via names its reporters in the ledger; viaAll by default.
	Via string
	// To are the servers that its reporters know, behind one name; all by default.
	To []*Server
	// NoWorkers leaves the attempts to workers that the fault starts.
	NoWorkers bool
	// Only says which ids are used of those that come; nil takes all.
	Only func(id string) bool
}

const (
	// viaAll names reporters in the ledger that know all servers, viaAgain those who
	// repeat a report that was made already.
	viaAll   = "all"
	viaAgain = "again"
	// reporters is how many share the rate.
	reporters = 6
	// again is how many reports come before one that is repeated elsewhere.
	again = 8
	// patient is how long a reporter repeats a call.
	patient = time.Minute
)

// load is one that runs.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

// StartLoad starts reporters, and workers as the setup has them. It goes on until
// StopReports, at the latest until Run has returned.
func (w *World) StartLoad(ctx context.Context, cfg Load) error {
	if cfg.Rate == 0 {
		cfg.Rate = 150
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "task"
	}
	if cfg.Via == "" {
		cfg.Via = viaAll
	}
	if !cfg.NoWorkers {
		if err := w.startWorkers(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	before := w.load
	w.load = &load{cancel: func() {
		if before != nil {
			before.stop()
		}
		cancel()
	}}
	patience := patient
	if cfg.Impatient {
		patience = 0
	}
	for i := range reporters {
		// Each has a connection of its own, and one for repeats.
		c, err := w.Dial(cfg.To, client.WithRetryTimeout(patience))
		if err != nil {
			return err
		}
		r := &reporter{w: w, c: c, cfg: cfg, number: i}
		w.load.wg.Go(func() {
			defer func() { _ = c.Close() }()
			r.run(ctx)
		})
	}
	return nil
}

// startWorkers starts the workers of the load, as many as the setup says.
func (w *World) startWorkers() error {
	for i := range w.Workers {
		if _, err := w.StartWorker(WorkerConfig{Via: fmt.Sprintf("worker-%d", i)}); err != nil {
			return err
		}
	}
	return nil
}

// StopReports ends the reporters, and returns when their last reports were answered.
func (w *World) StopReports() {
	if w.load != nil {
		w.load.stop()
	}
}

// reporter reports failures of new tasks.
type reporter struct {
	w      *World
	c      *client.Client
	cfg    Load
	number int
}

func (r *reporter) run(ctx context.Context) {
	every := time.Second * reporters / time.Duration(r.cfg.Rate)
	// They take turns, so that the whole load is even.
	if r.w.Pause(ctx, every*time.Duration(r.number)/reporters) != nil {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		id := fmt.Sprintf("%s-%d-%d", r.cfg.Prefix, r.number, n)
		for r.cfg.Only != nil && !r.cfg.Only(id) {
			n++
			id = fmt.Sprintf("%s-%d-%d", r.cfg.Prefix, r.number, n)
		}
		err := r.report(ctx, id, r.cfg.Via)
		if err != nil && !r.cfg.Impatient && !r.cfg.MayFail {
			r.w.Broken("a report of %s failed though it was repeated for %s: %v", id, patient, err)
		}
		if n%again == 0 {
			// The first may have failed; then this is the first that is taken.
			_ = r.report(ctx, id, viaAgain)
		}
	}
}

// report reports the first failure of a task, under the key that all reports of it
// have.
func (r *reporter) report(ctx context.Context, id, via string) error {
	_, err := r.w.Report(ctx, r.c, id, via)
	if err != nil && strings.Contains(err.Error(), secret) {
		r.w.Broken("I11: the error of a report tells its payload: %v", err)
	}
	return err
}

// Report reports the first failure of a task by a client, and enters the answer.
func (w *World) Report(ctx context.Context, c *client.Client, id, via string) (*client.Decision, error) {
	// What has been begun is ended also when the reporters are to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patient+5*time.Second)
	defer cancel()
	d, err := c.ReportFailure(ctx, client.Task{ID: id, Queue: queue, Policy: policy, Group: group, Payload: []byte(secret + id)},
		client.HTTPFailure(503, ""), client.WithIdempotencyKey(id))
	w.Ledger.Reported(id, via, d, err)
	return d, err
}
