package work

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// reportDelay is when the tasks of Report fall due, fillDelay those of Fill.
	reportDelay = time.Minute
	fillDelay   = 24 * time.Hour
	// timingLead is how long before the first is due the tasks of Timing are put.
	timingLead = 2 * time.Second
	// preloadCallers and preloadBatch are how tasks are put that nobody measures.
	preloadCallers = 8
	preloadBatch   = 500
	// warmUp is how many tasks Report puts before it is measured.
	warmUp = 1000
	// preloadDue is when the tasks of Drain fall due: late enough for systems that
	// know whole seconds only.
	preloadDue = time.Second
	// settleTime is how long a system is given after its tasks have fallen due, beside
	// what its own timer may add.
	settleTime = 200 * time.Millisecond
)

// Doer does one job.
type Doer struct {
	job    *Job
	driver Driver
	next   atomic.Int64
}

// New returns who does the job.
func New(job *Job, driver Driver) *Doer {
	d := &Doer{job: job, driver: driver}
	d.next.Store(int64(job.First))
	return d
}

// Prepare does what is not measured.
func (d *Doer) Prepare(ctx context.Context) error {
	switch d.job.Kind {
	case Report:
		if d.job.Tasks > 0 {
			return nil // its bytes are counted: nothing may be there before
		}
		return d.putAll(ctx, warmUp, d.job.Callers, d.job.Batch, d.due(reportDelay))
	case Drain:
		due := time.Now().Add(preloadDue)
		if err := d.putAll(ctx, d.job.Tasks, preloadCallers, preloadBatch, func() time.Time { return due }); err != nil {
			return err
		}
		coarse := time.Duration(0)
		if c, ok := d.driver.(Coarse); ok {
			coarse = c.Grain()
		}
		return wait(ctx, time.Until(due)+coarse+settleTime)
	}
	return nil
}

// Run does what is measured.
func (d *Doer) Run(ctx context.Context) (*Result, error) {
	start := time.Now()
	var res Result
	var err error
	switch d.job.Kind {
	case Report:
		if d.job.Tasks > 0 {
			res.Tasks, err = d.job.Tasks, d.putAll(ctx, d.job.Tasks, d.job.Callers, d.job.Batch, d.due(reportDelay))
		} else {
			res.Tasks, err = d.putFor(ctx, d.job.Time)
		}
	case Fill:
		res.Tasks, err = d.job.Tasks, d.putAll(ctx, d.job.Tasks, preloadCallers, preloadBatch, d.due(fillDelay))
	case Finish:
		res.Tasks, err = d.job.Tasks, d.finishAll(ctx)
	case Drain:
		res.Tasks, res.Cut, err = d.consume(ctx, func(Delivery) bool { return false }, nil)
	case Timing:
		err = d.timing(ctx, &res)
	case Loop, HandedLoop:
		err = d.loop(ctx, &res)
	default:
		err = fmt.Errorf("kind %q is unknown", d.job.Kind)
	}
	res.Seconds = time.Since(start).Seconds()
	return &res, err
}

// due says that tasks are due some time after they are put.
func (*Doer) due(after time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(after) }
}

// take makes the next n tasks.
func (d *Doer) take(n int, due func() time.Time) []Task {
	first := int(d.next.Add(int64(n))) - n
	tasks := make([]Task, n)
	for i := range tasks {
		at := due()
		tasks[i] = Task{
			Index: first + i, Due: at, FirstFailed: d.job.Kind == Loop,
			Payload: payload(first+i, at, d.job.Payload),
		}
	}
	return tasks
}

