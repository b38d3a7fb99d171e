package client_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/client"
)

// told is a WithSettled that passes results on.
func told(n int) (chan client.Settled, client.WorkerOption) {
	c := make(chan client.Settled, n)
	return c, client.WithSettled(func(s client.Settled) { c <- s })
}

func explode(v any) error {
	panic(v) //nolint:forbidigo // what a handler may do
}

func TestWorkerReportsWhatHandlersReturn(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, test := range map[string]struct {
		handle func() error
		// want is the decision, the state and the failure that follow.
		decision string
		state    client.State
		cause    client.Cause
		message  string
	}{
		"nothing":            {func() error { return nil }, "", client.StateSucceeded, nil, ""},
		"an error":           {func() error { return boom }, "attempt 3 in 1h0m0s", client.StateScheduled, client.OutcomeCause("error"), "boom"},
		"a failure":          {func() error { return client.HTTPFailure(503, "7200") }, "attempt 3 in 2h0m0s", client.StateScheduled, client.HTTPCause{Status: 503, RetryAfter: "7200"}, ""},
		"a timeout":          {func() error { return context.DeadlineExceeded }, "attempt 3 in 1h0m0s", client.StateScheduled, client.TimeoutCause{}, "context deadline exceeded"},
		"for good":           {func() error { return client.Permanent(boom) }, "dead letter: NON_RETRYABLE", client.StateDead, client.OutcomeCause("error"), "boom"},
		"a panic":            {func() error { return explode("oh no") }, "attempt 3 in 1h0m0s", client.StateScheduled, client.OutcomeCause("panic"), "panic: oh no"},
		"a nil error":        {func() error { return (*sdkError)(nil) }, "attempt 3 in 1h0m0s", client.StateScheduled, client.OutcomeCause("panic"), "panic: runtime error: invalid memory address or nil pointer dereference"},
		"an end":             {func() error { runtime.Goexit(); return nil }, "attempt 3 in 1h0m0s", client.StateScheduled, client.OutcomeCause("panic"), "panic: the handler called runtime.Goexit"},
		"a nonsense":         {func() error { return client.HTTPFailure(7, "") }, "attempt 3 in 1h0m0s", client.StateScheduled, client.OutcomeCause("error"), ""},
		"hand back":          {func() error { return client.Release(time.Hour) }, "", client.StateScheduled, nil, ""},
		"hand back, wrapped": {func() error { return fmt.Errorf("busy: %w", client.Release(time.Hour)) }, "", client.StateScheduled, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newSite(t).client(t)
				policy(t, c, time.Hour, 5)
				fail(t, c, "q", "t")
				results, tell := told(1)
				w := work(t, c, []string{"other", "q"}, func(_ context.Context, a *client.Attempt) error {
					if a.TaskID != "t" || a.Queue != "q" || a.Number != 2 || a.Delivery != 1 || string(a.Payload) != "payload of t" {
						t.Errorf("attempt is %+v", a)
					}
					return test.handle()
				}, tell)
				// An hour in a bubble passes at once, but is more than a minute.
				r := <-results
				n := stateOf(t, c, "t")
				if n.State != test.state {
					t.Errorf("state is %s, want %s", n.State, test.state)
				}
				if r.Decision != nil != (test.decision != "") || r.Decision != nil && r.Decision.String() != test.decision {
					t.Errorf("decision is %v, want %s", r.Decision, test.decision)
				}
				if test.state == client.StateSucceeded && (r.Completion == nil || r.Completion.Attempts != 2) {
					t.Errorf("completion is %+v", r.Completion)
				}
				if released := strings.HasPrefix(name, "hand back"); released != r.Released {
					t.Errorf("released: %t", r.Released)
				} else if released && (n.Attempt != 2 || n.DueIn != time.Hour) {
					t.Errorf("attempt %d is due in %s", n.Attempt, n.DueIn)
				}
				if r.Refused != nil || r.Attempt.TaskID != "t" {
					t.Errorf("result is %+v", r)
				}
				if test.decision != "" && test.state == client.StateScheduled {
					again, err := c.NextAttempt(t.Context(), client.Next{Queue: "q"})
					if err != nil || again.Leased != nil {
						t.Errorf("it is due already: %+v, %v", again, err)
					}
				}
				if err := w.stop(); err != nil {
					t.Error(err)
				}
				if test.cause == nil || test.state != client.StateScheduled {
					return
				}
				n, err := c.NextAttempt(t.Context(), client.Next{TaskID: "t", Wait: time.Minute})
				for err == nil && !n.Due {
					n, err = c.NextAttempt(t.Context(), client.Next{TaskID: "t", Wait: time.Minute})
				}
				if err == nil {
					n, err = c.NextAttempt(t.Context(), client.Next{TaskID: "t", Lease: time.Minute})
				}
				if err != nil {
					t.Fatal(err)
				}
				if f := n.Leased.LastFailure; f.Cause != test.cause || f.Message != test.message {
					t.Errorf("failure is %v, %q; want %v, %q", f.Cause, f.Message, test.cause, test.message)
				}
			})
		})
	}
}

