package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// site is one Redis and what the replicas on it share.
type site struct {
	t   *testing.T
	cfg redisstore.Config
}

func newSite(t *testing.T, url string, policies ...policy.Policy) *site {
	t.Helper()
	w := &site{t: t, cfg: redisstore.Config{URL: url, Prefix: redistest.Prefix(t), Shards: 4}}
	s := w.replica()
	for _, p := range policies {
		if _, err := s.CreatePolicy(t.Context(), "ns", p); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// replica runs one more scheduler on a store of its own until the test ends.
func (w *site) replica() *scheduler.Scheduler {
	w.t.Helper()
	store := newStore(w.t, w.cfg)
	s, err := scheduler.New(store, scheduler.Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
	})
	return s
}

// fixed is a policy that retries after delay.
func fixed(id string, delay time.Duration) policy.Policy {
	delays := slices.Repeat([]time.Duration{delay}, 1000)
	return policy.Policy{ID: id, DisplayName: id, MaxRetries: 1000, DefaultAction: policy.ActionRetry, Schedule: policy.Schedule{Delays: &policy.DelayList{Delays: delays}}}
}

func failed(id, policyID string) scheduler.Report {
	return scheduler.Report{
		Namespace: "ns", ID: id, Key: "first of " + id,
		Spec:    scheduler.Spec{Queue: "q", Policy: policyID, Payload: []byte("hello")},
		Failure: &policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 500},
	}
}

// outcome reports on a delivery.
func outcome(d scheduler.Delivery, f *policy.Failure) scheduler.Report {
	return scheduler.Report{Namespace: "ns", Token: d.Token, Failure: f}
}

func report(t *testing.T, s *scheduler.Scheduler, r scheduler.Report) {
	t.Helper()
	if _, err := s.Report(t.Context(), r); err != nil {
		t.Fatalf("report: %v", err)
	}
}

func subscribe(s *scheduler.Scheduler, credit int, lease time.Duration) *scheduler.Subscription {
	return s.Subscribe(scheduler.SubscribeOptions{Namespace: "ns", Queues: []string{"q"}, MaxInFlight: credit, Lease: lease, Worker: "w"})
}

// nextOf waits for a delivery.
func nextOf(t *testing.T, sub *scheduler.Subscription) scheduler.Delivery {
	t.Helper()
	patience := time.After(20 * time.Second)
	for {
		if d, ok := sub.Next(); ok {
			return d
		}
		select {
		case <-sub.Ready():
		case <-patience:
			t.Fatal("nothing has been delivered in 20 s")
		}
	}
}

func TestEngineDeliversOnTime(t *testing.T) {
	t.Parallel()
	w := newSite(t, redistest.Shared(t).URL(), fixed("soon", 150*time.Millisecond))
	here, there := w.replica(), w.replica()
	sub := subscribe(there, 10, 30*time.Second)
	for i := range 5 {
		report(t, here, failed(fmt.Sprint("t", i), "soon"))
		d := nextOf(t, sub)
		if now := there.NowMS(); now < d.Task.DueMS {
			t.Errorf("delivered %d ms early", d.Task.DueMS-now)
		}
		if d.Task.Attempt != 2 || d.Task.Delivery != 1 || string(d.Task.Spec.Payload) != "hello" {
			t.Errorf("delivered: %+v", d.Task)
		}
		report(t, here, outcome(d, nil))
	}
}

func TestEngineDeliversAgainAfterTheLease(t *testing.T) {
	t.Parallel()
	w := newSite(t, redistest.Shared(t).URL(), fixed("now", 0))
	first, second := w.replica(), w.replica()
	dies := subscribe(first, 1, 200*time.Millisecond)
	report(t, first, failed("a", "now"))
	lost := nextOf(t, dies)
	dies.SetMaxInFlight(0)
	again := nextOf(t, subscribe(second, 1, 30*time.Second))
	if again.Task.Delivery != 2 || again.Task.Expiries != 1 || again.Task.Attempt != lost.Task.Attempt || again.Task.Fence.Number <= lost.Task.Fence.Number {
		t.Errorf("delivered again: %+v", again.Task)
	}
	_, err := first.Report(t.Context(), outcome(lost, nil))
	if e, ok := errors.AsType[*scheduler.Error](err); !ok || e.Kind != scheduler.KindLeaseLost {
		t.Errorf("report with a lost lease: %v", err)
	}
	report(t, first, outcome(again, nil))
}

func TestEngineReleasesAndExtends(t *testing.T) {
	t.Parallel()
	w := newSite(t, redistest.Shared(t).URL(), fixed("now", 0))
	s, other := w.replica(), w.replica()
	sub := subscribe(s, 1, 300*time.Millisecond)
	report(t, s, failed("a", "now"))
	d := nextOf(t, sub)
	if got := other.Extend(t.Context(), "ns", []string{d.Token}, time.Minute)[0]; got.Err != nil || got.LeaseEndMS < d.Task.LeaseEndMS+50_000 {
		t.Fatalf("extended: %+v", got)
	}
	for range 2 {
		if err := other.Release(t.Context(), "ns", d.Token, 0); err != nil {
			t.Fatal(err)
		}
	}
	// Its credit is freed although the release came to another replica.
	again := nextOf(t, sub)
	if again.Task.Delivery != 2 || again.Task.Expiries != 0 {
		t.Errorf("delivered again: %+v", again.Task)
	}
	report(t, other, outcome(again, &policy.Failure{Cause: policy.CauseTimeout}))
	if third := nextOf(t, sub); third.Task.Attempt != 3 {
		t.Errorf("delivered: %+v", third.Task)
	}
}

