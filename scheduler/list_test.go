package scheduler_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// counting is a store that counts what is asked of it.
type counting struct {
	*memstore.Store
	loads, parts, places, claims atomic.Int64
}

func (c *counting) Load(ctx context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	c.loads.Add(int64(len(keys)))
	return c.Store.Load(ctx, keys)
}

func (c *counting) Browse(ctx context.Context, parts []scheduler.Part) []scheduler.Browsed {
	c.parts.Add(int64(len(parts)))
	out := c.Store.Browse(ctx, parts)
	for _, got := range out {
		c.places.Add(int64(len(got.Places)))
	}
	return out
}

func (c *counting) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	c.claims.Add(int64(len(claims)))
	return c.Store.Claim(ctx, claims)
}

// inCountingWorld is inWorld on a store that counts.
func inCountingWorld(t *testing.T, test func(w *world, c *counting)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &counting{Store: memstore.New(memstore.Config{Shards: 4})}
		test(newWorld(t, c), c)
	})
}

// all reports many tasks at once.
func (w *world) all(n int, report func(i int) scheduler.Report) {
	w.t.Helper()
	reports := make([]scheduler.Report, n)
	for i := range reports {
		reports[i] = report(i)
	}
	for _, got := range w.s.ReportBatch(w.ctx, reports) {
		if got.Err != nil {
			w.t.Fatal(got.Err)
		}
	}
}

// deadLetters makes n of them in queue q.
func (w *world) deadLetters(n int) {
	w.t.Helper()
	w.all(n, func(i int) scheduler.Report {
		return failure(fmt.Sprintf("dead%05d", i), by("never"))
	})
}

// held reports a failure that holds the task for the condition "fix".
func held(r *scheduler.Report) {
	by("holds")(r)
	outcome("hold")(r)
}

func grouped(name string) func(*scheduler.Report) {
	return func(r *scheduler.Report) { r.Spec.Group = name }
}

// list lists all tasks of a filter, in pages, and calls between after each.
func (w *world) list(f scheduler.TaskFilter, limit func() int, between func()) []*scheduler.Task {
	w.t.Helper()
	var out []*scheduler.Task
	var after scheduler.Cursor
	for range 10_000 {
		n := limit()
		page, err := w.s.Tasks(w.ctx, "ns", f, after, n)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(page.Tasks) > n {
			w.t.Fatalf("a page of %d holds %d", n, len(page.Tasks))
		}
		out = append(out, page.Tasks...)
		if page.Next == (scheduler.Cursor{}) {
			return out
		}
		after = page.Next
		between()
	}
	w.t.Fatal("the list has no end")
	return nil
}

func (w *world) listIDs(f scheduler.TaskFilter, limit int) []string {
	w.t.Helper()
	return idsOf(w.list(f, func() int { return limit }, func() {}))
}

func idsOf(tasks []*scheduler.Task) []string {
	out := []string{}
	for _, t := range tasks {
		out = append(out, t.Key.ID)
	}
	return out
}

// zoo makes tasks in all live states in several queues, and returns all of them in
// the order of lists.
func (w *world) zoo() []*scheduler.Task {
	w.t.Helper()
	var ids []string
	for _, queue := range []string{"", "b", "a/x", "a"} {
		for i := range 7 {
			for name, how := range map[string]func(*scheduler.Report){"dead": by("never"), "held": held, "due": by("now"), "later": by("minute")} {
				id := fmt.Sprint(queue, "-", name, "-", i)
				w.report(failure(id, in(queue), how, grouped(fmt.Sprint("g", i%2))))
				ids = append(ids, id)
			}
			if i%3 == 0 {
				w.pass(time.Millisecond)
			}
		}
	}
	for _, i := range []int{1, 2} {
		w.ask(scheduler.NextRequest{TaskID: fmt.Sprint("a-due-", i), Lease: time.Hour, Worker: "w"})
	}
	w.report(success("ended", in("a")))
	// Another namespace's tasks are nobody's business here.
	other := failure("other", in("a"))
	other.Namespace = "ns2"
	other.Spec.Policy = "never"
	if _, err := w.s.CreatePolicy(w.ctx, "ns2", testPolicies()[1]); err != nil {
		w.t.Fatal(err)
	}
	w.report(other)
	var tasks []*scheduler.Task
	for _, id := range ids {
		tasks = append(tasks, w.load(id))
	}
	kind := func(t *scheduler.Task) int { return max(int(t.State), int(scheduler.StateLeased)) }
	at := func(t *scheduler.Task) int64 {
		if ms, ok := t.LookMS(); ok {
			return ms
		}
		return t.HoldMS + t.EndMS
	}
	slices.SortFunc(tasks, func(a, b *scheduler.Task) int {
		return cmp.Or(cmp.Compare(a.Spec.Queue, b.Spec.Queue), cmp.Compare(kind(a), kind(b)),
			cmp.Compare(at(a), at(b)), cmp.Compare(a.Key.ID, b.Key.ID))
	})
	return tasks
}