// each has callers do something again and again until it says that it is done.
func each(ctx context.Context, callers int, do func(ctx context.Context) (done bool, err error)) error {
	g, ctx := errgroup.WithContext(ctx)
	for range callers {
		g.Go(func() error {
			for {
				if done, err := do(ctx); done || err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// putAll puts n tasks, batch at a call.
func (d *Doer) putAll(ctx context.Context, n, callers, batch int, due func() time.Time) error {
	return inBatches(ctx, n, callers, batch, func(ctx context.Context, size int) error {
		return d.driver.Put(ctx, d.take(size, due))
	})
}

// inBatches has callers share n things, batch at a time.
func inBatches(ctx context.Context, n, callers, batch int, do func(ctx context.Context, size int) error) error {
	var taken atomic.Int64
	return each(ctx, callers, func(ctx context.Context) (bool, error) {
		from := int(taken.Add(int64(batch))) - batch
		if from >= n {
			return true, nil
		}
		return false, do(ctx, min(batch, n-from))
	})
}

// putFor puts tasks for some time, and returns how many.
func (d *Doer) putFor(ctx context.Context, t time.Duration) (int, error) {
	var n atomic.Int64
	end := time.Now().Add(t)
	err := each(ctx, d.job.Callers, func(ctx context.Context) (bool, error) {
		if time.Now().After(end) {
			return true, nil
		}
		if err := d.driver.Put(ctx, d.take(d.job.Batch, d.due(reportDelay))); err != nil {
			return false, err
		}
		n.Add(int64(d.job.Batch))
		return false, nil
	})
	return int(n.Load()), err
}

func (d *Doer) finishAll(ctx context.Context) error {
	f, ok := d.driver.(Finisher)
	if !ok {
		return fmt.Errorf("%s cannot tell of first attempts that succeeded", d.job.System)
	}
	return inBatches(ctx, d.job.Tasks, d.job.Callers, d.job.Batch, func(ctx context.Context, size int) error {
		return f.Finish(ctx, d.take(size, func() time.Time { return time.Time{} }))
	})
}

// consume hands out until all tasks are settled or the limit is reached. begin,
// if any, is called beside it.
func (d *Doer) consume(ctx context.Context, handle Handler, begin func(ctx context.Context) error) (settled int, cut bool, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var limit <-chan time.Time
	if d.job.Limit > 0 {
		timer := time.NewTimer(d.job.Limit)
		defer timer.Stop()
		limit = timer.C
	}
	var n atomic.Int64
	all := make(chan struct{})
	var once sync.Once
	g, ctx := errgroup.WithContext(ctx)
	consuming, hangUp := context.WithCancel(ctx)
	defer hangUp()
	g.Go(func() error {
		return d.driver.Consume(consuming, d.job.InFlight, handle, func() {
			if n.Add(1) == int64(d.job.Tasks) {
				once.Do(func() { close(all) })
			}
		})
	})
	if begin != nil {
		g.Go(func() error { return begin(ctx) })
	}
	select {
	case <-all:
	case <-limit:
		cut = true
	case <-ctx.Done():
		// The group tells why.
	}
	settled = int(n.Load())
	if cut {
		stop()
	}
	hangUp()
	if err = g.Wait(); cut && errors.Is(err, context.Canceled) {
		err = nil
	}
	return settled, cut, err
}

// timing has tasks fall due at random moments, and sums up how late they were.
func (d *Doer) timing(ctx context.Context, res *Result) error {
	var mu sync.Mutex
	late := make([]time.Duration, 0, d.job.Tasks)
	handle := func(got Delivery) bool {
		by := time.Since(got.Due)
		mu.Lock()
		defer mu.Unlock()
		late = append(late, by)
		return false
	}
	start := time.Now().Add(timingLead)
	due := func() time.Time { return start.Add(rand.N(d.job.Time)) }
	var err error
	res.Tasks, res.Cut, err = d.consume(ctx, handle, func(ctx context.Context) error {
		return d.putAll(ctx, d.job.Tasks, preloadCallers, preloadBatch, due)
	})
	mu.Lock()
	defer mu.Unlock()
	res.Late = latenessOf(late)
	return err
}

// loop has every task fail once.
func (d *Doer) loop(ctx context.Context, res *Result) error {
	failed := make([]atomic.Bool, d.job.Tasks)
	var err error
	handle := func(got Delivery) bool {
		i := got.Index - d.job.First
		if i < 0 || i >= len(failed) {
			return false
		}
		return failed[i].CompareAndSwap(false, true)
	}
	if d.job.Kind == Loop {
		if c, ok := d.driver.(FirstAttempter); ok && c.TakesFirstAttempts() {
			handle = func(Delivery) bool { return false }
		}
	}
	res.Tasks, res.Cut, err = d.consume(ctx, handle, func(ctx context.Context) error {
		return d.putAll(ctx, d.job.Tasks, preloadCallers, preloadBatch, func() time.Time { return time.Time{} })
	})
	return err
}

// Coarse is a Driver whose tasks fall due up to a grain after their time.
type Coarse interface {
	Grain() time.Duration
}

// FirstAttempter is a Driver whose system takes word of first attempts that their
// callers have made, as [Task.FirstFailed] says.
type FirstAttempter interface {
	TakesFirstAttempts() bool
}

// wait waits, or returns why ctx ended first.
func wait(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
