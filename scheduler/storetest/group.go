package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
)

func groupKey(name string) scheduler.GroupKey {
	return scheduler.GroupKey{Namespace: "ns", Name: name}
}

// grouped puts a task into a group.
func grouped(task *scheduler.Task, group string) *scheduler.Task {
	task.Spec.Group = group
	return task
}

// group returns a group's counts, as other replicas see them; ok is false where
// there are none.
func (f *fixture) group(name string) (count scheduler.GroupCount, ok bool) {
	f.t.Helper()
	count, ok, err := f.peer.Group(f.t.Context(), groupKey(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return count, ok
}

func (f *fixture) wantGroup(what, name string, want scheduler.GroupCount) {
	f.t.Helper()
	got, ok := f.group(name)
	equal(f.t, what+": there", ok, true)
	equal(f.t, what, got, want)
}

func (f *fixture) deleteGroup(name string) bool {
	f.t.Helper()
	ok, err := f.store.DeleteGroup(f.t.Context(), groupKey(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return ok
}

// forgetGroups forgets groups of a shard, one at a time.
func (f *fixture) forgetGroups(shard int, beforeMS int64) int {
	f.t.Helper()
	sum := 0
	for range 10 {
		n, err := f.store.ForgetGroups(f.t.Context(), shard, beforeMS, 1)
		if err != nil {
			f.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// remove takes away tasks whose group was deleted under them, for those who hold
// counts against tasks when a test is over.
func (f *fixture) remove(ids ...string) {
	f.t.Helper()
	for _, id := range ids {
		task := f.load(id)
		f.commit(scheduler.Change{Key: task.Key, Before: task})
	}
}

var groupTests = []exercise{
	{"a group's counts follow a task through its life", func(t *testing.T, f *fixture) {
		if got, ok := f.group("g"); ok || got != (scheduler.GroupCount{}) {
			t.Errorf("there is %+v before there is a group", got)
		}
		pending := scheduler.GroupCount{Total: 1}
		f.put(grouped(scheduled("a", "q", startMS), "g"))
		f.wantGroup("scheduled", "g", pending)
		f.claimAll(1)
		f.wantGroup("leased", "g", scheduler.GroupCount{Total: 1, InProgress: 1})
		f.pass(time.Second)
		a := f.claimAll(1)[0]
		f.wantGroup("leased again", "g", scheduler.GroupCount{Total: 1, InProgress: 1})
		a = f.write(grouped(held("a", "q", "c", startMS), "g"), a)
		f.wantGroup("held", "g", pending)
		a = f.write(grouped(dead("a", "q", 7, startMS), "g"), a)
		f.wantGroup("dead", "g", scheduler.GroupCount{Total: 1, Failed: 1})
		a = f.write(grouped(scheduled("a", "q", startMS), "g"), a)
		f.wantGroup("replayed", "g", pending)
		for _, state := range []scheduler.State{scheduler.StateCancelled, scheduler.StateDiscarded} {
			a = f.write(grouped(ended("a", "q", state), "g"), a)
			f.wantGroup(state.String(), "g", scheduler.GroupCount{Total: 1, Failed: 1})
		}
		a = f.write(grouped(ended("a", "q", scheduler.StateSucceeded), "g"), a)
		f.wantGroup("succeeded", "g", scheduler.GroupCount{Total: 1, Completed: 1})
		f.commit(scheduler.Change{Key: a.Key, Before: a})
		f.wantGroup("gone", "g", scheduler.GroupCount{Total: 1, Completed: 1})
	}},
	{"a success at the first attempt counts, a task of the same id later too", func(_ *testing.T, f *fixture) {
		first := grouped(ended("a", "q", scheduler.StateSucceeded), "g")
		first.ExpireMS = startMS + 1000
		f.put(first)
		f.wantGroup("first", "g", scheduler.GroupCount{Total: 1, Completed: 1})
		f.pass(time.Second)
		f.put(grouped(scheduled("a", "q", startMS), "g"))
		f.wantGroup("second", "g", scheduler.GroupCount{Total: 2, Completed: 1})
	}},
	{"a group is counted over all shards, and apart from others", func(t *testing.T, f *fixture) {
		var tasks []*scheduler.Task
		for shard := range shards {
			in := idsInShard(shard, 5)
			tasks = append(tasks,
				grouped(scheduled(in[0], "q", startMS), "g"), grouped(held(in[1], "q", "c", startMS), "g"),
				grouped(dead(in[2], "q", 7, startMS), "g"), grouped(ended(in[3], "q", scheduler.StateSucceeded), "g"),
				grouped(scheduled(in[4], "r", startMS), "g:2"))
		}
		elsewhere := grouped(scheduled("a", "q", startMS), "g")
		elsewhere.Key.Namespace = "other"
		f.putAll(append(tasks, elsewhere)...)
		f.claimAll(4)
		f.wantGroup("g", "g", scheduler.GroupCount{Total: 16, Completed: 4, Failed: 4, InProgress: 4})
		f.wantGroup("g:2", "g:2", scheduler.GroupCount{Total: 4})
		if _, ok := f.group("2"); ok {
			t.Error("a group that nobody has named is there")
		}
	}},
	{"a group's counts are right after many changes at once", func(t *testing.T, f *fixture) {
		const n = 200
		for i := range n {
			f.put(grouped(scheduled(fmt.Sprint("t", i), "q", startMS), "g"))
		}
		var wg sync.WaitGroup
		for worker, store := range []scheduler.Store{f.store, f.peer, f.store, f.peer} {
			wg.Go(func() { settleSome(t, store, f, worker) })
		}
		wg.Wait()
		want := scheduler.GroupCount{Total: n}
		for i := range n {
			switch f.load(fmt.Sprint("t", i)).State {
			case scheduler.StateLeased:
				want.InProgress++
			case scheduler.StateDead, scheduler.StateCancelled:
				want.Failed++
			}
		}
		f.wantGroup("counts", "g", want)
	}},
	{"a deleted group begins anew with what changes from then on", func(t *testing.T, f *fixture) {
		in, other := idsInShard(1, 4), idsInShard(3, 1)[0]
		for _, id := range in[:3] {
			f.put(grouped(scheduled(id, "q", startMS), "g"))
		}
		f.put(grouped(scheduled(other, "q", startMS+1e6), "g"))
		leased := f.claim(f.newClaim("q", 1, 2, time.Minute)).Tasks
		equal(t, "deleted", f.deleteGroup("g"), true)
		equal(t, "deleted again", f.deleteGroup("g"), false)
		if _, ok := f.group("g"); ok {
			t.Error("the group is still there")
		}

		var want scheduler.GroupCount
		wantPlus := func(what string, change scheduler.GroupCount) {
			t.Helper()
			want = want.Plus(change)
			f.wantGroup(what, "g", want)
		}
		one := f.write(grouped(ended(leased[0].Key.ID, "q", scheduler.StateSucceeded), "g"), leased[0])
		wantPlus("a success", scheduler.GroupCount{Completed: 1, InProgress: -1})
		two := f.write(grouped(dead(leased[1].Key.ID, "q", 7, startMS), "g"), leased[1])
		wantPlus("a dead letter", scheduler.GroupCount{Failed: 1, InProgress: -1})
		f.write(grouped(scheduled(two.Key.ID, "q", startMS+1e6), "g"), two)
		wantPlus("its replay", scheduler.GroupCount{Failed: -1})
		f.remove(one.Key.ID)
		wantPlus("a record that goes", scheduler.GroupCount{})
		equal(t, "claimed", len(f.claim(f.newClaim("q", 1, 5, time.Minute)).Tasks), 1)
		wantPlus("a claim", scheduler.GroupCount{InProgress: 1})
		f.put(grouped(scheduled(in[3], "q", startMS+1e6), "g"))
		wantPlus("a new task", scheduler.GroupCount{Total: 1})

		f.remove(two.Key.ID, in[2], in[3], other)
		equal(t, "deleted at last", f.deleteGroup("g"), true)
	}},
	{"groups in which nothing changes any more are forgotten", func(t *testing.T, f *fixture) {
		here, there := idsInShard(1, 4), idsInShard(2, 2)
		f.put(grouped(scheduled(here[0], "q", startMS+1e6), "old"))
		f.put(grouped(scheduled(there[0], "q", startMS+1e6), "old"))
		busy := f.put(grouped(scheduled(here[1], "q", startMS+1e6), "busy"))
		f.put(grouped(scheduled(here[2], "q", startMS+1e6), "busy elsewhere"))
		f.pass(10 * time.Millisecond)
		f.write(grouped(dead(here[1], "q", 7, startMS), "busy"), busy)
		f.put(grouped(scheduled(there[1], "q", startMS+1e6), "busy elsewhere"))

		equal(t, "forgotten where it is not", f.forgetGroups(0, startMS+10), 0)
		equal(t, "forgotten before its time", f.forgetGroups(1, startMS), 0)
		equal(t, "forgotten", f.forgetGroups(1, startMS+10), 1)
		equal(t, "forgotten again", f.forgetGroups(1, startMS+10)+f.forgetGroups(2, startMS+10), 0)
		if got, ok := f.group("old"); ok {
			t.Errorf("the group is still there: %+v", got)
		}
		f.wantGroup("busy", "busy", scheduler.GroupCount{Total: 1, Failed: 1})
		f.wantGroup("busy elsewhere", "busy elsewhere", scheduler.GroupCount{Total: 2})
		f.remove(here[0], there[0])
	}},
	{"a claim is a change of its group", func(t *testing.T, f *fixture) {
		id := idsInShard(1, 1)[0]
		f.put(grouped(scheduled(id, "q", startMS), "g"))
		f.pass(10 * time.Millisecond)
		f.claimAll(1)
		equal(t, "forgotten", f.forgetGroups(1, startMS+10), 0)
		f.wantGroup("counts", "g", scheduler.GroupCount{Total: 1, InProgress: 1})
		f.pass(time.Second)
		f.claimAll(1)
		equal(t, "forgotten", f.forgetGroups(1, startMS+11), 1)
		f.remove(id)
	}},
}
