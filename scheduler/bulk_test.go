package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// move is one of the operations on many tasks.
type move func(context.Context, scheduler.Bulk) (scheduler.Moved, error)

// repeat calls until nothing follows, each call going on where the one before
// ended, and returns how many tasks each has moved.
func (w *world) repeat(do move, b scheduler.Bulk) []int64 {
	w.t.Helper()
	b.Namespace = "ns"
	var out []int64
	for range 1000 {
		got, err := do(w.ctx, b)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, got.Moved)
		if got.Next == (scheduler.Cursor{}) {
			return out
		}
		b.After, b.StartMS = got.Next, got.NextStartMS
	}
	w.t.Fatal("it has no end")
	return nil
}

// replayed wants n tasks of deadLetters to have been replayed once, and returns
// when they are due, in order.
func (w *world) replayed(n int) []int64 {
	w.t.Helper()
	var due []int64
	for i := range n {
		task := w.wantState(fmt.Sprintf("dead%05d", i), scheduler.StateScheduled)
		if task.Generation != 2 || task.Trigger != scheduler.TriggerReplay || task.Attempt != 2 {
			w.t.Fatalf("%s is at attempt %d of generation %d by trigger %d", task.Key.ID, task.Attempt, task.Generation, task.Trigger)
		}
		due = append(due, task.DueMS)
	}
	slices.Sort(due)
	return due
}

func TestReplayManyMovesAThousandACall(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(2_500)
		w.pass(time.Hour)
		for _, want := range []scheduler.Moved{{Moved: 1000, Remaining: 1500}, {Moved: 1000, Remaining: 500}, {Moved: 500}} {
			// Without a cursor: what has been moved is no longer found.
			got, err := w.s.ReplayMany(w.ctx, scheduler.Bulk{Namespace: "ns", Filter: scheduler.TaskFilter{Queue: "q"}})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "more follow", got.Next != scheduler.Cursor{}, want.Remaining > 0)
			got.Next, got.UntilMS = scheduler.Cursor{}, 0
			equal(t, "moved", got, want)
		}
		due := w.replayed(2_500)
		equal(t, "due", []int64{due[0], due[2_499]}, []int64{time.Now().UnixMilli(), time.Now().UnixMilli()})
	})
}

func TestReplayManyIsHandedOut(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(50)
		sub := w.worker(10)
		w.none(sub)
		equal(t, "moved", w.repeat(w.s.ReplayMany, scheduler.Bulk{}), []int64{50})
		for range 50 {
			d := w.next(sub)
			equal(t, "trigger and generation", []any{d.Task.Trigger, d.Task.Generation}, []any{scheduler.TriggerReplay, 2})
			w.report(success("", with(d)))
		}
		w.none(sub)
	})
}

func TestBulkOverAllQueuesCountsWhatRemains(t *testing.T) {
	inWorld(t, func(w *world) {
		w.all(3_000, func(i int) scheduler.Report {
			return failure(fmt.Sprintf("dead%05d", i), by("never"), in(fmt.Sprintf("q%03d", i%150)))
		})
		b := scheduler.Bulk{Namespace: "ns"}
		for _, remaining := range []int64{2_000, 1_000, 0} {
			got, err := w.s.ReplayMany(w.ctx, b)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "moved and remaining", []int64{got.Moved, got.Remaining}, []int64{1000, remaining})
			b.After = got.Next
		}
		w.replayed(3_000)
	})
}

func TestValidateOnlyCounts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(1_200)
		w.pass(time.Second)
		w.all(100, func(i int) scheduler.Report { return failure(fmt.Sprint("g", i), by("never"), grouped("g")) })
		before := w.load("g7")
		ask := func(b scheduler.Bulk) []int64 {
			b.Namespace, b.ValidateOnly = "ns", true
			got, err := w.s.ReplayMany(w.ctx, b)
			if err != nil {
				t.Fatal(err)
			}
			return []int64{got.Moved, got.Remaining}
		}
		equal(t, "by index", ask(scheduler.Bulk{}), []int64{1000, 300})
		equal(t, "by looking: none of the first 1,000", ask(scheduler.Bulk{Filter: scheduler.TaskFilter{Group: "g"}}), []int64{0, 300})
		equal(t, "by looking on", w.repeat(w.s.ReplayMany, scheduler.Bulk{ValidateOnly: true, Filter: scheduler.TaskFilter{Group: "g"}}), []int64{0, 100})
		equal(t, "to discard", w.repeat(w.s.DiscardMany, scheduler.Bulk{ValidateOnly: true, Filter: scheduler.TaskFilter{State: scheduler.StateDead}}), []int64{1000, 300})
		w.all(3, func(i int) scheduler.Report { return failure(fmt.Sprint("h", i), held, in(fmt.Sprint("q", i))) })
		equal(t, "to release, of one queue", w.repeat(w.s.ReleaseHeld, scheduler.Bulk{ValidateOnly: true, Filter: scheduler.TaskFilter{Condition: "fix", Queue: "q1"}}), []int64{1})
		if w.load("g7") != before {
			t.Error("the task has changed")
		}
	})
}