func TestWorkerRenewsLeasesForHours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newSite(t).client(t)
		policy(t, c, time.Second, 5)
		for i := range 5 {
			fail(t, c, "q", fmt.Sprint("t", i))
		}
		results, tell := told(10)
		var begun atomic.Int32
		work(t, c, []string{"q"}, func(ctx context.Context, _ *client.Attempt) error {
			begun.Add(1)
			select {
			case <-time.After(time.Hour):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			// Two wait at hand all the time, and their leases are renewed too.
		}, tell, client.WithMaxInFlight(5), client.WithConcurrency(3))
		for range 5 {
			if r := <-results; r.Completion == nil || r.Attempt.Delivery != 1 {
				t.Errorf("result is %+v of delivery %d", r, r.Attempt.Delivery)
			}
		}
		if begun.Load() != 5 {
			t.Errorf("%d handlers ran", begun.Load())
		}
	})
}

// A worker that dies in a handler leaves its lease behind.
func TestWorkerThatDies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		policy(t, s.client(t), time.Second, 1)
		fail(t, s.client(t), "q", "t")

		doomed := s.client(t)
		begun := make(chan time.Time)
		forget := make(chan struct{})
		dying := work(t, doomed, []string{"q"}, func(context.Context, *client.Attempt) error {
			begun <- time.Now()
			<-forget
			return nil
		}, client.WithShutdownTimeout(0), client.WithLeaseDuration(10*time.Second))
		since := <-begun
		_ = doomed.Close() // nothing goes out any more

		results, tell := told(1)
		work(t, s.client(t), []string{"q"}, func(_ context.Context, a *client.Attempt) error {
			if took := time.Since(since); took < 10*time.Second || took > 12*time.Second {
				t.Errorf("it was handed out again after %s", took)
			}
			if a.Number != 2 || a.Delivery != 2 || a.RetriesLeft != 0 {
				t.Errorf("attempt %d, delivery %d, %d retries left", a.Number, a.Delivery, a.RetriesLeft)
			}
			return nil
		}, tell)
		if r := <-results; r.Completion == nil || r.Completion.Attempts != 2 {
			t.Errorf("result is %+v", r)
		}
		close(forget)
		if err := dying.stop(); err == nil {
			t.Error("a worker whose result was not confirmed ended well")
		}
	})
}

func TestWorkerComesBackToARestartedServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.client(t)
		policy(t, c, time.Second, 5)
		var runs atomic.Int32
		release := make(chan struct{})
		results, tell := told(10)
		w := work(t, c, []string{"q"}, func(ctx context.Context, a *client.Attempt) error {
			runs.Add(1)
			if a.TaskID == "long" {
				<-release
			}
			return ctx.Err()
		}, tell)
		fail(t, c, "q", "long")
		for i := range 5 {
			time.Sleep(2 * time.Second) //nolint:forbidigo // the time of a bubble
			// The handler of "long" runs through all of this, and its result is
			// taken by another process than the one that handed it out.
			s.stop()
			time.Sleep(5 * time.Second) //nolint:forbidigo // the time of a bubble
			s.serve()
			id := fmt.Sprint("t", i)
			fail(t, c, "q", id)
			if r := <-results; r.Attempt.TaskID != id || r.Completion == nil {
				t.Errorf("result is %+v", r)
			}
		}
		close(release)
		if r := <-results; r.Attempt.TaskID != "long" || r.Completion == nil {
			t.Errorf("result is %+v", r)
		}
		if runs.Load() != 6 {
			t.Errorf("%d handlers ran, want 6", runs.Load())
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWorkerWithABadSubscriptionEnds(t *testing.T) {
	t.Parallel()
	c := newSite(t).client(t)
	w := work(t, c, []string{"no such name"}, nil)
	<-w.done
	if !errors.Is(w.err, client.ErrInvalidRequest) || status.Code(w.err) != codes.InvalidArgument {
		t.Errorf("error is %v", w.err)
	}
	for name, opts := range map[string][]client.WorkerOption{
		"in flight":   {client.WithMaxInFlight(1001)},
		"concurrency": {client.WithConcurrency(33)},
		"negative":    {client.WithConcurrency(-1)},
		"lease":       {client.WithLeaseDuration(time.Millisecond)},
	} {
		if _, err := client.NewWorker(c, []string{"q"}, opts...); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if _, err := client.NewWorker(c, nil); err == nil {
		t.Error("a worker without queues is taken")
	}
}

func TestWorkerRunsOnceAtATime(t *testing.T) {
	t.Parallel()
	c := newSite(t).client(t)
	policy(t, c, time.Millisecond, 5)
	begun, end := make(chan struct{}), make(chan struct{})
	w, err := client.NewWorker(c, []string{"q"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- w.Run(ctx, func(context.Context, *client.Attempt) error {
			close(begun)
			<-end
			return nil
		})
	}()
	fail(t, c, "q", "t")
	<-begun
	if err := w.Run(ctx, nil); err == nil {
		t.Error("it runs twice")
	}
	close(end)
	cancel()
	if err := recv(t, done); err != nil {
		t.Error(err)
	}
	if err := w.Run(ctx, nil); err != nil {
		t.Errorf("it does not run again: %v", err)
	}
}

// Every task is made once, on whatever stream it comes.
func TestManyTasksRunOnceEach(t *testing.T) {
	t.Parallel()
	tasks := 10_000
	if testing.Short() || raceEnabled {
		tasks = 2000
	}
	s := newSite(t)
	c := s.client(t)
	policy(t, c, time.Millisecond, 5)
	var (
		mu    sync.Mutex
		times = make(map[string]int, tasks)
		all   = make(chan struct{})
	)
	handle := func(_ context.Context, a *client.Attempt) error {
		mu.Lock()
		defer mu.Unlock()
		times[a.TaskID]++
		if len(times) == tasks && times[a.TaskID] == 1 {
			close(all)
		}
		return nil
	}
	// Four streams on connections of their own, two handlers each.
	var workers []*running
	for range 4 {
		workers = append(workers, work(t, s.client(t), []string{"q"}, handle, client.WithConcurrency(2)))
	}
	for begin := 0; begin < tasks; begin += 500 {
		var reports []client.Report
		for i := range 500 {
			reports = append(reports, client.Report{
				Task: client.Task{ID: fmt.Sprint("t", begin+i), Queue: "q", Policy: "p"}, Err: client.TimeoutFailure(), Attempt: 1,
			})
		}
		res, err := c.ReportBatch(t.Context(), reports)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	recv(t, all)
	for _, w := range workers {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s was made %d times", id, n)
		}
	}
	for i := range tasks {
		if n := stateOf(t, c, fmt.Sprint("t", i)); n.State != client.StateSucceeded {
			t.Fatalf("t%d is %s", i, n.State)
		}
	}
}
