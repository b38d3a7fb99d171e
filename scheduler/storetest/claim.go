package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
)

var claimTests = []exercise{
	{"nothing is claimed before it is due", func(t *testing.T, f *fixture) {
		f.put(scheduled("a", "q", startMS+1))
		shard := f.shardOf("a")
		got := f.claim(f.newClaim("q", shard, 10, time.Second))
		equal(t, "tasks", ids(got.Tasks), []string{})
		equal(t, "next", got.NextMS, startMS+1)
		equal(t, "now", got.NowMS, startMS)
		f.pass(time.Millisecond)
		equal(t, "tasks", ids(f.claim(f.newClaim("q", shard, 10, time.Second)).Tasks), []string{"a"})
	}},
	{"an empty queue has no next", func(t *testing.T, f *fixture) {
		got := f.claim(f.newClaim("q", 0, 10, time.Second))
		equal(t, "tasks", ids(got.Tasks), []string{})
		equal(t, "next", got.NextMS, int64(0))
	}},
	{"a claimed task is leased, and the answer says all of it", func(t *testing.T, f *fixture) {
		was := f.put(scheduled("a", "q", startMS-5))
		c := f.newClaim("q", f.shardOf("a"), 1, 30*time.Second)
		got := f.claim(c)
		want := *was
		want.State, want.Delivery = scheduler.StateLeased, 1
		want.LeaseMS, want.LeaseEndMS, want.Worker = 30_000, startMS+30_000, "w1"
		want.Fence = scheduler.Fence{Number: startMS * 1000, Nonce: c.Nonces[0]}
		want.Version = got.Tasks[0].Version
		if want.Version <= was.Version {
			t.Errorf("version %d after %d", want.Version, was.Version)
		}
		equal(t, "task", got.Tasks[0], &want)
		equal(t, "next", got.NextMS, startMS+30_000)
		equal(t, "loaded", f.load("a"), &want)
	}},
	{"the earliest go first, then by id, and no more than asked for", func(t *testing.T, f *fixture) {
		in := idsInShard(2, 5)
		for i, due := range []int64{startMS, startMS - 1, startMS, startMS - 7, startMS + 1} {
			f.put(scheduled(in[i], "q", due))
		}
		equal(t, "first", ids(f.claim(f.newClaim("q", 2, 3, time.Second)).Tasks), []string{in[3], in[1], in[0]})
		equal(t, "second", ids(f.claim(f.newClaim("q", 2, 3, time.Second)).Tasks), []string{in[2]})
	}},
	{"slots are filled in order, each with its own lease and worker", func(t *testing.T, f *fixture) {
		for i, id := range idsInShard(1, 4) {
			f.put(scheduled(id, "q", startMS-10+int64(i)))
		}
		c := f.newClaim("q", 1, 4, time.Second)
		c.Slots = []scheduler.Slot{{Count: 1, LeaseMS: 1000, Worker: "one"}, {Count: 0, LeaseMS: 5000, Worker: "none"}, {Count: 2, LeaseMS: 2000, Worker: ""}, {Count: 1, LeaseMS: 3000, Worker: "three"}}
		var got []string
		for _, task := range f.claim(c).Tasks {
			got = append(got, fmt.Sprint(task.Worker, task.LeaseEndMS-startMS))
		}
		equal(t, "slots", got, []string{"one1000", "2000", "2000", "three3000"})
	}},
	{"an ended lease is claimed again, and counts as an expiry", func(t *testing.T, f *fixture) {
		f.put(scheduled("a", "q", startMS))
		first := f.claimAll(1)[0]
		f.pass(999 * time.Millisecond)
		equal(t, "while it lasts", ids(f.claimAll(1)), []string{})
		f.pass(time.Millisecond)
		second := f.claimAll(1)[0]
		equal(t, "delivery and expiries", []int{second.Delivery, second.Expiries}, []int{2, 1})
		equal(t, "due", second.DueMS, first.DueMS)
		if second.Fence.Number <= first.Fence.Number {
			t.Errorf("fence %d after %d", second.Fence.Number, first.Fence.Number)
		}
	}},
	{"fences rise even when the clock stands still or steps back", func(t *testing.T, f *fixture) {
		task := scheduled("a", "q", startMS-100_000)
		task.Fence = scheduler.Fence{Number: startMS*1000 + 5, Nonce: 9}
		f.put(task)
		f.pass(-time.Second)
		equal(t, "fence", f.claimAll(1)[0].Fence.Number, startMS*1000+6)
	}},
	{"a claim clears the token that was released", func(t *testing.T, f *fixture) {
		task := scheduled("a", "q", startMS)
		task.Released = scheduler.Fence{Number: 1, Nonce: 2}
		f.put(task)
		equal(t, "released", f.claimAll(1)[0].Released, scheduler.Fence{})
	}},
	{"a repeated claim takes nothing more", func(t *testing.T, f *fixture) {
		for _, id := range idsInShard(0, 4) {
			f.put(scheduled(id, "q", startMS))
		}
		c := f.newClaim("q", 0, 2, time.Second)
		first := f.claim(c)
		again := f.claim(c)
		equal(t, "tasks", again.Tasks, first.Tasks)
		equal(t, "next", again.NextMS, first.NextMS)
	}},
	{"a repeated claim returns only what still carries its fence", func(t *testing.T, f *fixture) {
		in := idsInShard(0, 3)
		for i, id := range in {
			f.put(scheduled(id, "q", startMS-10+int64(i)))
		}
		c := f.newClaim("q", 0, 3, time.Second)
		first := f.claim(c).Tasks
		settled := *first[0]
		settled.State, settled.DueMS, settled.LeaseEndMS = scheduler.StateScheduled, startMS+5000, 0
		f.write(&settled, first[0])
		extended := *first[1]
		extended.LeaseEndMS += 60_000
		f.write(&extended, first[1])
		f.pass(2 * time.Second)
		equal(t, "another replica takes the third", ids(f.claim(f.newClaim("q", 0, 5, time.Second)).Tasks), []string{in[2]})
		equal(t, "tasks", ids(f.claim(c).Tasks), []string{in[1]})
	}},
	{"another claim of the replica takes the place of the last", func(t *testing.T, f *fixture) {
		in := idsInShard(0, 2)
		f.put(scheduled(in[0], "q", startMS-1))
		f.put(scheduled(in[1], "q", startMS))
		one, two := f.newClaim("q", 0, 1, time.Second), f.newClaim("q", 0, 1, time.Second)
		two.Replica = one.Replica
		equal(t, "one", ids(f.claim(one).Tasks), []string{in[0]})
		equal(t, "two", ids(f.claim(two).Tasks), []string{in[1]})
		equal(t, "two again", ids(f.claim(two).Tasks), []string{in[1]})
	}},
	{"claims of two queues in one shard are both remembered", func(t *testing.T, f *fixture) {
		in := idsInShard(0, 2)
		f.put(scheduled(in[0], "q", startMS))
		f.put(scheduled(in[1], "r", startMS))
		one, two := f.newClaim("q", 0, 1, time.Second), f.newClaim("r", 0, 1, time.Second)
		two.Replica = one.Replica
		for range 2 {
			got := f.store.Claim(t.Context(), []scheduler.Claim{one, two})
			equal(t, "one", ids(got[0].Tasks), []string{in[0]})
			equal(t, "two", ids(got[1].Tasks), []string{in[1]})
		}
	}},
	{"one task is claimed by its id, if it is due", func(t *testing.T, f *fixture) {
		in := idsInShard(3, 2)
		f.put(scheduled(in[0], "q", startMS-50))
		f.put(scheduled(in[1], "q", startMS+10))
		c := f.newClaim("q", 3, 1, time.Second)
		c.Replica, c.Task = "", key(in[1])
		equal(t, "early", ids(f.claim(c).Tasks), []string{})
		f.pass(10 * time.Millisecond)
		equal(t, "due", ids(f.claim(c).Tasks), []string{in[1]})
		equal(t, "taken", ids(f.claim(c).Tasks), []string{})
		f.pass(time.Second)
		got := f.claim(c).Tasks
		equal(t, "expired", ids(got), []string{in[1]})
		equal(t, "expiries", got[0].Expiries, 1)
		c.Task = key("nobody")
		equal(t, "unknown", ids(f.claim(c).Tasks), []string{})
	}},
	{"one task is claimed in its own queue alone", func(t *testing.T, f *fixture) {
		f.put(scheduled("a", "q", startMS))
		c := f.newClaim("other", f.shardOf("a"), 1, time.Second)
		c.Replica, c.Task = "", key("a")
		equal(t, "in another", ids(f.claim(c).Tasks), []string{})
		c.Queue = queueKey("q")
		equal(t, "in its own", ids(f.claim(c).Tasks), []string{"a"})
	}},
	{"one task is not claimed from a paused queue", func(t *testing.T, f *fixture) {
		f.put(scheduled("a", "q", startMS))
		f.pause("q", startMS+1000)
		c := f.newClaim("q", f.shardOf("a"), 1, time.Second)
		c.Replica, c.Task = "", key("a")
		equal(t, "paused", f.claim(c), scheduler.Claimed{NextMS: startMS + 1000, Paused: true, NowMS: startMS})
		f.pass(time.Second)
		equal(t, "no longer", ids(f.claim(c).Tasks), []string{"a"})
	}},
	{"a claim repeated under a pause returns what it took before", func(t *testing.T, f *fixture) {
		in := idsInShard(0, 2)
		f.put(scheduled(in[0], "q", startMS))
		f.put(scheduled(in[1], "q", startMS+5))
		c := f.newClaim("q", 0, 2, time.Second)
		first := f.claim(c)
		f.pause("q", startMS+500)
		equal(t, "again", f.claim(c), scheduler.Claimed{Tasks: first.Tasks, NextMS: startMS + 500, Paused: true, NowMS: startMS})
		f.pause("q", startMS+2)
		equal(t, "next", f.claim(c).NextMS, startMS+5)
	}},
	{"a claim repeated after one that a pause left empty stays empty", func(t *testing.T, f *fixture) {
		f.put(scheduled("a", "q", startMS))
		c := f.newClaim("q", f.shardOf("a"), 1, time.Second)
		f.pause("q", 0)
		equal(t, "paused", ids(f.claim(c).Tasks), []string{})
		f.resume("q")
		equal(t, "again", ids(f.claim(c).Tasks), []string{})
		equal(t, "another", ids(f.claimAll(1)), []string{"a"})
	}},
	{"a lease that has ended is counted once, also when it is claimed again", func(t *testing.T, f *fixture) {
		in := idsInShard(2, 3)
		for i, id := range in {
			f.put(grouped(scheduled(id, "q", startMS+int64(i/2)*1e9), "g"))
		}
		for range 3 {
			c := f.newClaim("q", 2, 2, time.Second)
			f.claim(c)
			f.claim(c)
			equal(t, "leased", f.counts("q")[0].Leased, int64(2))
			f.wantGroup("leased", "g", scheduler.GroupCount{Total: 3, InProgress: 2})
			f.pass(time.Second)
		}
	}},
	{"tasks without a queue are claimed by their id", func(t *testing.T, f *fixture) {
		f.put(scheduled("a", "", startMS))
		c := f.newClaim("", f.shardOf("a"), 1, time.Second)
		c.Replica, c.Task = "", key("a")
		equal(t, "tasks", ids(f.claim(c).Tasks), []string{"a"})
	}},
	{"only due states are claimed", func(t *testing.T, f *fixture) {
		for i, state := range []scheduler.State{scheduler.StateHeld, scheduler.StateDead, scheduler.StateSucceeded, scheduler.StateCancelled, scheduler.StateDiscarded} {
			task := scheduled(fmt.Sprint("t", i), "q", 0)
			task.State, task.ExpireMS = state, startMS+1e6
			f.put(task)
		}
		equal(t, "tasks", ids(f.claimAll(10)), []string{})
	}},
	{"claims of many at once never overlap", func(t *testing.T, f *fixture) {
		const n = 300
		for i := range n {
			f.put(scheduled(fmt.Sprint("t", i), "q", startMS-int64(i)))
		}
		var mu sync.Mutex
		seen := make(map[scheduler.TaskKey]int)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for shard := range shards {
					for {
						got := f.store.Claim(t.Context(), []scheduler.Claim{f.newClaim("q", shard, 7, time.Minute)})[0]
						if got.Err != nil || len(got.Tasks) == 0 {
							break
						}
						mu.Lock()
						for _, task := range got.Tasks {
							seen[task.Key]++
						}
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		equal(t, "tasks claimed", len(seen), n)
		for k, times := range seen {
			if times != 1 {
				t.Errorf("%s was claimed %d times", k.ID, times)
			}
		}
	}},
	{"leases are told apart from those that are over", func(t *testing.T, f *fixture) {
		f.put(scheduled("a", "q", startMS))
		f.put(scheduled("b", "q", startMS))
		tasks := f.claimAll(2)
		a, b := tasks[0], tasks[1]
		extended := *a
		extended.LeaseEndMS += 5000
		f.write(&extended, a)
		done := *b
		done.State, done.ExpireMS = scheduler.StateSucceeded, startMS+1e6
		f.write(&done, b)
		check := func(task *scheduler.Task) scheduler.LeaseCheck {
			return scheduler.LeaseCheck{Queue: queueKey("q"), Key: task.Key, Fence: task.Fence, LeaseEndMS: task.LeaseEndMS}
		}
		stale := check(a)
		stale.Fence.Nonce++
		unknown := check(a)
		unknown.Key = key("nobody")
		got := f.store.CheckLeases(t.Context(), []scheduler.LeaseCheck{check(a), check(b), stale, unknown, check(&extended)})
		held := scheduler.LeaseChecked{Held: true, LeaseEndMS: startMS + 6000}
		equal(t, "checked", got, []scheduler.LeaseChecked{held, {}, {}, {}, held})
	}},
}
