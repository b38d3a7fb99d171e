package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
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
		f.Add("duplicates", r.checkAnswers())
		f.Add("in", took.Round(100*time.Millisecond))
		f.Add("mismatches caught", fmt.Sprintf("%d of %d", r.caught.Load(), r.mismatches.Load()))
		return f, nil
	},
}

// repeater reports tasks by clients of one server each.
type repeater struct {
	w       *World
	clients []*client.Client
	tasks   []repeated
	// others counts answers that were not as the first.
	others, mismatches, caught atomic.Int64
}

// repeated is a task that is reported several times.
type repeated struct {
	// mismatched says that its key was given to another report already.
	mismatched atomic.Bool

	mu sync.Mutex
	// first is the first answer that came, as if it were no duplicate.
	first client.Decision
	// fresh counts the answers that were no duplicates, duplicates the others.
	fresh, duplicates int
}

// answered notes an answer, and says whether it is the same as those before it.
func (t *repeated) answered(d client.Decision) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.fresh+t.duplicates == 0
	if d.Duplicate {
		t.duplicates++
	} else {
		t.fresh++
	}
	d.Duplicate = false
	if first {
		t.first = d
	}
	return reflect.DeepEqual(d, t.first)
}

func newRepeater(w *World, tasks int) (*repeater, error) {
	r := &repeater{w: w, tasks: make([]repeated, tasks)}
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
	d, err := r.w.Report(ctx, r.any(), id, viaAll)
	if err != nil {
		r.w.Broken("I2: a report of %s failed: %v", id, err)
		return
	}
	t := &r.tasks[task]
	if !t.answered(*d) && r.others.Add(1) <= shown {
		r.w.Broken("I2: a report of %s was answered with %+v, and before with %+v", id, *d, t.first)
	}
	if t.mismatched.CompareAndSwap(false, true) {
		r.mismatch(ctx, id)
	}
}

// checkAnswers wants one report of each task to have been taken, and all others to
// have been answered as that one. It returns how many those are.
func (r *repeater) checkAnswers() (duplicates int) {
	wrong := 0
	for i := range r.tasks {
		t := &r.tasks[i]
		duplicates += t.duplicates
		if t.fresh == 1 {
			continue
		}
		if wrong++; wrong <= shown {
			r.w.Broken("I2: of the reports of repeat-%d %d were taken and %d answered as duplicates, want 1 taken", i, t.fresh, t.duplicates)
		}
	}
	if others := int(r.others.Load()); wrong > shown || others > shown {
		r.w.Broken("I2: in all the reports of %d tasks were not taken once, and %d were answered in another way than before", wrong, others)
	}
	return duplicates
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
