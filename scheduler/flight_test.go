package scheduler_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
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

// located is a store with a server for each shard. That of shard 0 carries claims out, and
// does not answer the first for as long as who made it waits for it; what it is asked after
// that it answers when it is let go, if it is waited for.
type located struct {
	scheduler.Store
	letGo chan struct{}

	mu sync.Mutex
	// patience is how long an answer is waited for.
	patience time.Duration
	// moved is whether the shards are at other servers.
	moved bool
	// asked is how often shard 0 was, of which under has not been answered.
	asked, under, mostUnder int
}

func (l *located) Servers(context.Context) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.moved {
		return []string{"d", "e", "f"}
	}
	return []string{"a", "b", "c"}
}

func (l *located) move() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moved = true
}

func (l *located) waitFor(patience time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.patience = patience
}

// most is how many claims of shard 0 there were at once at the most.
func (l *located) most() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mostUnder
}

func (l *located) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	out := l.Store.Claim(ctx, claims)
	if !slices.ContainsFunc(claims, func(c scheduler.Claim) bool { return c.Shard == 0 }) {
		return out
	}
	l.mu.Lock()
	l.asked++
	l.under++
	l.mostUnder = max(l.mostUnder, l.under)
	first, patience := l.asked == 1, l.patience
	l.mu.Unlock()
	letGo := l.letGo
	if first {
		letGo = nil
	}
	select {
	case <-letGo:
	case <-time.After(patience):
		for i := range out {
			out[i] = scheduler.Claimed{Err: errAway}
		}
	}
	l.mu.Lock()
	l.under--
	l.mu.Unlock()
	return out
}

// patience is how long such a store is waited for.
const patience = 250 * time.Millisecond

// inLocatedWorld has the namespaces too.
func inLocatedWorld(t *testing.T, namespaces []string, test func(w *world, l *located)) {
	t.Helper()
	l := &located{}
	l.waitFor(patience)
	inWorldOn(t, func(s scheduler.Store) scheduler.Store {
		l.Store, l.letGo = s, make(chan struct{})
		return l
	}, func(w *world) {
		for _, name := range namespaces {
			for _, p := range testPolicies() {
				if _, err := w.s.CreatePolicy(w.ctx, name, p); err != nil {
					t.Fatal(err)
				}
			}
		}
		test(w, l)
	})
}

// idIn is an id that no other call with the same shard and number returns, of a task in the
// shard.
func idIn(namespace string, shard, number int) string {
	for i := 0; ; i++ {
		id := fmt.Sprint(number, "-", i)
		if scheduler.ShardOf(scheduler.TaskKey{Namespace: namespace, ID: id}, 3) == shard {
			return id
		}
	}
}

// TestClaimsAtAServerThatHangsDelayNoOther has more namespaces wait for such a server than
// claims are made for at once.
func TestClaimsAtAServerThatHangsDelayNoOther(t *testing.T) {
	namespaces := make([]string, 20)
	for i := range namespaces {
		namespaces[i] = fmt.Sprint("ns", i)
	}
	inLocatedWorld(t, namespaces, func(w *world, l *located) {
		subs := make(map[string]*scheduler.Subscription)
		for _, name := range namespaces {
			of, subscribe := inNamespace(name)
			subs[name] = w.worker(10, subscribe)
			w.report(failure(idIn(name, 0, 0), of, by("now")))
		}
		// Those of the first claim would be due again when its leases have ended.
		w.pass(10 * time.Second)
		for round := range 3 {
			for _, name := range namespaces {
				of, _ := inNamespace(name)
				for shard := 1; shard < 3; shard++ {
					id := idIn(name, shard, 1+round)
					w.report(failure(id, of, by("now")))
					began := time.Now()
					equal(t, "delivered", w.next(subs[name]).Task.Key.ID, id)
					if took := time.Since(began); took > patience {
						t.Errorf("%s of %s is delivered after %s", id, name, took)
					}
				}
			}
		}
		if l.most() > 8 {
			t.Errorf("%d claims at once are on their way to a server that hangs", l.most())
		}
		close(l.letGo)
		for _, name := range namespaces {
			equal(t, "delivered in the end", w.next(subs[name]).Task.Key.ID, idIn(name, 0, 0))
			w.none(subs[name])
		}
	})
}

// TestClaimOnItsWayIsNotMadeAgain has shards move to other servers meanwhile.
func TestClaimOnItsWayIsNotMadeAgain(t *testing.T) {
	inLocatedWorld(t, nil, func(w *world, l *located) {
		sub := w.worker(10)
		w.report(failure(idIn("ns", 0, 0), by("now")))
		synctest.Wait()
		l.waitFor(time.Hour)
		w.pass(5 * time.Second)
		l.move()
		for i := range 3 {
			w.report(failure(idIn("ns", 0, 1+i), by("now")))
			w.pass(2 * time.Second)
			w.report(failure(idIn("ns", 1, i), by("now")))
			equal(t, "delivered meanwhile", w.next(sub).Task.Key.ID, idIn("ns", 1, i))
		}
		equal(t, "claims of a shard at once", l.most(), 1)
		close(l.letGo)
		for i := range 4 {
			d := w.next(sub)
			equal(t, "delivered", d.Task.Key.ID, idIn("ns", 0, i))
			equal(t, "for the first time", d.Task.Delivery, 1)
		}
		w.none(sub)
	})
}

// refusing is a store that leaves what is to be given back unanswered, and undone.
type refusing struct {
	scheduler.Store
	away atomic.Bool
}

func (r *refusing) Commit(ctx context.Context, changes []scheduler.Change) []scheduler.Committed {
	for _, c := range changes {
		if r.away.Load() && c.Before != nil && c.Before.State == scheduler.StateLeased && c.Task.State == scheduler.StateScheduled {
			out := make([]scheduler.Committed, len(changes))
			for i := range out {
				out[i].Err = errAway
			}
			return out
		}
	}
	return r.Store.Commit(ctx, changes)
}

// TestWhatFindsNoRoomIsGivenBackInTheEnd loses the answer to a claim, and those to the first
// tries to give back what it has taken, for which there is no credit any more by then.
func TestWhatFindsNoRoomIsGivenBackInTheEnd(t *testing.T) {
	l, r := &located{}, &refusing{}
	l.waitFor(patience)
	inWorldOn(t, func(s scheduler.Store) scheduler.Store {
		l.letGo = make(chan struct{})
		l.Store, r.Store = s, l
		return r
	}, func(w *world) {
		w.report(failure(idIn("ns", 0, 0), by("now")))
		sub := w.worker(1)
		w.pass(time.Second)
		w.report(failure(idIn("ns", 1, 1), by("now")))
		other := w.next(sub)
		equal(t, "delivered", other.Task.Key.ID, idIn("ns", 1, 1))
		r.away.Store(true)
		close(l.letGo)
		w.pass(5 * time.Second)
		w.none(sub)
		r.away.Store(false)
		w.pass(5 * time.Second)
		w.report(success("", with(other)))
		d := w.next(sub)
		equal(t, "delivered", d.Task.Key.ID, idIn("ns", 0, 0))
		equal(t, "for the first time", d.Task.Delivery, 1)
		equal(t, "leases that have expired", d.Task.Expiries, 0)
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
