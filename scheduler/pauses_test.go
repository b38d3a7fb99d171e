package scheduler_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

func (w *world) pause(queue string, until time.Duration) scheduler.QueueView {
	w.t.Helper()
	var untilMS int64
	if until != 0 {
		untilMS = time.Now().Add(until).UnixMilli()
	}
	v, err := w.s.PauseQueue(w.ctx, scheduler.QueueKey{Namespace: "ns", Name: queue}, untilMS)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// resume resumes queue q.
func (w *world) resume() {
	w.t.Helper()
	if _, err := w.s.ResumeQueue(w.ctx, scheduler.QueueKey{Namespace: "ns", Name: "q"}); err != nil {
		w.t.Fatal(err)
	}
}

// at is the world as another replica has it.
func (w *world) at(s *scheduler.Scheduler) *world {
	other := *w
	other.s = s
	return &other
}

// drain takes and settles what is delivered, until nothing more comes at once.
func (w *world) drain(sub *scheduler.Subscription) int {
	w.t.Helper()
	for n := 0; ; n++ {
		synctest.Wait()
		d, ok := sub.Next()
		if !ok {
			return n
		}
		w.report(success("", with(d)))
	}
}

func TestPauseInTheMidstOfADrain(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.at(w.another())
		w.backlog("q", 2_000)
		here, there := w.worker(10), other.worker(10)
		for range 50 {
			w.report(success("", with(w.next(here))))
			other.report(success("", with(other.next(there))))
		}
		synctest.Wait()
		v := w.pause("q", 0)
		equal(t, "paused, and nothing is lost", []any{v.Paused, v.PausedUntilMS, v.Scheduled + v.Leased}, []any{true, int64(0), int64(1_900)})
		// What was out or waiting may still be done.
		if n := w.drain(here) + other.drain(there); n > 20 {
			t.Errorf("%d were handed out after the pause", n)
		}
		w.pass(time.Hour)
		w.none(here)
		other.none(there)
		v = w.pause("q", 0)
		left := v.Scheduled
		equal(t, "due, and leased", []int64{v.Due, v.Leased}, []int64{left, 0})
		other.resume()
		if n := other.drain(there); n == 0 {
			t.Error("nothing is handed out where the queue was resumed")
		}
		w.pass(time.Second)
		w.drain(here)
		w.pass(time.Second)
		equal(t, "left", w.view("q").Scheduled, int64(0))
	})
}

func (w *world) view(queue string) scheduler.QueueView {
	w.t.Helper()
	v, err := w.s.Queue(w.ctx, scheduler.QueueKey{Namespace: "ns", Name: queue})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func TestPauseEndsByItselfOnTime(t *testing.T) {
	t.Parallel()
	for name, report := range map[string]func(w *world){
		"due before it":      func(w *world) { w.report(failure("a", by("now"))) },
		"due within it":      func(w *world) { w.report(failure("a")) },
		"reported within it": func(w *world) { w.pass(45 * time.Minute); w.report(failure("a", by("now"))) },
		"reported just before its end": func(w *world) {
			w.pass(time.Hour - time.Millisecond)
			w.report(failure("a", by("now")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inCountingWorld(t, func(w *world, c *counting) {
				other := w.at(w.another())
				w.pause("q", time.Hour)
				end := time.Now().Add(time.Hour)
				here, there := w.worker(1), other.worker(1)
				report(w)
				c.claims.Store(0)
				select {
				case <-here.Ready():
				case <-there.Ready():
				case <-time.After(2 * time.Hour):
					t.Fatal("the pause does not end")
				}
				equal(t, "handed out", time.Now(), end)
				if n := c.claims.Load(); n > 30 {
					t.Errorf("%d claims were made in the pause", n)
				}
			})
		})
	}
}

func TestWhatFallsDueAfterThePauseIsOnTime(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pause("q", 30*time.Second)
		sub := w.worker(1)
		a := w.report(failure("a"))
		w.next(sub)
		equal(t, "handed out", time.Now().UnixMilli(), a.Record.Decision.NextMS)
	})
}

