package storetest

import (
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

const hour = startMS / scheduler.HourMS

// decide writes what is decided of a task now over before, nil where it is new.
func (f *fixture) decide(task, before *scheduler.Task) *scheduler.Task {
	f.t.Helper()
	got := f.commit(scheduler.Change{Key: task.Key, Before: before, Task: task, DecidedMS: f.now.Load()})
	if got.Status != scheduler.CommitDone {
		f.t.Fatalf("commit of %s: status %d, want done", task.Key.ID, got.Status)
	}
	return got.Task
}

// reported returns a task with a record of its attempt, in a new state.
func reported(task *scheduler.Task, state scheduler.State, success bool, action policy.Action) *scheduler.Task {
	next := *task
	next.State = state
	rec := scheduler.AttemptRecord{Attempt: task.Attempt, Generation: task.Generation, TimeMS: startMS, Success: success}
	if !success {
		rec.Failure = policy.Failure{Cause: policy.CauseTimeout}
		rec.Decision = policy.Decision{Action: action, Attempt: task.Attempt}
	}
	next.History = append(append([]scheduler.AttemptRecord{}, task.History...), rec)
	return &next
}

// counts returns what is counted of queues, as other replicas see it.
func (f *fixture) counts(queues ...string) []scheduler.QueueCount {
	f.t.Helper()
	keys := make([]scheduler.QueueKey, len(queues))
	for i, name := range queues {
		keys[i] = queueKey(name)
	}
	got, err := f.peer.CountQueues(f.t.Context(), keys)
	if err != nil || len(got) != len(queues) {
		f.t.Fatalf("count %v: %+v, error %v", queues, got, err)
	}
	return got
}

// known returns the queues that a shard knows, read two at a time.
func (f *fixture) known(shard int) []string {
	f.t.Helper()
	names := []string{}
	var after scheduler.QueueKey
	for {
		page, err := f.peer.Queues(f.t.Context(), shard, after, 2)
		if err != nil {
			f.t.Fatal(err)
		}
		if len(page) == 0 {
			return names
		}
		for _, q := range page {
			names = append(names, q.Namespace+"/"+q.Name)
		}
		after = page[len(page)-1]
	}
}

// forgetQueues forgets what can be forgotten in a shard, by pages of two.
func (f *fixture) forgetQueues(shard int) {
	f.t.Helper()
	var after scheduler.QueueKey
	for range 100 {
		next, err := f.store.ForgetQueues(f.t.Context(), shard, after, 2)
		if err != nil {
			f.t.Fatal(err)
		}
		if next == (scheduler.QueueKey{}) {
			return
		}
		after = next
	}
	f.t.Fatal("forgetting queues comes to no end")
}

var queueTests = []exercise{
	{"queues are known in the order of their names, from their first task on", func(t *testing.T, f *fixture) {
		equal(t, "at first", f.known(2), []string{})
		in := idsInShard(2, 5)
		var last *scheduler.Task
		for i, name := range []string{"q1", "q0", "q3", "q2", "q4"} {
			task := scheduled(in[i], name, startMS+1000)
			switch name {
			case "q2":
				task = held(in[i], name, "c", startMS)
			case "q3":
				task = dead(in[i], name, 7, startMS)
			}
			last = f.put(task)
		}
		want := []string{"ns/q0", "ns/q1", "ns/q2", "ns/q3", "ns/q4"}
		equal(t, "queues", f.known(2), want)
		equal(t, "queues elsewhere", f.known(1), []string{})
		f.commit(scheduler.Change{Key: last.Key, Before: last})
		equal(t, "queues after their last task", f.known(2), want)
	}},
	{"due queues are told from the longest due on, paused or not", func(t *testing.T, f *fixture) {
		ids := idsInShard(1, 4)
		for i, q := range []string{"second", "first", "paused", "later"} {
			f.put(scheduled(ids[i], q, startMS+[]int64{-10, -20, -5, 1}[i]))
		}
		if err := f.store.PauseQueue(t.Context(), queueKey("paused"), 0); err != nil {
			t.Fatal(err)
		}
		due := func(shard, skip, limit int) []string {
			got, err := f.peer.DueQueues(t.Context(), shard, skip, limit)
			if err != nil {
				t.Fatal(err)
			}
			names := []string{}
			for _, q := range got {
				names = append(names, q.Name)
			}
			return names
		}
		equal(t, "all", due(1, 0, 10), []string{"first", "second", "paused"})
		equal(t, "first page", due(1, 0, 2), []string{"first", "second"})
		equal(t, "second page", due(1, 2, 2), []string{"paused"})
		equal(t, "behind the last", due(1, 4, 2), []string{})
		equal(t, "in another shard", due(0, 0, 10), []string{})
		f.pass(time.Millisecond)
		equal(t, "a moment later", due(1, 0, 10), []string{"first", "second", "paused", "later"})
	}},
	{"queues of no use any more are forgotten", func(t *testing.T, f *fixture) {
		in := idsInShard(0, 8)
		waits := f.put(scheduled(in[0], "waits", startMS))
		hold := f.put(held(in[1], "held", "c", startMS))
		died := f.put(dead(in[2], "dead", 7, startMS))
		f.decide(ended(in[3], "counted", scheduler.StateSucceeded), nil)
		gone := f.put(scheduled(in[4], "gone", startMS))
		f.commit(scheduler.Change{Key: gone.Key, Before: gone})
		f.pause("paused", 0)
		f.pause("until", startMS+10)
		all := []string{"ns/counted", "ns/dead", "ns/gone", "ns/held", "ns/paused", "ns/until", "ns/waits"}
		equal(t, "queues", f.known(0), all)
		f.forgetQueues(0)
		equal(t, "queues", f.known(0), []string{"ns/counted", "ns/dead", "ns/held", "ns/paused", "ns/until", "ns/waits"})
		equal(t, "queues elsewhere", f.known(1), []string{"ns/paused", "ns/until"})

		f.pass(10 * time.Millisecond)
		for shard := range shards {
			f.forgetQueues(shard)
		}
		equal(t, "queues", f.known(0), []string{"ns/counted", "ns/dead", "ns/held", "ns/paused", "ns/waits"})
		equal(t, "known still", f.counts("until")[0].Known, false)
		for _, task := range []*scheduler.Task{waits, hold, died} {
			f.commit(scheduler.Change{Key: task.Key, Before: task})
		}
		f.resume("paused")
		f.forgetQueues(0)
		equal(t, "queues", f.known(0), []string{"ns/counted"})

		f.pass((scheduler.StatHours - 1) * time.Hour)
		f.forgetQueues(0)
		equal(t, "queues a day later", f.known(0), []string{"ns/counted"})
		f.pass(time.Hour)
		f.forgetQueues(0)
		equal(t, "queues after that", f.known(0), []string{})
		again := f.put(scheduled(in[5], "waits", startMS))
		equal(t, "known again", f.known(0), []string{"ns/waits"})
		equal(t, "claimed", ids(f.claim(f.newClaim("waits", 0, 1, time.Second)).Tasks), []string{again.Key.ID})
	}},
}

// settleSome claims tasks of queue q until nothing is due, and makes something of
// most of them, each worker something else.
func settleSome(t *testing.T, store scheduler.Store, f *fixture, worker int) {
	t.Helper()
	for round := 0; ; round++ {
		found := 0
		for shard := range shards {
			claimed := store.Claim(t.Context(), []scheduler.Claim{f.newClaim("q", shard, 5, time.Minute)})[0]
			if claimed.Err != nil {
				t.Error(claimed.Err)
				return
			}
			found += len(claimed.Tasks)
			var changes []scheduler.Change
			for i, task := range claimed.Tasks {
				var next *scheduler.Task
				switch (worker + i + round) % 5 {
				case 0:
					next = held(task.Key.ID, "q", "c", startMS)
				case 1:
					next = dead(task.Key.ID, "q", scheduler.Fingerprint(i), startMS)
				case 2:
					next = scheduled(task.Key.ID, "q", startMS+1e6)
				case 3:
					next = ended(task.Key.ID, "q", scheduler.StateCancelled)
				default:
					continue
				}
				next.Spec = task.Spec
				changes = append(changes, scheduler.Change{Key: task.Key, Before: task, Task: next, DecidedMS: startMS})
			}
			for _, got := range store.Commit(t.Context(), changes) {
				if got.Err != nil || got.Status != scheduler.CommitDone {
					t.Errorf("settled: %+v", got)
				}
			}
		}
		if found == 0 {
			return
		}
	}
}