func TestReplayAtARate(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{100, 300, 0.5, 7_000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deadLetters(2_500)
				w.pass(time.Minute)
				start := time.Now().UnixMilli()
				equal(t, "moved", w.repeat(w.s.ReplayMany, scheduler.Bulk{Rate: rate}), []int64{1000, 1000, 500})
				for i, dueMS := range w.replayed(2_500) {
					if want := float64(start) + float64(i)*1000/rate; math.Abs(float64(dueMS)-want) > 2 {
						t.Fatalf("the %dth is due at %d, want %.1f", i, dueMS, want)
					}
				}
			})
		})
	}
}

func TestRateStartsNowWhereTheStartHasPassed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(3)
		w.pass(time.Hour)
		got, err := w.s.ReplayMany(w.ctx, scheduler.Bulk{Namespace: "ns", Rate: 1, StartMS: time.Now().Add(-time.Minute).UnixMilli()})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UnixMilli()
		equal(t, "due", w.replayed(3), []int64{now, now + 1000, now + 2000})
		equal(t, "the next call's start", got.NextStartMS, now+3000)
	})
}

// Whoever goes on after a crash, without knowing how far the first one came,
// replays the rest.
func TestReplayIsTakenUpAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(1_700)
		ctx, kill := context.WithCancel(w.ctx)
		store := &hooked{Store: w.store}
		s := w.schedulerOver(store)
		commits := 0
		store.afterCommit = func() {
			if commits++; commits == 4 {
				kill()
			}
		}
		_, err := s.ReplayMany(ctx, scheduler.Bulk{Namespace: "ns", Rate: 100})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "moved by the rest", w.repeat(w.another().ReplayMany, scheduler.Bulk{Rate: 100}), []int64{1000, 300})
		w.replayed(1_700)
	})
}

// hooked is a store beside which something happens.
type hooked struct {
	scheduler.Store
	afterBrowse, afterLoad, afterCommit, afterClaim func()
	// fail says of each task whether its commit fails.
	fail func(key scheduler.TaskKey) bool
}

func (h *hooked) Browse(ctx context.Context, parts []scheduler.Part) []scheduler.Browsed {
	out := h.Store.Browse(ctx, parts)
	if h.afterBrowse != nil {
		h.afterBrowse()
	}
	return out
}

func (h *hooked) Load(ctx context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	out := h.Store.Load(ctx, keys)
	if h.afterLoad != nil {
		h.afterLoad()
	}
	return out
}

func (h *hooked) Commit(ctx context.Context, changes []scheduler.Change) []scheduler.Committed {
	out := make([]scheduler.Committed, len(changes))
	for i, c := range changes {
		if h.fail != nil && h.fail(c.Key) {
			out[i].Err = errAway
			continue
		}
		out[i] = h.Store.Commit(ctx, []scheduler.Change{c})[0]
	}
	if h.afterCommit != nil {
		h.afterCommit()
	}
	return out
}

func (h *hooked) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	out := h.Store.Claim(ctx, claims)
	if h.afterClaim != nil {
		h.afterClaim()
	}
	return out
}

// schedulerOver is a scheduler that is not run.
func (w *world) schedulerOver(store scheduler.Store) *scheduler.Scheduler {
	w.t.Helper()
	s, err := scheduler.New(store, scheduler.Config{})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func TestBulkByTwoAtOnceMovesEachOnce(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(s *scheduler.Scheduler) move{
		"replay":  func(s *scheduler.Scheduler) move { return s.ReplayMany },
		"discard": func(s *scheduler.Scheduler) move { return s.DiscardMany },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deadLetters(900)
				// The others come in between the first one's look and its write, each time.
				store := &hooked{Store: w.store}
				first, second := do(w.schedulerOver(store)), do(w.s)
				b := scheduler.Bulk{Namespace: "ns", Filter: scheduler.TaskFilter{State: scheduler.StateDead, Queue: "q"}}
				var others int64
				store.afterLoad = func() {
					some := b
					some.Filter.Group = "g"
					got, err := second(w.ctx, some)
					if err != nil {
						t.Error(err)
					}
					others += got.Moved
				}
				w.all(100, func(i int) scheduler.Report { return failure(fmt.Sprint("a", i), by("never"), grouped("g")) })
				got, err := first(w.ctx, b)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "moved by the others, and in all", []int64{others, others + got.Moved}, []int64{100, 1000})
			})
		})
	}
}

