package scheduler_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// backlog makes n tasks due in a queue at once.
func (w *world) backlog(queue string, n int) {
	w.t.Helper()
	var reports []scheduler.Report
	for i := range n {
		reports = append(reports, failure(fmt.Sprint(queue, i), by("now"), in(queue)))
	}
	for _, got := range w.s.ReportBatch(w.ctx, reports) {
		if got.Err != nil {
			w.t.Fatal(got.Err)
		}
	}
	w.pass(time.Millisecond)
}

func in(queue string) func(*scheduler.Report) {
	return func(r *scheduler.Report) { r.Spec.Queue = queue }
}

// However credit comes free, a queue that is seldom due waits for what is out and
// for no more.
func TestSeldomDueQueueIsNextInTurn(t *testing.T) {
	t.Parallel()
	for _, credit := range []int{1, 2, 4, 32} {
		for _, queues := range [][]string{{"big", "small"}, {"small", "big"}, {"big", "x", "small", "y"}} {
			t.Run(fmt.Sprint(credit, queues), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.backlog("big", 3_000)
					sub := w.worker(credit, func(o *scheduler.SubscribeOptions) { o.Queues = queues })
					for round := range 20 {
						// Another number of wake-ups comes before each round.
						for range round {
							w.report(success("", with(w.next(sub))))
						}
						id := fmt.Sprint("small", round)
						w.report(failure(id, by("now"), in("small")))
						first := 0
						for {
							d := w.next(sub)
							w.report(success("", with(d)))
							if d.Task.Key.ID == id {
								break
							}
							first++
						}
						// At first no shard of the backlog has had its turn.
						if first > credit+3 {
							t.Fatalf("round %d: %d of the backlog went first", round, first)
						}
					}
				})
			})
		}
	}
}

func TestIdleWorkersTakeTurns(t *testing.T) {
	inWorld(t, func(w *world) {
		subs := []*scheduler.Subscription{w.worker(30), w.worker(30), w.worker(30)}
		got := make([]int, len(subs))
		take := func() {
			synctest.Wait()
			for k, sub := range subs {
				for d, ok := sub.Next(); ok; d, ok = sub.Next() {
					got[k]++
					w.report(success("", with(d)))
				}
			}
		}
		for i := range 300 {
			w.report(failure(fmt.Sprint("t", i), by("now")))
			take()
		}
		equal(t, "one by one", got, []int{100, 100, 100})
		clear(got)
		for i := range 10 {
			for k := range 30 {
				w.report(failure(fmt.Sprint("burst", i, "/", k)))
			}
			w.pass(time.Minute)
			take()
		}
		// A burst falls unevenly into the shards.
		for k, n := range got {
			if n < 80 || n > 120 {
				t.Errorf("worker %d got %d of 300 in bursts", k, n)
			}
		}
	})
}

func TestLateExtensionCountsAgainstTheCredit(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a", by("now")))
		a := w.next(sub)
		w.report(failure("b", by("now")))
		w.pass(30 * time.Second)
		b := w.next(sub)
		equal(t, "delivered when a's lease was over", b.Task.Key.ID, "b")
		if got := w.s.Extend(w.ctx, "ns", []string{a.Token}, time.Hour)[0]; got.Err != nil {
			t.Fatal(got.Err)
		}
		w.report(success("", with(b)))
		w.report(failure("c", by("now")))
		w.none(sub)
		w.report(success("", with(a)))
		equal(t, "delivered once a is done", w.next(sub).Task.Key.ID, "c")
	})
}

func TestGiveBackOfAnAnswerThatWasAskedForAgainTakesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		ask := scheduler.NextRequest{TaskID: "a", Lease: time.Minute, Worker: "me"}
		w.report(failure("a", by("now")))
		lost := w.ask(ask)
		again := w.ask(ask)
		equal(t, "token", again.Leased.Token, lost.Leased.Token)
		equal(t, "marked as told again", []bool{lost.Again, again.Again}, []bool{false, true})
		if err := w.s.GiveBack(w.ctx, []scheduler.Delivery{*lost.Leased}); err != nil {
			t.Fatal(err)
		}
		w.report(success("", with(*again.Leased)))
	})
}