func TestResumeWakesWorkers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		elsewhere bool
		within    time.Duration
	}{
		"of this replica at once":        {false, 0},
		"of another one within a second": {true, time.Second},
	} {
		for _, until := range []time.Duration{0, 24 * time.Hour} {
			t.Run(fmt.Sprint(name, until), func(t *testing.T) {
				inWorld(t, func(w *world) {
					resumer := w
					if c.elsewhere {
						resumer = w.at(w.another())
					}
					resumer.pause("q", until)
					sub := w.worker(1)
					w.report(failure("a", by("now")))
					w.pass(10*time.Minute + 300*time.Millisecond)
					w.none(sub)
					start := time.Now()
					resumer.resume()
					w.next(sub)
					if took := time.Since(start); took > c.within {
						t.Errorf("it took %s", took)
					}
				})
			})
		}
	}
}

// The claim that finds the queue paused is answered after the resume.
func TestResumeDuringAClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hooked{Store: memstore.New(memstore.Config{})}
		w := newWorld(t, store)
		w.report(failure("a", by("now")))
		w.pause("q", 0)
		// No hint is to tell of the task any more.
		synctest.Wait()
		store.afterClaim = sync.OnceFunc(w.resume)
		start := time.Now()
		w.next(w.worker(1))
		equal(t, "handed out after", time.Since(start), time.Duration(0))
	})
}

func TestPauseIsReplaced(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.pause("q", 0)
		w.report(failure("a", by("now")))
		w.pass(time.Minute)
		w.pause("q", time.Minute)
		start := time.Now()
		w.next(sub)
		equal(t, "handed out after", time.Since(start), time.Minute)
	})
}

func TestReportsIntoAPausedQueueClaimLittle(t *testing.T) {
	t.Parallel()
	for _, until := range []time.Duration{0, time.Hour} {
		t.Run(until.String(), func(t *testing.T) {
			inCountingWorld(t, func(w *world, c *counting) {
				sub := w.worker(100)
				w.pause("q", until)
				c.claims.Store(0)
				for i := range 1_000 {
					w.report(failure(fmt.Sprint("t", i), by("now")))
					w.pass(10 * time.Millisecond)
				}
				w.none(sub)
				// One a shard and second.
				if n := c.claims.Load(); n > 4*11 {
					t.Errorf("%d claims were made in 10 s", n)
				}
				w.resume()
				for range 100 {
					w.next(sub)
				}
				w.none(sub)
			})
		})
	}
}

func TestPauseKeepsNoCredit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pause("q", 0)
		w.backlog("q", 50)
		sub := w.worker(2, func(o *scheduler.SubscribeOptions) { o.Queues = []string{"q", "open"} })
		for i := range 10 {
			w.report(failure(fmt.Sprint("open", i), by("now"), in("open")))
		}
		for range 10 {
			d := w.next(sub)
			equal(t, "queue", d.Task.Spec.Queue, "open")
			w.report(success("", with(d)))
		}
		w.none(sub)
	})
}

func TestFirstReportAfterAPauseThatAnotherReplicaEndedIsOnTime(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.at(w.another())
		sub := w.worker(1)
		w.pause("q", 0)
		w.report(failure("a", by("now")))
		w.pass(time.Second)
		w.report(success("a", by("now")))
		other.resume()
		w.pass(time.Minute + 500*time.Millisecond)
		w.report(failure("b", by("now")))
		start := time.Now()
		w.next(sub)
		equal(t, "handed out after", time.Since(start), time.Duration(0))
	})
}

func TestNextByIDOfAPausedQueueTellsButLeasesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pause("q", 0)
		w.report(failure("a", by("now")))
		a := w.ask(scheduler.NextRequest{TaskID: "a", Lease: time.Minute, Worker: "w"})
		equal(t, "told", []any{a.State, a.Due, a.Leased == nil}, []any{scheduler.StateScheduled, true, true})
		start := time.Now()
		a = w.ask(scheduler.NextRequest{TaskID: "a", Lease: time.Minute, Worker: "w", Wait: 30 * time.Second})
		equal(t, "told after", []any{time.Since(start), a.Due, a.Leased == nil}, []any{30 * time.Second, true, true})
		equal(t, "who only asks is told at once", w.ask(scheduler.NextRequest{TaskID: "a", Wait: time.Minute}).Due, true)
		equal(t, "after", time.Since(start), 30*time.Second)
		equal(t, "delivery", w.load("a").Delivery, 0)
	})
}

