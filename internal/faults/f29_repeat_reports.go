package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/retryd/retryd/client"
)

// repeatReports makes each report five times over, in any order, by three servers, and
// once more when its task has long ended; and gives each key to another report.
var repeatReports = Fault{
	ID: "F29", Name: "every report 5 times, reordered, to 3 servers; keys reused with other content", Topologies: []Topology{Standalone}, Short: true,
	Run: func(ctx context.Context, w *World) (Figures, error) {
		const times = 5
		tasks := 4000
		if w.Short {
			tasks = 500
		}
		if err := w.startWorkers(); err != nil {
			return nil, err
		}
		r, err := newRepeater(w, tasks)
		if err != nil {
			return nil, err
		}
		defer r.close()
		began := time.Now()
		// The repeats of a task come close together and far apart: a report may be
		// moved by as much as a fifth of the whole.
		order := make([]int, times*tasks)
		for i := range order {
			order[i] = i / times
		}
		for i := range order {
			j := min(i+w.Rand.IntN(tasks), len(order)-1)
			order[i], order[j] = order[j], order[i]
		}
		r.reportAll(ctx, order)
		if err := w.awaitDrained(ctx); err != nil {
			return nil, err
		}
		took := time.Since(began)
		// By now the tasks have ended, and their payloads are gone.
		if err := w.Pause(ctx, 3*time.Second); err != nil {
			return nil, err
		}
		r.reportAll(ctx, w.Rand.Perm(tasks))
		var f Figures
		f.Add("duplicates", r.reports.Load()-int64(tasks))
		f.Add("in", took.Round(100*time.Millisecond))
		f.Add("mismatches caught", fmt.Sprintf("%d of %d", r.caught.Load(), r.mismatches.Load()))
		return f, nil
	},
}

// repeater reports tasks by clients of one server each.
type repeater struct {
	w       *World
	clients []*client.Client
	// mismatched says of which tasks the key was given to another report already.
	mismatched                  []atomic.Bool
	reports, mismatches, caught atomic.Int64
}

func newRepeater(w *World, tasks int) (*repeater, error) {
	r := &repeater{w: w, mismatched: make([]atomic.Bool, tasks)}
	for _, s := range w.Servers {
		c, err := w.Dial([]*Server{s}, client.WithRetryTimeout(patient))
		if err != nil {
			r.close()
			return nil, err
		}
		r.clients = append(r.clients, c)
	}
	return r, nil
}

func (r *repeater) close() {
	for _, c := range r.clients {
		_ = c.Close()
	}
}

// reportAll reports tasks in an order, several at a time, each by any server.
func (r *repeater) reportAll(ctx context.Context, order []int) {
	const callers = 12
	var wg sync.WaitGroup
	var next atomic.Int64
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(order) {
					return
				}
				r.report(ctx, order[n])
			}
		})
	}
	wg.Wait()
}

func (r *repeater) report(ctx context.Context, task int) {
	id := fmt.Sprintf("repeat-%d", task)
	if err := r.w.Report(ctx, r.any(), id, viaAll); err != nil {
		r.w.Broken("I2: a report of %s failed: %v", id, err)
		return
	}
	r.reports.Add(1)
	if r.mismatched[task].CompareAndSwap(false, true) {
		r.mismatch(ctx, id)
	}
}

// any is one of the clients.
func (r *repeater) any() *client.Client {
	return r.clients[rand.IntN(len(r.clients))] //nolint:gosec // any will do
}

// mismatch gives the key of a task that has been reported to reports that say
// something else, and contradicts the task in a report without it. Nothing of that may
// be taken, nor may it be answered by what others have sent.
func (r *repeater) mismatch(ctx context.Context, id string) {
	given := client.Task{ID: id, Queue: queue, Policy: policy, Group: group, Payload: []byte(secret + id)}
	other := given
	other.Payload = []byte("another payload")
	for name, c := range map[string]struct {
		task    client.Task
		failure error
		opt     client.ReportOption
		// want are the reasons for which it may be refused: by then a worker may hold
		// the attempt, or have made it.
		want []string
	}{
		"another payload under the key": {other, client.HTTPFailure(503, ""), client.WithIdempotencyKey(id), []string{"KEY_REUSED"}},
		"another failure under the key": {given, client.HTTPFailure(500, ""), client.WithIdempotencyKey(id), []string{"KEY_REUSED"}},
		"another payload": {
			other, client.HTTPFailure(503, ""), client.WithAttempt(attempts - 1),
			[]string{"INVALID_REQUEST", "LEASE_REQUIRED", "WRONG_STATE", "duplicate"},
		},
	} {
		r.mismatches.Add(1)
		d, err := r.any().ReportFailure(ctx, c.task, c.failure, c.opt)
		got := client.ReasonOf(err)
		if err == nil && d.Duplicate {
			got = "duplicate"
		}
		if err != nil && strings.Contains(fmt.Sprintf("%+v", err), secret) {
			r.w.Broken("I11: %s: the error of %s tells a payload: %v", id, name, err)
		}
		if !slices.Contains(c.want, got) {
			r.w.Broken("I2: %s: %s was answered with %v, %q (%v), want %q", id, name, d, got, err, c.want)
			continue
		}
		r.caught.Add(1)
	}
}
