package simulation

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// Result is what became of a seed.
type Result struct {
	Plan string
	// Problem is the first thing found that must not be, empty when there is none.
	Problem string
	// Log tells all that happened, an event a line.
	Log []string
	// Figures count what was tried.
	Figures Figures
}

// Figures are what the runs of seeds add up to.
type Figures struct {
	Reports, Effects, Duplicates, HandOuts, Expiries, Stale, Faults, Events int
}

// Add adds those of another run.
func (f *Figures) Add(g Figures) {
	f.Reports += g.Reports
	f.Effects += g.Effects
	f.Duplicates += g.Duplicates
	f.HandOuts += g.HandOuts
	f.Expiries += g.Expiries
	f.Stale += g.Stale
	f.Faults += g.Faults
	f.Events += g.Events
}

// world is one run: the goroutine that calls its methods is the only one that draws
// from the seed, writes to the store, and enters what has happened.
type world struct {
	t     *testing.T
	ctx   context.Context
	rng   *rand.Rand
	plan  plan
	began time.Time

	db       *database
	net      *network
	ledger   *ledger
	replicas []*replica
	workers  []*worker
	books    []*book
	// hints are what the store has told of since the last look.
	hints chan scheduler.Hint

	events events
	seq    int
	// healed says that the faults are over.
	healed bool

	mu       sync.Mutex
	finished []*call
	calls    int

	log     []string
	figures Figures
	problem string
}

// Run runs a seed in a bubble of virtual time. The same seed gives the same log:
// everything is drawn by one goroutine, at moments when all others wait. The only
// chance left to the engine is what its operation ids and nonces are, which are
// compared and nothing else, and which the log leaves out.
func Run(t *testing.T, seed uint64) (result Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		w.run()
		result = Result{Plan: w.plan.String(), Problem: w.problem, Log: w.log, Figures: w.figures}
	})
	return result
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	w := &world{t: t, rng: rng, plan: draw(rng), began: time.Now(), net: newNetwork(), hints: make(chan scheduler.Hint, 10_000)}
	w.db = newDatabase(w.plan.shards)
	w.ledger = newLedger(w)
	return w
}

// run lets everything happen, and then everything come to its end.
func (w *world) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.ctx = ctx
	w.listen()
	for i := range w.plan.replicas {
		w.replicas = append(w.replicas, newReplica(w, i))
	}
	// Its loops do not tick at whole milliseconds, at which attempts fall due.
	<-time.After(137 * time.Microsecond)
	w.replicas[0].start()
	w.setUp()
	w.schedule()
	w.until(w.began.Add(w.plan.span), func() bool { return false })
	w.drain()
	// Whatever still runs has nothing left to wait for: what does not end now is a
	// leak, which the end of the bubble tells with its stack.
	for _, r := range w.replicas {
		r.kill()
	}
	cancel()
	synctest.Wait()
}

// event is something that the simulation does.
type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []*event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return cmp.Or(h[i].at.Compare(h[j].at), cmp.Compare(h[i].seq, h[j].seq)) < 0
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(*event)) }

func (h *events) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// after has something done d from now, and a part of a millisecond later: what
// falls due does so at whole ones, and nothing is to happen just then.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	d += time.Duration(1+w.rng.IntN(998)) * time.Microsecond
	heap.Push(&w.events, &event{time.Now().Add(d), w.seq, do})
}

// until lets everything happen up to a moment, or until done says that it is enough.
func (w *world) until(end time.Time, done func() bool) {
	for w.problem == "" {
		w.settle()
		now := time.Now()
		if !now.Before(end) || done() {
			return
		}
		next := end
		if len(w.events) > 0 && w.events[0].at.Before(end) {
			next = w.events[0].at
		}
		timer := time.NewTimer(next.Sub(now))
		select {
		case <-w.net.arrived:
		case <-timer.C:
		}
		timer.Stop()
		w.settle()
		for w.problem == "" && len(w.events) > 0 && !w.events[0].at.After(time.Now()) {
			heap.Pop(&w.events).(*event).do()
			w.figures.Events++
			w.settle()
			w.ledger.look()
		}
	}
}

// settle waits until nobody can go on, and takes what they have come up with.
func (w *world) settle() {
	for {
		synctest.Wait()
		again := w.tellHints()
		for _, op := range inOrder(w.net.take()) {
			w.dispatch(op)
		}
		for _, c := range w.takeFinished() {
			c.after()
			again = true
		}
		for _, k := range w.workers {
			again = k.take() || again
		}
		if !again {
			return
		}
	}
}

// inOrder sorts operations that have arrived in the same instant, in whatever order,
// by what they are.
func inOrder(ops []*operation) []*operation {
	if len(ops) > 1 {
		slices.SortStableFunc(ops, func(a, b *operation) int {
			return cmp.Or(cmp.Compare(a.link.replica, b.link.replica), cmp.Compare(a.caller, b.caller), cmp.Compare(a.String(), b.String()))
		})
	}
	return ops
}

// listen gathers the store's hints.
func (w *world) listen() {
	go func() {
		// It ends only with its context.
		_ = w.db.now.Load().Hints(w.ctx, func(h scheduler.Hint) { w.hints <- h }, func() {})
	}()
	synctest.Wait()
}

// tellHints tells the replicas of hints, and says whether there were any.
func (w *world) tellHints() (told bool) {
	for {
		select {
		case h := <-w.hints:
			told = true
			for _, r := range w.replicas {
				if r.up() && w.rng.Float64() >= w.share(w.plan.hints) {
					r.link.tell(h)
				}
			}
		default:
			return told
		}
	}
}

// share is how often a fault comes about now.
func (w *world) share(of float64) float64 {
	if w.healed {
		return 0
	}
	return of
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// between draws a time.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

// note enters what has happened.
func (w *world) note(actor, format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%12.6f  %-10s %s", time.Since(w.began).Seconds(), actor, fmt.Sprintf(format, args...)))
}

// wrong enters what must not be; the first of it ends the run.
func (w *world) wrong(invariant, format string, args ...any) {
	what := invariant + ": " + fmt.Sprintf(format, args...)
	w.note("WRONG", "%s", what)
	if w.problem == "" {
		w.problem = what
	}
}

// call is something asked of a replica, in a goroutine of its own.
type call struct {
	number  int
	replica *replica
	life    int
	then    func(lost bool)
}

// ask has a replica do something, and then, when it has answered, tells the result.
// lost says that it was killed meanwhile, and its answer with it.
func (w *world) ask(r *replica, limit time.Duration, do func(ctx context.Context, s *scheduler.Scheduler), then func(lost bool)) {
	w.calls++
	c := &call{number: w.calls, replica: r, life: r.life, then: then}
	s := r.s
	go func() {
		ctx, cancel := context.WithTimeout(context.WithValue(w.ctx, callKey{}, c.number), limit)
		defer cancel()
		do(ctx, s)
		w.mu.Lock()
		w.finished = append(w.finished, c)
		w.mu.Unlock()
		w.net.signal()
	}()
}

func (c *call) after() { c.then(c.replica.life != c.life) }

func (w *world) takeFinished() []*call {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.finished
	w.finished = nil
	slices.SortFunc(out, func(a, b *call) int { return cmp.Compare(a.number, b.number) })
	return out
}