func TestBulkMovesNothingTwice(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(10)
		store := &hooked{Store: w.store}
		s := w.schedulerOver(store)
		key := scheduler.TaskKey{Namespace: "ns", ID: "dead00003"}
		store.afterLoad = sync.OnceFunc(func() {
			// It is replayed, and dies again at once.
			if _, err := w.s.Replay(w.ctx, key); err != nil {
				t.Error(err)
			}
			w.pass(time.Millisecond)
			w.report(failure(key.ID, bare, attempt(2)))
		})
		got, err := s.ReplayMany(w.ctx, scheduler.Bulk{Namespace: "ns"})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "moved", got.Moved, int64(9))
		equal(t, "generation", w.wantState(key.ID, scheduler.StateDead).Generation, 2)
	})
}

// A destination that is still broken fails what is replayed or released at once,
// long before the calls are through.
func TestBulkMovesOnceWhatIsBackAtOnce(t *testing.T) {
	t.Parallel()
	for name, park := range map[string]func(*scheduler.Report){"replayed": by("never"), "released": held} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.all(2_500, func(i int) scheduler.Report { return failure(fmt.Sprintf("t%05d", i), park) })
				w.pass(time.Millisecond)
				do, b := w.s.ReplayMany, scheduler.Bulk{Namespace: "ns"}
				if name == "released" {
					do, b.Filter.Condition = w.s.ReleaseHeld, "fix"
				}
				sub := w.worker(1000)
				var moved int64
				for moved == 0 || b.After != (scheduler.Cursor{}) {
					got, err := do(w.ctx, b)
					if err != nil {
						t.Fatal(err)
					}
					moved += got.Moved
					w.pass(time.Millisecond)
					for range got.Moved {
						w.report(failure("", outcome("hold"), with(w.next(sub))))
					}
					b.After, b.UntilMS = got.Next, got.UntilMS
				}
				equal(t, "moved", moved, int64(2_500))
			})
		})
	}
}

func TestBulkTellsWhatItHasMovedWhenTheStoreFails(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(500)
		store := &hooked{Store: w.store}
		s := w.schedulerOver(store)
		done := 0
		store.fail = func(scheduler.TaskKey) bool {
			done++
			return done > 250
		}
		b := scheduler.Bulk{Namespace: "ns", Filter: scheduler.TaskFilter{Queue: "q"}, Rate: 10}
		got, err := s.ReplayMany(w.ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "moved and remaining", []int64{got.Moved, got.Remaining}, []int64{250, 250})
		b.After, b.StartMS = got.Next, got.NextStartMS
		_, err = s.ReplayMany(w.ctx, b)
		kindOf(t, err, scheduler.KindUnavailable)
		store.fail = nil
		equal(t, "moved by the rest", w.repeat(s.ReplayMany, b), []int64{250})
		w.replayed(500)
	})
}

func TestBulkThatFailsAtOnceGoesOnFromItsStart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(90)
		store := &hooked{Store: w.store}
		s := w.schedulerOver(store)
		done := 0
		store.fail = func(scheduler.TaskKey) bool {
			done++
			return done > 30
		}
		got, err := s.ReplayMany(w.ctx, scheduler.Bulk{Namespace: "ns"})
		if err != nil {
			t.Fatal(err)
		}
		if got.Moved != 30 || got.Next == (scheduler.Cursor{}) {
			t.Fatalf("moved %+v", got)
		}
		store.fail = nil
		equal(t, "moved by the rest", w.repeat(s.ReplayMany, scheduler.Bulk{After: got.Next}), []int64{60})
	})
}

func TestLostReplyOfABulkIsOneMove(t *testing.T) {
	inFlakyWorld(t, func(w *world, f *flaky) {
		w.within(time.Hour)
		w.deadLetters(300)
		f.lose.Store(2)
		equal(t, "moved", w.repeat(w.s.ReplayMany, scheduler.Bulk{}), []int64{300})
		w.replayed(300)
		w.all(30, func(i int) scheduler.Report { return failure(fmt.Sprint("a", i), by("never")) })
		f.lose.Store(1)
		equal(t, "discarded", w.repeat(w.s.DiscardMany, scheduler.Bulk{Filter: scheduler.TaskFilter{State: scheduler.StateDead}}), []int64{30})
	})
}

