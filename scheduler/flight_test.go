package scheduler_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// gated is a store that holds claims of one namespace until it is opened.
type gated struct {
	scheduler.Store
	namespace string
	opened    chan struct{}
	held      atomic.Int32
}

func (g *gated) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	if claims[0].Queue.Namespace == g.namespace {
		g.held.Add(1)
		<-g.opened
	}
	return g.Store.Claim(ctx, claims)
}

// inNamespace has a report and a subscription be of another namespace.
func inNamespace(name string) (func(*scheduler.Report), func(*scheduler.SubscribeOptions)) {
	return func(r *scheduler.Report) { r.Namespace = name }, func(o *scheduler.SubscribeOptions) { o.Namespace = name }
}

// TestClaimsThatTakeLongDelayNoOtherNamespace has the claims of one namespace take a
// minute, as those of a node of a Cluster that hangs do.
func TestClaimsThatTakeLongDelayNoOtherNamespace(t *testing.T) {
	gate := &gated{namespace: "slow"}
	inWorldOn(t, func(s scheduler.Store) scheduler.Store {
		gate.Store, gate.opened = s, make(chan struct{})
		return gate
	}, func(w *world) {
		of, subscribe := inNamespace("slow")
		for _, p := range testPolicies() {
			if _, err := w.s.CreatePolicy(w.ctx, "slow", p); err != nil {
				t.Fatal(err)
			}
		}
		quick := w.worker(10)
		for i := range 5 {
			w.report(failure(fmt.Sprint("slow", i), of))
		}
		slow := w.worker(10, subscribe)
		w.pass(time.Minute)
		for i := range 5 {
			w.report(failure(fmt.Sprint("quick", i), by("now")))
			equal(t, "delivered of", w.next(quick).Task.Key.Namespace, "ns")
			// What falls due beside the claims on their way waits for them.
			w.report(failure(fmt.Sprint("more", i), of, by("now")))
			w.pass(5 * time.Second)
		}
		w.none(slow)
		before := int(gate.held.Load())
		close(gate.opened)
		for range 10 {
			equal(t, "delivered of", w.next(slow).Task.Key.Namespace, "slow")
		}
		equal(t, "claims at once", before, 1)
	})
}

// TestClaimsAreRepeatedWhenTheClockHasGoneBack has a store not answer, and another take
// over then whose clock is behind.
func TestClaimsAreRepeatedWhenTheClockHasGoneBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var behind atomic.Int64
		f := &flaky{Store: memstore.New(memstore.Config{Shards: 1, NowMS: func() int64 { return time.Now().UnixMilli() - behind.Load() }})}
		w := newWorld(t, f)
		sub := w.worker(10)
		w.report(failure("a"))
		f.miss.Store(math.MaxInt32)
		w.pass(2 * time.Minute)
		f.miss.Store(0)
		behind.Store((10 * time.Minute).Milliseconds())
		began := time.Now()
		w.report(failure("b", by("now")))
		equal(t, "delivered", w.next(sub).Task.Key.ID, "b")
		if took := time.Since(began); took > time.Second {
			t.Errorf("delivered after %s", took)
		}
	})
}

// TestOutageIsToldTwice has claims of two namespaces fail in turn.
func TestOutageIsToldTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: memstore.New(memstore.Config{Shards: 3})}
		var told strings.Builder
		s, err := scheduler.New(f, scheduler.Config{Log: slog.New(slog.NewTextHandler(&told, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		w := &world{t: t, ctx: ctx, store: f, s: s}
		subs := make(map[string]*scheduler.Subscription)
		for _, name := range []string{"ns", "other"} {
			of, subscribe := inNamespace(name)
			for _, p := range testPolicies() {
				if _, err := s.CreatePolicy(ctx, name, p); err != nil {
					t.Fatal(err)
				}
			}
			subs[name] = w.worker(10, subscribe)
			w.report(failure("a", of))
		}
		f.lose.Store(7)
		w.pass(2 * time.Minute)
		for name, sub := range subs {
			equal(t, "delivered of", w.next(sub).Task.Key.Namespace, name)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if failing, again := strings.Count(told.String(), "cannot be claimed"), strings.Count(told.String(), "can be claimed again"); failing != 1 || again != 1 {
			t.Errorf("the outage was told %d times, its end %d times:\n%s", failing, again, &told)
		}
	})
}