func TestTellingRespectsPauseWindows(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pass(19*time.Hour + 58*time.Minute)
		w.report(failure("a", by("night"), in("")))
		w.pass(time.Hour)
		a := w.ask(scheduler.NextRequest{TaskID: "a"})
		equal(t, "due and time", []any{a.Due, time.UnixMilli(a.TimeMS).UTC().Format(time.DateTime)}, []any{false, "2000-01-02 08:00:00"})
	})
}

// claimOrder is a store that notes the namespaces of claims, call by call, and how many
// claims there are. Each call takes a while.
type claimOrder struct {
	scheduler.Store
	takes  time.Duration
	mu     sync.Mutex
	calls  []map[string]int
	claims int
}

func (c *claimOrder) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	<-time.After(c.takes)
	call := make(map[string]int)
	out := c.Store.Claim(ctx, claims)
	for i := range claims {
		call[claims[i].Queue.Namespace] += len(out[i].Tasks)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
	c.claims += len(claims)
	return out
}

// TestFloodedNamespaceDelaysNoOther has a namespace with a backlog in 300 queues beside
// one with a task in one: that is claimed while the first of the flood are, and what is
// claimed at once is bounded.
func TestFloodedNamespaceDelaysNoOther(t *testing.T) {
	order := &claimOrder{takes: time.Millisecond}
	inWorldOn(t, func(s scheduler.Store) scheduler.Store {
		order.Store = s
		return order
	}, func(w *world) {
		for _, p := range testPolicies() {
			if _, err := w.s.CreatePolicy(w.ctx, "flood", p); err != nil {
				t.Fatal(err)
			}
		}
		var reports []scheduler.Report
		var queues []string
		for i := range 300 {
			queues = append(queues, fmt.Sprint("q", i))
			for k := range 20 {
				r := failure(fmt.Sprint(i, "/", k), in(queues[i]))
				r.Namespace = "flood"
				reports = append(reports, r)
			}
		}
		for _, got := range w.s.ReportBatch(w.ctx, reports) {
			if got.Err != nil {
				t.Fatal(got.Err)
			}
		}
		quiet := w.worker(60)
		for at := 0; at < len(queues); at += 100 {
			w.worker(1000, func(o *scheduler.SubscribeOptions) { o.Namespace, o.Queues = "flood", queues[at:at+100] })
		}
		for i := range 10 {
			w.report(failure(fmt.Sprint("quiet", i)))
		}
		order.mu.Lock()
		order.calls = nil
		order.mu.Unlock()
		// All falls due at the same moment.
		w.pass(time.Minute + time.Second)
		order.mu.Lock()
		defer order.mu.Unlock()
		flooded := 0
		for _, call := range order.calls {
			if n := call["flood"] + call["ns"]; n > 50 {
				t.Errorf("%d attempts were claimed at once, want at most 50", n)
			}
			flooded += call["flood"]
		}
		equal(t, "attempts of the quiet namespace in the first claims of both", order.calls[0]["ns"]+order.calls[1]["ns"], 10)
		equal(t, "attempts of the flood, which has a credit of 3000", flooded, 3000)
		for range 10 {
			equal(t, "delivered of", w.next(quiet).Task.Key.Namespace, "ns")
		}
	})
}

// TestBacklogsOfManyQueuesTakeFewClaims works off 40 queues with a credit that is short
// beside them. A claim costs the store more than what it takes, so that attempts are not to
// be fetched one by one; and yet no queue is done before each has had something.
func TestBacklogsOfManyQueuesTakeFewClaims(t *testing.T) {
	order := &claimOrder{}
	inWorldOn(t, func(s scheduler.Store) scheduler.Store {
		order.Store = s
		return order
	}, func(w *world) {
		const queues, each, credit = 40, 200, 100
		var names []string
		for i := range queues {
			names = append(names, fmt.Sprint("q", i, "-"))
			w.backlog(names[i], each)
		}
		sub := w.worker(credit, func(o *scheduler.SubscribeOptions) { o.Queues = names })
		taken := make(map[string]int)
		for range queues * each / credit {
			var done []scheduler.Report
			for range credit {
				d := w.next(sub)
				done = append(done, success("", with(d)))
				queue := d.Task.Spec.Queue
				if taken[queue]++; taken[queue] == each && len(taken) < queues {
					t.Fatalf("queue %s is done when only %d of %d have had something", queue, len(taken), queues)
				}
			}
			w.s.ReportBatch(w.ctx, done)
		}
		order.mu.Lock()
		defer order.mu.Unlock()
		if most := queues * each / 10; order.claims > most {
			t.Errorf("%d claims for %d attempts, want at most %d", order.claims, queues*each, most)
		}
	})
}