func TestReleaseHeldOfOneCondition(t *testing.T) {
	inWorld(t, func(w *world) {
		other := testPolicies()[2]
		other.ID, other.Rules = "other", slices.Clone(other.Rules)
		other.Rules[0].HoldCondition = "other"
		if _, err := w.s.CreatePolicy(w.ctx, "ns", other); err != nil {
			t.Fatal(err)
		}
		w.all(30, func(i int) scheduler.Report { return failure(fmt.Sprint("a", i), held, in(fmt.Sprint("q", i%3))) })
		w.all(5, func(i int) scheduler.Report { return failure(fmt.Sprint("b", i), held, by("other")) })
		w.pass(time.Hour)
		equal(t, "moved", w.repeat(w.s.ReleaseHeld, scheduler.Bulk{Filter: scheduler.TaskFilter{Condition: "fix"}, Rate: 10}), []int64{30})
		for i := range 30 {
			task := w.wantState(fmt.Sprint("a", i), scheduler.StateScheduled)
			equal(t, "trigger, attempt and generation", []any{task.Trigger, task.Attempt, task.Generation}, []any{scheduler.TriggerRelease, 2, 1})
		}
		for i := range 5 {
			w.wantState(fmt.Sprint("b", i), scheduler.StateHeld)
		}
	})
}

func TestDiscardMany(t *testing.T) {
	inWorld(t, func(w *world) {
		w.zoo()
		alike := w.load("a-dead-0").Fingerprint
		equal(t, "by fingerprint and queue", w.repeat(w.s.DiscardMany, scheduler.Bulk{Filter: scheduler.TaskFilter{Fingerprint: alike, Queue: "a"}}), []int64{7})
		w.wantState("a-dead-0", scheduler.StateDiscarded)
		w.wantState("b-dead-0", scheduler.StateDead)
		equal(t, "by group and state", w.repeat(w.s.DiscardMany, scheduler.Bulk{Filter: scheduler.TaskFilter{Group: "g1", State: scheduler.StateHeld}}), []int64{12})
		w.wantState("b-held-1", scheduler.StateDiscarded)
		w.wantState("b-held-2", scheduler.StateHeld)
		equal(t, "by condition", w.repeat(w.s.DiscardMany, scheduler.Bulk{Filter: scheduler.TaskFilter{Condition: "fix"}}), []int64{16})
		w.wantState("b-due-1", scheduler.StateScheduled)
	})
}

func TestBulkThatMakesNoSenseIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		filter := func(f scheduler.TaskFilter) scheduler.Bulk { return scheduler.Bulk{Filter: f} }
		fix := scheduler.TaskFilter{Condition: "fix"}
		for name, c := range map[string]struct {
			do   move
			bulk scheduler.Bulk
			want []string
		}{
			"replay of held":          {w.s.ReplayMany, filter(scheduler.TaskFilter{State: scheduler.StateHeld}), []string{"state"}},
			"replay by condition":     {w.s.ReplayMany, filter(fix), []string{"condition"}},
			"release of nothing":      {w.s.ReleaseHeld, scheduler.Bulk{}, []string{"condition"}},
			"release of dead":         {w.s.ReleaseHeld, filter(scheduler.TaskFilter{Condition: "fix", DeadReason: policy.ReasonDeadline}), []string{"dead_reason"}},
			"discard of anything":     {w.s.DiscardMany, filter(scheduler.TaskFilter{Queue: "q"}), []string{"state"}},
			"discard of scheduled":    {w.s.DiscardMany, filter(scheduler.TaskFilter{State: scheduler.StateScheduled}), []string{"state"}},
			"discard at a rate":       {w.s.DiscardMany, scheduler.Bulk{Filter: fix, Rate: 1}, []string{"rate"}},
			"too slow":                {w.s.ReplayMany, scheduler.Bulk{Rate: 0.0001}, []string{"rate"}},
			"too fast":                {w.s.ReplayMany, scheduler.Bulk{Rate: 1_000_001}, []string{"rate"}},
			"backwards":               {w.s.ReplayMany, scheduler.Bulk{Rate: -1}, []string{"rate"}},
			"no number":               {w.s.ReleaseHeld, scheduler.Bulk{Filter: fix, Rate: math.NaN()}, []string{"rate"}},
			"all that is wrong":       {w.s.ReplayMany, scheduler.Bulk{Filter: scheduler.TaskFilter{State: scheduler.StateLeased}, Rate: -1}, []string{"state", "rate"}},
			"a cursor of another one": {w.s.ReplayMany, scheduler.Bulk{After: scheduler.Cursor{Index: scheduler.Index{Kind: scheduler.IndexHeld}}}, []string{"page_token"}},
		} {
			_, err := c.do(w.ctx, c.bulk)
			equal(t, name, violated(kindOf(t, err, scheduler.KindInvalid)), c.want)
		}
	})
}

func TestBulkOfOneWhoHasGoneMovesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Config{Shards: 4}))
		w.deadLetters(5)
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		if _, err := w.s.ReplayMany(ctx, scheduler.Bulk{Namespace: "ns"}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		w.wantState("dead00000", scheduler.StateDead)
	})
}