func TestTasksAreListedInOrder(t *testing.T) {
	inWorld(t, func(w *world) {
		want := w.zoo()
		for _, limit := range []int{1, 3, 50, 1000} {
			got := w.list(scheduler.TaskFilter{}, func() int { return limit }, func() {})
			equal(t, fmt.Sprint("by ", limit), idsOf(got), idsOf(want))
			for _, task := range got {
				if task.Spec.Payload != nil || task.History != nil {
					t.Fatalf("%s is listed with its payload or history", task.Key.ID)
				}
			}
		}
		if task := w.load("a-dead-0"); task.Spec.Payload == nil || task.History == nil {
			t.Error("the task itself has lost its payload or history")
		}
	})
}

func TestTasksByFilter(t *testing.T) {
	inWorld(t, func(w *world) {
		zoo := w.zoo()
		alike := w.load("a-dead-0").Fingerprint
		w.report(failure("another", in("a"), by("never"), outcome("other")))
		for name, c := range map[string]struct {
			filter scheduler.TaskFilter
			match  func(t *scheduler.Task) bool
		}{
			"scheduled":         {scheduler.TaskFilter{State: scheduler.StateScheduled}, func(t *scheduler.Task) bool { return t.State == scheduler.StateScheduled }},
			"leased":            {scheduler.TaskFilter{State: scheduler.StateLeased}, func(t *scheduler.Task) bool { return t.State == scheduler.StateLeased }},
			"held":              {scheduler.TaskFilter{State: scheduler.StateHeld}, func(t *scheduler.Task) bool { return t.State == scheduler.StateHeld }},
			"queue":             {scheduler.TaskFilter{Queue: "a/x"}, func(t *scheduler.Task) bool { return t.Spec.Queue == "a/x" }},
			"queue and state":   {scheduler.TaskFilter{Queue: "b", State: scheduler.StateHeld}, func(t *scheduler.Task) bool { return t.Spec.Queue == "b" && t.State == scheduler.StateHeld }},
			"fingerprint":       {scheduler.TaskFilter{Fingerprint: alike}, func(t *scheduler.Task) bool { return t.State == scheduler.StateDead }},
			"and queue":         {scheduler.TaskFilter{Fingerprint: alike, Queue: "b"}, func(t *scheduler.Task) bool { return t.State == scheduler.StateDead && t.Spec.Queue == "b" }},
			"group":             {scheduler.TaskFilter{Group: "g1"}, func(t *scheduler.Task) bool { return t.Spec.Group == "g1" }},
			"policy":            {scheduler.TaskFilter{Policy: "holds"}, func(t *scheduler.Task) bool { return t.Spec.Policy == "holds" }},
			"dead reason":       {scheduler.TaskFilter{DeadReason: policy.ReasonRetriesExhausted, Queue: "a/x"}, func(t *scheduler.Task) bool { return t.State == scheduler.StateDead && t.Spec.Queue == "a/x" }},
			"no such reason":    {scheduler.TaskFilter{DeadReason: policy.ReasonDeadline}, func(*scheduler.Task) bool { return false }},
			"no such queue":     {scheduler.TaskFilter{Queue: "none"}, func(*scheduler.Task) bool { return false }},
			"no such job":       {scheduler.TaskFilter{Job: "none"}, func(*scheduler.Task) bool { return false }},
			"no environment":    {scheduler.TaskFilter{Environment: "none"}, func(*scheduler.Task) bool { return false }},
			"no such print":     {scheduler.TaskFilter{Fingerprint: 1, Queue: "a"}, func(*scheduler.Task) bool { return false }},
			"no such condition": {scheduler.TaskFilter{Condition: "none"}, func(*scheduler.Task) bool { return false }},
		} {
			var want []*scheduler.Task
			for _, task := range zoo {
				if c.match(task) {
					want = append(want, task)
				}
			}
			for _, limit := range []int{1, 4, 1000} {
				equal(t, fmt.Sprint(name, " by ", limit), w.listIDs(c.filter, limit), idsOf(want))
			}
		}
	})
}

