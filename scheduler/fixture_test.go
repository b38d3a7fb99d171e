package scheduler_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// world is a scheduler over a store in memory, in a bubble of virtual time.
type world struct {
	t     *testing.T
	ctx   context.Context
	store scheduler.Store
	s     *scheduler.Scheduler
}

// inWorld runs test in a bubble in which a scheduler runs that knows the
// policies of testPolicies.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Config{Shards: 3}))
		test(w)
	})
}

// inWorldOn is inWorld on what wrap makes of the store.
func inWorldOn(t *testing.T, wrap func(scheduler.Store) scheduler.Store, test func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wrap(memstore.New(memstore.Config{Shards: 3})))
		test(w)
	})
}

func newWorld(t *testing.T, store scheduler.Store) *world {
	t.Helper()
	return newObservedWorld(t, store, nil)
}

// newObservedWorld is newWorld with an observer of its scheduler.
func newObservedWorld(t *testing.T, store scheduler.Store, o scheduler.Observer) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), store: store}
	w.s = w.anotherWith(o)
	for _, p := range testPolicies() {
		if _, err := w.s.CreatePolicy(w.ctx, "ns", p); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// another runs one more scheduler over the same store, as another replica does.
func (w *world) another() *scheduler.Scheduler {
	w.t.Helper()
	return w.anotherWith(nil)
}

// anotherWith is another with an observer.
func (w *world) anotherWith(o scheduler.Observer) *scheduler.Scheduler {
	w.t.Helper()
	s, err := scheduler.New(w.store, scheduler.Config{Log: slog.New(slog.DiscardHandler), Observer: o})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	synctest.Wait()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	return s
}

func testPolicies() []policy.Policy {
	fixed := func(id string) policy.Policy {
		return policy.Policy{
			ID: id, DisplayName: id, MaxRetries: 3, DefaultAction: policy.ActionRetry,
			Schedule: policy.Schedule{Fixed: &policy.FixedDelay{Delay: time.Minute}},
		}
	}
	holds := fixed("holds")
	holds.Rules = []policy.Rule{{Name: "wait", Action: policy.ActionHold, HoldCondition: "fix", Match: policy.Match{Outcomes: []string{"hold"}}}}
	night := fixed("night")
	night.PauseWindows = []policy.PauseWindow{{Start: "20:00", End: "08:00", TimeZone: "UTC"}}
	fragile := fixed("fragile")
	fragile.MaxLeaseExpiries = 2
	now := fixed("now")
	now.MaxRetries, now.Schedule = 1000, policy.Schedule{Delays: &policy.DelayList{Delays: make([]time.Duration, 1000)}}
	return []policy.Policy{fixed("minute"), {ID: "never", DisplayName: "never", DefaultAction: policy.ActionRetry}, holds, night, fragile, now}
}

// failure is a report of a failed attempt.
func failure(id string, change ...func(*scheduler.Report)) scheduler.Report {
	r := scheduler.Report{
		Namespace: "ns", ID: id,
		Spec:    scheduler.Spec{Queue: "q", Policy: "minute", Payload: []byte("hello")},
		Failure: &policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 500},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// success is a report of an attempt that succeeded.
func success(id string, change ...func(*scheduler.Report)) scheduler.Report {
	r := failure(id, change...)
	r.Failure = nil
	return r
}

func attempt(n int) func(*scheduler.Report) { return func(r *scheduler.Report) { r.Attempt = n } }

func keyed(key string) func(*scheduler.Report) { return func(r *scheduler.Report) { r.Key = key } }

func by(policyID string) func(*scheduler.Report) {
	return func(r *scheduler.Report) { r.Spec.Policy = policyID }
}

func outcome(name string) func(*scheduler.Report) {
	return func(r *scheduler.Report) {
		r.Failure = &policy.Failure{Cause: policy.CauseOutcome, Outcome: name}
	}
}

// bare leaves the spec out.
func bare(r *scheduler.Report) { r.Spec = scheduler.Spec{} }

// with gives a lease token, and nothing else that names the task.
func with(d scheduler.Delivery) func(*scheduler.Report) {
	return func(r *scheduler.Report) { r.Token, r.Spec, r.ID = d.Token, scheduler.Spec{}, "" }
}

// pass lets virtual time pass, and all that it brings happen.
func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (w *world) report(r scheduler.Report) scheduler.Answer {
	w.t.Helper()
	a, err := w.s.Report(w.ctx, r)
	if err != nil {
		w.t.Fatalf("report of %s: %v", r.ID, err)
	}
	return a
}

// refused reports and wants an error of that kind, and that the task stays as it
// is.
func (w *world) refused(r scheduler.Report, want scheduler.Kind) details {
	w.t.Helper()
	before := w.load(r.ID)
	_, err := w.s.Report(w.ctx, r)
	e := kindOf(w.t, err, want)
	if after := w.load(r.ID); after != before {
		w.t.Errorf("a refused report has changed the task:\nfrom %+v\n  to %+v", before, after)
	}
	return e
}

// details are what an error tells programs.
type details struct {
	Metadata   map[string]string
	Violations []policy.Violation
}

// kindOf wants err to be an error of that kind.
func kindOf(t *testing.T, err error, want scheduler.Kind) details {
	t.Helper()
	var e *scheduler.Error
	if !errors.As(err, &e) || e.Kind != want {
		t.Fatalf("error %v, want one of kind %d", err, want)
	}
	return details{e.Metadata, e.Violations}
}

// load returns the task as the store has it; the same pointer means unchanged.
func (w *world) load(id string) *scheduler.Task {
	return w.store.Load(w.ctx, []scheduler.TaskKey{{Namespace: "ns", ID: id}})[0].Task
}

func (w *world) wantState(id string, want scheduler.State) *scheduler.Task {
	w.t.Helper()
	t := w.load(id)
	if t == nil {
		w.t.Fatalf("there is no task %s, want %s", id, want)
	}
	if t.State != want {
		w.t.Fatalf("task %s is %s, want %s", id, t.State, want)
	}
	return t
}

// worker subscribes to queue q.
func (w *world) worker(credit int, change ...func(*scheduler.SubscribeOptions)) *scheduler.Subscription {
	w.t.Helper()
	opts := scheduler.SubscribeOptions{Namespace: "ns", Queues: []string{"q"}, MaxInFlight: credit, Lease: 30 * time.Second, Worker: "w"}
	for _, c := range change {
		c(&opts)
	}
	return w.s.Subscribe(opts)
}

// next waits for a delivery as long as it takes.
func (w *world) next(sub *scheduler.Subscription) scheduler.Delivery {
	w.t.Helper()
	for {
		if d, ok := sub.Next(); ok {
			return d
		}
		select {
		case <-sub.Ready():
		case <-time.After(100 * 24 * time.Hour):
			w.t.Fatal("nothing has been delivered in 100 days")
		}
	}
}

// none wants that nothing waits to be taken, now that all has settled.
func (w *world) none(sub *scheduler.Subscription) {
	w.t.Helper()
	synctest.Wait()
	if d, ok := sub.Next(); ok {
		w.t.Fatalf("delivered: attempt %d of %s, delivery %d", d.Task.Attempt, d.Task.Key.ID, d.Task.Delivery)
	}
}

// sameAnswer wants b to be the first answer a again, marked a duplicate.
func (w *world) sameAnswer(a, b scheduler.Answer) {
	w.t.Helper()
	if !b.Duplicate {
		w.t.Errorf("not marked a duplicate: %+v", b)
	}
	a.Duplicate, b.Duplicate = false, false
	equal(w.t, "answer", b, a)
}
