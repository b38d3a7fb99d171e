package work_test

import (
	"context"
	"sync"
	"time"

	"github.com/retryd/retryd/bench/internal/work"
)

// fake is a system in memory. It hands attempts out at their time plus lag, one
// after the other, and each takes cost.
type fake struct {
	lag, cost time.Duration
	// owners says that it takes first attempts from their callers.
	owners bool
	// put is told of every call.
	put func(tasks []work.Task) error

	mu    sync.Mutex
	tasks []work.Task
	// handled is how many attempts were handed out.
	handled int
}

func (f *fake) Put(_ context.Context, tasks []work.Task) error {
	<-time.After(time.Millisecond)
	if f.put != nil {
		if err := f.put(tasks); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range tasks {
		if f.owners && t.FirstFailed {
			t.Due = time.Now().Add(work.RetryDelay)
		}
		f.tasks = append(f.tasks, t)
	}
	return nil
}

func (f *fake) Finish(ctx context.Context, tasks []work.Task) error { return f.Put(ctx, tasks) }

func (f *fake) TakesFirstAttempts() bool { return f.owners }

func (*fake) Close() error { return nil }

// due takes out a task whose time has come.
func (f *fake) due() *work.Task {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.tasks {
		if t := f.tasks[i]; !time.Now().Before(t.Due.Add(f.lag)) {
			f.tasks = append(f.tasks[:i], f.tasks[i+1:]...)
			f.handled++
			return &t
		}
	}
	return nil
}

func (f *fake) Consume(ctx context.Context, _ int, handle work.Handler, settled func()) error {
	for ctx.Err() == nil {
		t := f.due()
		if t == nil {
			<-time.After(time.Millisecond)
			continue
		}
		<-time.After(f.cost)
		got, err := work.ParseDelivery(t.Payload)
		if err != nil {
			return err
		}
		got.Due = t.Due
		if !handle(got) {
			settled()
			continue
		}
		f.mu.Lock()
		t.Due = time.Now().Add(work.RetryDelay)
		f.tasks = append(f.tasks, *t)
		f.mu.Unlock()
	}
	return nil
}