func TestTasksByCondition(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 20 {
			w.report(failure(fmt.Sprintf("held%02d", i), held, in(fmt.Sprint("q", i%2))))
			if i%4 == 0 {
				w.pass(time.Millisecond)
			}
		}
		var all, odd []string
		for i := range 20 {
			id := fmt.Sprintf("held%02d", i)
			all = append(all, id)
			if i%2 == 1 {
				odd = append(odd, id)
			}
		}
		equal(t, "over all queues, by time", w.listIDs(scheduler.TaskFilter{Condition: "fix"}, 3), all)
		equal(t, "of one queue", w.listIDs(scheduler.TaskFilter{Condition: "fix", Queue: "q1"}, 3), odd)
		equal(t, "with the state", w.listIDs(scheduler.TaskFilter{Condition: "fix", State: scheduler.StateHeld}, 1000), all)
	})
}

func TestFilterThatContradictsItselfIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		for field, f := range map[string]scheduler.TaskFilter{
			"state":       {State: scheduler.StateSucceeded},
			"condition":   {State: scheduler.StateDead, Condition: "fix"},
			"fingerprint": {State: scheduler.StateHeld, Fingerprint: 1},
			"dead_reason": {Condition: "fix", DeadReason: policy.ReasonDeadline},
		} {
			_, err := w.s.Tasks(w.ctx, "ns", f, scheduler.Cursor{}, 10)
			equal(t, "field", violated(kindOf(t, err, scheduler.KindInvalid)), []string{field})
		}
	})
}

// violated are the fields at fault.
func violated(d details) []string {
	var fields []string
	for _, v := range d.Violations {
		fields = append(fields, v.Field)
	}
	return fields
}

func TestCursorOfAnotherListIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		for name, ix := range map[string]scheduler.Index{
			"another queue":     {Kind: scheduler.IndexDead, Namespace: "ns", Name: "other"},
			"another namespace": {Kind: scheduler.IndexDead, Namespace: "other", Name: "q"},
			"another state":     {Kind: scheduler.IndexHeld, Namespace: "ns", Name: "q"},
		} {
			_, err := w.s.Tasks(w.ctx, "ns", scheduler.TaskFilter{State: scheduler.StateDead, Queue: "q"}, scheduler.Cursor{Index: ix}, 10)
			equal(t, name, violated(kindOf(t, err, scheduler.KindInvalid)), []string{"page_token"})
		}
	})
}

func TestLastPageSaysSo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(30)
		page, err := w.s.Tasks(w.ctx, "ns", scheduler.TaskFilter{State: scheduler.StateDead, Queue: "q"}, scheduler.Cursor{}, 30)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "tasks and next", []any{len(page.Tasks), page.Next}, []any{30, scheduler.Cursor{}})
	})
}

// What stays where it is is seen exactly once, whatever the others do meanwhile.
func TestPagesShowWhatDoesNotMoveOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inWorld(t, func(w *world) {
				rng := rand.New(rand.NewPCG(seed, 1))
				id := func(i int) string { return fmt.Sprintf("t%03d", i) }
				for i := range 400 {
					w.report(failure(id(i), []func(*scheduler.Report){by("never"), held, by("minute"), by("now")}[rng.IntN(4)], in(fmt.Sprint("q", rng.IntN(3)))))
					if rng.IntN(10) == 0 {
						w.pass(time.Millisecond)
					}
				}
				moved := make(map[string]bool)
				change := func() {
					for range rng.IntN(20) {
						i := rng.IntN(400)
						if i%3 == 0 {
							continue
						}
						moved[id(i)] = true
						key := scheduler.TaskKey{Namespace: "ns", ID: id(i)}
						// Most of these are refused in the state that it is in.
						_, _ = w.s.Replay(w.ctx, key)
						_, _ = w.s.Report(w.ctx, failure(id(i), bare))
						_, _ = w.s.Discard(w.ctx, key)
						_, _ = w.s.Next(w.ctx, scheduler.NextRequest{Namespace: "ns", TaskID: id(i), Lease: time.Minute})
					}
					if rng.IntN(3) == 0 {
						w.report(failure(fmt.Sprint("new", rng.IntN(1e6)), by("never"), in(fmt.Sprint("q", rng.IntN(4)))))
						w.pass(time.Millisecond)
					}
				}
				seen := make(map[string]int)
				for _, task := range w.list(scheduler.TaskFilter{}, func() int { return 1 + rng.IntN(60) }, change) {
					seen[task.Key.ID]++
				}
				if len(moved) < 50 {
					t.Fatalf("only %d have moved", len(moved))
				}
				for i := range 400 {
					if n := seen[id(i)]; n != 1 && !moved[id(i)] {
						t.Errorf("%s was shown %d times", id(i), n)
					}
				}
			})
		})
	}
}