// runs counts what workers were given.
type runs struct {
	mu   sync.Mutex
	of   map[string]int
	want int
	all  chan struct{}
}

func newRuns(want int) *runs {
	return &runs{of: make(map[string]int), want: want, all: make(chan struct{})}
}

func (r *runs) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[id]++
	if len(r.of) == r.want && r.of[id] == 1 {
		close(r.all)
	}
}

// work takes deliveries and hands them to handle until all have run.
func (r *runs) work(sub *scheduler.Subscription, handle func(scheduler.Delivery)) {
	for {
		select {
		case <-r.all:
			return
		case <-sub.Ready():
		}
		for {
			d, ok := sub.Next()
			if !ok {
				break
			}
			handle(d)
		}
	}
}

// TestEngineRunsEachTaskOnce has two replicas and eight workers run 10,000 tasks,
// each exactly once when nothing fails.
func TestEngineRunsEachTaskOnce(t *testing.T) {
	t.Parallel()
	const tasks, workers = 10_000, 8
	w := newSite(t, redistest.Start(t).URL(), fixed("now", 0))
	replicas := []*scheduler.Scheduler{w.replica(), w.replica()}
	done := newRuns(tasks)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range workers {
		s := replicas[i%2]
		sub := subscribe(s, 16, 30*time.Second)
		wg.Go(func() {
			done.work(sub, func(d scheduler.Delivery) {
				done.add(d.Task.Key.ID)
				if _, err := s.Report(t.Context(), outcome(d, nil)); err != nil {
					t.Errorf("report: %v", err)
				}
			})
		})
	}
	for from := 0; from < tasks; from += 100 {
		batch := make([]scheduler.Report, 100)
		for i := range batch {
			batch[i] = failed(fmt.Sprint("t", from+i), "now")
		}
		for _, got := range replicas[from/100%2].ReportBatch(t.Context(), batch) {
			if got.Err != nil {
				t.Fatal(got.Err)
			}
		}
	}
	wg.Wait()
	t.Logf("%d tasks reported, run and settled in %s", tasks, time.Since(began).Round(time.Millisecond))
	for id, n := range done.of {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	w.wantEnded(tasks, 1)
}

// wantEnded wants all tasks to have ended well, and nothing left in an index.
func (w *site) wantEnded(tasks, deliveries int) {
	w.t.Helper()
	store := newStore(w.t, w.cfg)
	keys := make([]scheduler.TaskKey, tasks)
	for i := range keys {
		keys[i] = scheduler.TaskKey{Namespace: "ns", ID: fmt.Sprint("t", i)}
	}
	for i, got := range store.Load(w.t.Context(), keys) {
		if got.Err != nil || got.Task == nil || got.Task.State != scheduler.StateSucceeded || (deliveries > 0 && got.Task.Delivery != deliveries) {
			w.t.Fatalf("task %s: %+v, error %v", keys[i].ID, got.Task, got.Err)
		}
	}
	counts, err := store.CountQueues(w.t.Context(), []scheduler.QueueKey{{Namespace: "ns", Name: "q"}})
	if err != nil {
		w.t.Fatal(err)
	}
	if c := counts[0]; c.Waiting+c.Leased+c.Held+c.Dead != 0 || len(c.Open) > 0 {
		w.t.Errorf("left in the queue: %+v", c)
	}
	wantSound(w.t.Context(), w.t, store)
}

// TestEngineOutlivesARestartOfRedis stops Redis, which syncs each write, under
// load: what was acknowledged is run, and all drains by itself.
func TestEngineOutlivesARestartOfRedis(t *testing.T) {
	t.Parallel()
	const tasks = 2000
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	w := newSite(t, server.URL(), fixed("now", 0))
	s := w.replica()
	done := newRuns(tasks)
	sub := subscribe(s, 64, 5*time.Second)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			done.work(sub, func(d scheduler.Delivery) {
				if persist(t, s, outcome(d, nil)) {
					done.add(d.Task.Key.ID)
				}
			})
		})
	}
	for i := range tasks {
		if i == tasks/2 {
			server.Stop(t)
			wg.Go(func() { server.Restart(t) })
		}
		persist(t, s, failed(fmt.Sprint("t", i), "now"))
	}
	wg.Wait()
	w.wantEnded(tasks, 0)
}

// persist reports until the store has answered. It is false when the lease was
// lost meanwhile.
func persist(t *testing.T, s *scheduler.Scheduler, r scheduler.Report) bool {
	t.Helper()
	for {
		_, err := s.Report(t.Context(), r)
		if err == nil {
			return true
		}
		e, ok := errors.AsType[*scheduler.Error](err)
		switch {
		case ok && e.Kind == scheduler.KindUnavailable:
			<-time.After(10 * time.Millisecond)
		case ok && e.Kind == scheduler.KindLeaseLost:
			return false
		default:
			t.Errorf("report: %v", err)
			return false
		}
	}
}