// TestSinglesDoNotStarveABacklog has one attempt due in each of 64 queues at any time, and
// credit for few: a queue with a backlog has its turn nevertheless.
func TestSinglesDoNotStarveABacklog(t *testing.T) {
	inWorld(t, func(w *world) {
		w.backlog("big", 1000)
		queues := []string{"big"}
		n := 0
		single := func(queue string) {
			w.report(failure(fmt.Sprint("single", n), by("now"), in(queue)))
			n++
		}
		for i := range 64 {
			queues = append(queues, fmt.Sprint("q", i))
			single(queues[i+1])
		}
		w.pass(time.Millisecond)
		sub := w.worker(4, func(o *scheduler.SubscribeOptions) { o.Queues = queues })
		big := 0
		for range 6_000 {
			d := w.next(sub)
			if d.Task.Spec.Queue == "big" {
				big++
			} else {
				single(d.Task.Spec.Queue)
			}
			w.report(success("", with(d)))
		}
		if big < 20 || big > 1000 {
			t.Errorf("%d of 6,000 attempts were of the backlog, want some", big)
		}
	})
}

// TestShardsWithSinglesDoNotStarveOneWithABacklog has one attempt due at any time in each
// of two shards of a queue, and several in the third: they have their turn nevertheless.
func TestShardsWithSinglesDoNotStarveOneWithABacklog(t *testing.T) {
	inWorld(t, func(w *world) {
		n := 0
		single := func(shard int) {
			for {
				id := fmt.Sprint("task", n)
				n++
				if scheduler.ShardOf(scheduler.TaskKey{Namespace: "ns", ID: id}, 3) == shard {
					w.report(failure(id, by("now")))
					return
				}
			}
		}
		for range 10 {
			single(0)
		}
		single(1)
		single(2)
		w.pass(time.Millisecond)
		sub := w.worker(1)
		of := make(map[int]int)
		for range 2_000 {
			d := w.next(sub)
			shard := scheduler.ShardOf(d.Task.Key, 3)
			if of[shard]++; shard != 0 {
				single(shard)
			}
			w.report(success("", with(d)))
		}
		if of[0] != 10 {
			t.Errorf("of 2,000 attempts %v were of each shard, want all 10 of the first", of)
		}
	})
}

// TestBacklogsDoNotStarveASingle has so many backlogs that the first is passed by again
// before the last has had its turn: what falls due in another queue does not wait until
// they are done.
func TestBacklogsDoNotStarveASingle(t *testing.T) {
	inWorld(t, func(w *world) {
		const credit, backlogs, each = 20, 15, 1000
		queues := []string{"quiet"}
		for i := range backlogs {
			queues = append(queues, fmt.Sprint("q", i, "-"))
			w.backlog(queues[i+1], each)
		}
		sub := w.worker(credit, func(o *scheduler.SubscribeOptions) { o.Queues = queues })
		const after = 2_000
		for taken := 0; taken < backlogs*each; {
			if taken == after {
				w.report(failure("single", by("now"), in("quiet")))
			}
			var done []scheduler.Report
			for range credit {
				d := w.next(sub)
				done = append(done, success("", with(d)))
				if taken++; d.Task.Spec.Queue != "quiet" {
					continue
				}
				if late := taken - after; late > 10*credit {
					t.Errorf("it came behind %d others", late)
				}
				return
			}
			w.s.ReportBatch(w.ctx, done)
		}
		t.Error("it has not come before all others")
	})
}