func TestNextWaitsForTheEndOfAPause(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]scheduler.NextRequest{
		"by id":    {TaskID: "a", Lease: time.Minute, Worker: "w", Wait: 50 * time.Second},
		"by queue": {Queue: "q", Lease: time.Minute, Worker: "w", Wait: 50 * time.Second},
	} {
		for end, c := range map[string]struct {
			until  time.Duration
			resume func(w *world) *world
			within time.Duration
		}{
			"by itself":          {20 * time.Second, nil, 0},
			"here":               {0, func(w *world) *world { return w }, 0},
			"early":              {time.Hour, func(w *world) *world { return w }, 0},
			"at another replica": {0, func(w *world) *world { return w.at(w.another()) }, time.Second},
		} {
			t.Run(name+" "+end, func(t *testing.T) {
				inCountingWorld(t, func(w *world, store *counting) {
					w.report(failure("a", by("now")))
					w.pause("q", c.until)
					start := time.Now()
					if c.resume != nil {
						resumer := c.resume(w)
						go func() {
							<-time.After(20 * time.Second)
							resumer.resume()
						}()
					}
					store.claims.Store(0)
					a := w.ask(ask)
					if a.Leased == nil {
						t.Fatalf("nothing was leased: %+v", a)
					}
					if late := time.Since(start) - 20*time.Second; late < 0 || late > c.within {
						t.Errorf("leased %s after the pause's end", late)
					}
					if n := store.claims.Load(); n > 100 {
						t.Errorf("%d claims were made", n)
					}
				})
			})
		}
	}
}

func TestNextByQueueTellsOfThePausesEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a", by("now")))
		w.pause("q", time.Hour)
		ask := scheduler.NextRequest{Queue: "q", Lease: time.Minute}
		a := w.ask(ask)
		equal(t, "until a time", []any{a.Leased == nil, a.Due, a.DueInMS}, []any{true, false, int64(3_600_000)})
		w.pause("q", 0)
		equal(t, "for good", w.ask(ask), scheduler.NextAnswer{})
	})
}

// An expired lease in a paused queue waits for the resume as well.
func TestNextWaitsForAnExpiredLeaseInAPausedQueue(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a", by("now")))
		w.ask(scheduler.NextRequest{TaskID: "a", Lease: 10 * time.Second, Worker: "gone"})
		w.pause("q", 40*time.Second)
		w.pass(20 * time.Second)
		start := time.Now()
		a := w.ask(scheduler.NextRequest{TaskID: "a", Lease: time.Minute, Worker: "w", Wait: time.Minute})
		if a.Leased == nil || a.Leased.Task.Delivery != 2 {
			t.Fatalf("leased %+v", a.Leased)
		}
		equal(t, "after", time.Since(start), 20*time.Second)
	})
}

func TestObserverSeesWhatFallsDueInAPausedQueue(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("overdue", by("now")))
		w.pause("q", 0)
		shown := w.observer("q")
		equal(t, "overdue already", labels(shown), []string{"overdue/2/1"})
		w.report(failure("a"))
		w.pass(time.Minute)
		equal(t, "shown", labels(shown), []string{"a/2/1"})
	})
}

func TestPauseThatIsOverBeforeItBeginsIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		_, err := w.s.PauseQueue(w.ctx, scheduler.QueueKey{Namespace: "ns", Name: "q"}, time.Now().UnixMilli())
		equal(t, "field", violated(kindOf(t, err, scheduler.KindInvalid)), []string{"until"})
	})
}

func TestResumeOfAQueueThatIsNotPaused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a"))
		w.resume()
		_, err := w.s.ResumeQueue(w.ctx, scheduler.QueueKey{Namespace: "ns", Name: "none"})
		equal(t, "metadata", kindOf(t, err, scheduler.KindQueueNotFound).Metadata, map[string]string{"queue": "none"})
	})
}