// What lies in one shard alone is in its place all the same.
func TestPagesOverUnevenShards(t *testing.T) {
	inWorld(t, func(w *world) {
		var want []string
		for shard := range 3 {
			for i := 0; len(want) < (shard+1)*200; i++ {
				if id := fmt.Sprintf("%d-%04d", shard, i); scheduler.ShardOf(scheduler.TaskKey{Namespace: "ns", ID: id}, 3) == shard {
					want = append(want, id)
					w.report(failure(id, by("never")))
				}
			}
			w.pass(time.Millisecond)
		}
		equal(t, "listed", w.listIDs(scheduler.TaskFilter{State: scheduler.StateDead}, 90), want)
	})
}

// A task that dies again between being found and being read is shown where it is
// then, and only there.
func TestTaskThatMovesWhileItIsListedIsShownOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(100)
		store := &hooked{Store: w.store}
		s := w.schedulerOver(store)
		store.afterBrowse = sync.OnceFunc(func() {
			w.pass(time.Second)
			if _, err := w.s.Replay(w.ctx, scheduler.TaskKey{Namespace: "ns", ID: "dead00001"}); err != nil {
				t.Error(err)
			}
			w.report(failure("dead00001", bare, attempt(2)))
		})
		got := w.at(s).listIDs(scheduler.TaskFilter{State: scheduler.StateDead, Queue: "q"}, 10)
		equal(t, "listed", []any{len(got), got[1], got[99]}, []any{100, "dead00002", "dead00001"})
	})
}

func TestEveryPageCostsTheSame(t *testing.T) {
	inCountingWorld(t, func(w *world, c *counting) {
		w.deadLetters(5_000)
		const limit = 50
		pages := 0
		w.list(scheduler.TaskFilter{State: scheduler.StateDead, Queue: "q"}, func() int {
			if loads, places := c.loads.Swap(0), c.places.Swap(0); pages > 0 && (loads > limit || places > 4*limit) {
				t.Errorf("page %d: %d tasks were loaded and %d places were read", pages, loads, places)
			}
			pages++
			return limit
		}, func() {})
		equal(t, "pages", pages, 100)
	})
}

func TestFilterLooksAtAThousandTasksACall(t *testing.T) {
	inCountingWorld(t, func(w *world, c *counting) {
		w.deadLetters(2_500)
		w.pass(time.Second)
		w.report(failure("wanted", by("never"), grouped("g")))
		calls := 0
		got := w.list(scheduler.TaskFilter{State: scheduler.StateDead, Queue: "q", Group: "g"}, func() int {
			calls++
			c.loads.Store(0)
			return 10
		}, func() {
			if n := c.loads.Load(); n != 1000 {
				t.Errorf("a call has looked at %d tasks", n)
			}
		})
		equal(t, "found, in calls", []any{idsOf(got), calls}, []any{[]string{"wanted"}, 3})
	})
}

func TestListWalksOverABoundedNumberOfEmptyQueues(t *testing.T) {
	inCountingWorld(t, func(w *world, c *counting) {
		for i := range 1_500 {
			if _, err := w.s.PauseQueue(w.ctx, scheduler.QueueKey{Namespace: "ns", Name: fmt.Sprintf("queue%04d", i)}, 0); err != nil {
				t.Fatal(err)
			}
		}
		w.report(failure("wanted", by("never"), in("queue1490")))
		w.report(failure("first", by("never"), in("queue0003")))
		calls := 0
		got := w.list(scheduler.TaskFilter{State: scheduler.StateDead}, func() int {
			calls++
			c.parts.Store(0)
			return 10
		}, func() {
			if n := c.parts.Load(); n > 600*4 {
				t.Errorf("a call has read %d parts", n)
			}
		})
		equal(t, "found", idsOf(got), []string{"first", "wanted"})
		if calls < 2 || calls > 5 {
			t.Errorf("it took %d calls", calls)
		}
	})
}

func TestDeadLetterGroupsOfAQueueAndOfAll(t *testing.T) {
	inWorld(t, func(w *world) {
		for i, c := range []struct{ queue, outcome string }{
			{"a", "x"}, {"a", "y"}, {"b", "x"}, {"a", "y"}, {"", "z"}, {"b", "x"}, {"b", "x"},
		} {
			w.report(failure(fmt.Sprint("t", i), by("never"), in(c.queue), outcome(c.outcome)))
			w.pass(time.Second)
		}
		told := func(queue string) []string {
			groups, err := w.s.DeadLetterGroups(w.ctx, "ns", queue)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, g := range groups {
				out = append(out, fmt.Sprintf("%s %d %s %d", g.Queue.Name, g.Count, g.Sample.ID, (g.LastMS-g.FirstMS)/1000))
			}
			return out
		}
		equal(t, "of one queue", told("a"), []string{"a 2 t3 2", "a 1 t0 0"})
		equal(t, "of all", told(""), []string{"b 3 t6 4", "a 2 t3 2", " 1 t4 0", "a 1 t0 0"})
		equal(t, "of none", told("c"), []string(nil))
	})
}
