package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/scheduler"
)

// herd are tasks of a queue and a group of their own, of which there are too many for
// the ledger. Workers within this process take their attempts, one for each server, and
// note what the invariants ask of them.
type herd struct {
	w     *World
	queue string
	// begun is at what hand-outs are counted from.
	begun time.Time

	mu sync.Mutex
	// held are attempts that have been handed out, until when they are leased.
	held map[string]time.Time
	// perSecond counts hand-outs by the second since begun, ended the tasks that have
	// ended.
	perSecond []int
	handouts  int
	ended     int
	late      []time.Duration
	// firstDue and lastDue are between what times they fell due.
	firstDue, lastDue time.Time
	changed           chan struct{}
}

// newHerd names a queue, which is the name of the group as well.
func newHerd(w *World, name string) *herd {
	return &herd{w: w, queue: name, begun: time.Now(), held: make(map[string]time.Time), changed: make(chan struct{}, 1)}
}

// startWorkers starts workers that make attempts by a handler until stop is called.
func (h *herd) startWorkers(ctx context.Context, maxInFlight int, handle client.Handler) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, s := range h.w.Servers {
		c, err := h.w.Dial([]*Server{s})
		if err != nil {
			cancel()
			return nil, err
		}
		worker, err := client.NewWorker(c, []string{h.queue}, client.WithLeaseDuration(herdLease), client.WithMaxInFlight(maxInFlight),
			client.WithWorkerID("herd-"+s.name))
		if err != nil {
			cancel()
			return nil, errors.Join(err, c.Close())
		}
		wg.Go(func() {
			err := worker.Run(ctx, func(ctx context.Context, a *client.Attempt) error {
				h.handedOut(a)
				err := handle(ctx, a)
				h.settled(a, err == nil)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err, c.Close())
		})
	}
	return func() error {
		cancel()
		wg.Wait()
		return errors.Join(errs...)
	}, nil
}

// herdLease is long enough that no lease ends by itself on a busy machine.
const herdLease = time.Minute

// handedOut checks a hand-out and counts it.
func (h *herd) handedOut(a *client.Attempt) {
	now := time.Now()
	if claimed := a.LeaseExpireTime.Add(-herdLease); claimed.Before(a.DueTime) || now.Before(a.DueTime) {
		h.w.Broken("I3: attempt %d of %s was handed out before it was due", a.Number, a.TaskID)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if until, ok := h.held[a.TaskID]; ok && now.Before(until) {
		h.w.Broken("I4: attempt %d of %s was handed out while it was leased", a.Number, a.TaskID)
	}
	h.held[a.TaskID] = a.LeaseExpireTime
	second := int(now.Sub(h.begun) / time.Second)
	for len(h.perSecond) <= second {
		h.perSecond = append(h.perSecond, 0)
	}
	h.perSecond[second]++
	h.handouts++
	h.late = append(h.late, now.Sub(a.DueTime))
	if h.firstDue.IsZero() || a.DueTime.Before(h.firstDue) {
		h.firstDue = a.DueTime
	}
	if a.DueTime.After(h.lastDue) {
		h.lastDue = a.DueTime
	}
}

// settled notes that a worker is done with an attempt, just before the server is told.
func (h *herd) settled(a *client.Attempt, ended bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, a.TaskID)
	if ended {
		h.ended++
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// reportAll reports n tasks, in batches by several callers, and wants each taken. pace
// waits before a batch; nil does not.
func (h *herd) reportAll(ctx context.Context, n int, report client.Report, pace func(done int) error) error {
	const callers, batch = 4, 250
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for caller := range callers {
		c, err := h.w.Dial(nil, client.WithRetryTimeout(patient))
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer func() { _ = c.Close() }()
			for from := caller * batch; from < n && ctx.Err() == nil; from += callers * batch {
				err := h.reportBatch(ctx, c, from, min(n, from+batch), report)
				if err == nil && pace != nil {
					err = pace(from)
				}
				if err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// reportBatch reports the tasks with the numbers from ≤ i < to.
func (h *herd) reportBatch(ctx context.Context, c *client.Client, from, to int, report client.Report) error {
	reports := make([]client.Report, 0, to-from)
	for i := from; i < to; i++ {
		report.Task.ID = fmt.Sprintf("%s-%d", h.queue, i)
		report.Task.Queue, report.Task.Group = h.queue, h.queue
		report.IdempotencyKey = report.Task.ID
		reports = append(reports, report)
	}
	got, err := c.ReportBatch(ctx, reports)
	if err != nil {
		return fmt.Errorf("report %d tasks: %w", len(reports), err)
	}
	for i, r := range got {
		if r.Err != nil {
			return fmt.Errorf("report %s: %w", reports[i].Task.ID, r.Err)
		}
	}
	return nil
}

// awaitEnded waits until n tasks have ended.
func (h *herd) awaitEnded(ctx context.Context, n int) error {
	for {
		h.mu.Lock()
		ended := h.ended
		h.mu.Unlock()
		if ended >= n {
			return nil
		}
		select {
		case <-h.changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d tasks have ended: %w", ended, n, context.Cause(ctx))
		}
	}
}

// check wants n tasks in the group, all of which have ended well.
func (h *herd) check(ctx context.Context, n int) error {
	got, _, err := h.w.Store.Group(ctx, scheduler.GroupKey{Namespace: "default", Name: h.queue})
	if err != nil {
		return fmt.Errorf("count the group %s: %w", h.queue, err)
	}
	if want := (scheduler.GroupCount{Total: int64(n), Completed: int64(n)}); got != want {
		h.w.Broken("I1, I2: the group %s counts %+v, want %+v", h.queue, got, want)
	}
	return nil
}
