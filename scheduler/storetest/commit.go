package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
)

var commitTests = []exercise{
	{"a task that is not there is nil", func(t *testing.T, f *fixture) {
		equal(t, "task", f.load("a"), (*scheduler.Task)(nil))
	}},
	{"every field comes back", func(t *testing.T, f *fixture) {
		want := FullTask("a")
		written := f.put(want)
		want.Version = written.Version
		equal(t, "as written", written, want)
		equal(t, "as loaded", f.load("a"), want)
	}},
	{"empty task comes back", func(t *testing.T, f *fixture) {
		want := &scheduler.Task{Key: key("a"), State: scheduler.StateScheduled, DueMS: 1}
		want.Version = f.put(want).Version
		equal(t, "as loaded", f.load("a"), want)
	}},
	{"versions rise with every write", func(t *testing.T, f *fixture) {
		first := f.put(scheduled("a", "q", startMS))
		second := f.write(scheduled("a", "q", startMS+1), first)
		if second.Version <= first.Version {
			t.Errorf("version %d after %d", second.Version, first.Version)
		}
		if first.Version < startMS*1000 {
			t.Errorf("version %d lies under the clock in microseconds", first.Version)
		}
	}},
	{"a change of what is not so any more is refused with what is", func(t *testing.T, f *fixture) {
		now := f.put(scheduled("a", "q", startMS))
		for _, expect := range []int64{0, now.Version - 1, now.Version + 1} {
			got := f.commit(scheduler.Change{Key: key("a"), Before: at(now, expect), Task: scheduled("a", "q", startMS+99)})
			equal(t, "status", got.Status, scheduler.CommitConflict)
			equal(t, "task", got.Task, now)
		}
		equal(t, "task", f.load("a"), now)
	}},
	{"a change of what is gone is refused with nil", func(t *testing.T, f *fixture) {
		got := f.commit(scheduler.Change{Key: key("a"), Before: at(scheduled("a", "q", startMS), 5), Task: scheduled("a", "q", startMS)})
		equal(t, "status", got.Status, scheduler.CommitConflict)
		equal(t, "task", got.Task, (*scheduler.Task)(nil))
		equal(t, "now", got.NowMS, startMS)
	}},
	{"one refused change spoils no other", func(t *testing.T, f *fixture) {
		f.put(scheduled("a", "q", startMS))
		got := f.store.Commit(t.Context(), []scheduler.Change{
			{Key: key("a"), Task: scheduled("a", "q", startMS+1)},
			{Key: key("b"), Task: scheduled("b", "q", startMS+1)},
			{Key: key("c"), Before: at(scheduled("c", "q", startMS), 1), Task: scheduled("c", "q", startMS+1)},
		})
		equal(t, "statuses", []scheduler.CommitStatus{got[0].Status, got[1].Status, got[2].Status},
			[]scheduler.CommitStatus{scheduler.CommitConflict, scheduler.CommitDone, scheduler.CommitConflict})
		if f.load("b") == nil || f.load("c") != nil {
			t.Error("b should be there, c should not")
		}
	}},
	{"a removed task leaves nothing behind", func(t *testing.T, f *fixture) {
		now := f.put(scheduled("a", "q", startMS))
		got := f.commit(scheduler.Change{Key: key("a"), Before: now})
		equal(t, "status", got.Status, scheduler.CommitDone)
		equal(t, "task", got.Task, (*scheduler.Task)(nil))
		equal(t, "loaded", f.load("a"), (*scheduler.Task)(nil))
		equal(t, "claimed", ids(f.claimAll(5)), []string{})
	}},
	{"decisions at another time than now are refused", func(t *testing.T, f *fixture) {
		for _, c := range []struct {
			decided int64
			final   bool
			want    scheduler.CommitStatus
		}{
			{startMS, false, scheduler.CommitDone},
			{startMS + scheduler.MaxAheadMS, false, scheduler.CommitDone},
			{startMS + scheduler.MaxAheadMS + 1, false, scheduler.CommitSkewed},
			{startMS - scheduler.MaxBehindMS, false, scheduler.CommitDone},
			{startMS - scheduler.MaxBehindMS - 1, false, scheduler.CommitSkewed},
			{startMS - 3_600_000, true, scheduler.CommitDone},
			{0, false, scheduler.CommitDone},
		} {
			id := fmt.Sprint(c.decided, c.final)
			got := f.commit(scheduler.Change{Key: key(id), Task: scheduled(id, "q", startMS), DecidedMS: c.decided, Final: c.final})
			equal(t, "status at "+id, got.Status, c.want)
			equal(t, "now at "+id, got.NowMS, startMS)
			if there := f.load(id) != nil; there != (c.want == scheduler.CommitDone) {
				t.Errorf("decided at %d, final %v: written is %v", c.decided, c.final, there)
			}
		}
	}},
	{"a conflict comes before a refusal of the time", func(t *testing.T, f *fixture) {
		now := f.put(scheduled("a", "q", startMS))
		got := f.commit(scheduler.Change{Key: key("a"), Task: scheduled("a", "q", startMS), DecidedMS: startMS - 9_999})
		equal(t, "status", got.Status, scheduler.CommitConflict)
		equal(t, "task", got.Task, now)
	}},
	{"an ended task is forgotten when its time comes", func(t *testing.T, f *fixture) {
		ended := scheduled("a", "q", 0)
		ended.State, ended.EndMS, ended.ExpireMS = scheduler.StateSucceeded, startMS, startMS+1000
		written := f.put(ended)
		f.pass(999 * time.Millisecond)
		if f.load("a") == nil {
			t.Fatal("forgotten too early")
		}
		f.pass(time.Millisecond)
		if f.load("a") != nil {
			t.Fatal("not forgotten")
		}
		again := f.put(scheduled("a", "q", startMS))
		if again.Version <= written.Version {
			t.Errorf("the new task's version %d does not lie above the old one's %d", again.Version, written.Version)
		}
	}},
	{"namespaces do not see each other", func(t *testing.T, f *fixture) {
		f.put(scheduled("a", "q", startMS))
		other := scheduler.TaskKey{Namespace: "other", ID: "a"}
		if got := f.store.Load(t.Context(), []scheduler.TaskKey{other}); got[0].Task != nil {
			t.Errorf("another namespace's task: %+v", got[0].Task)
		}
		for shard := range shards {
			c := f.newClaim("q", shard, 10, time.Second)
			c.Queue.Namespace = "other"
			equal(t, "claimed", ids(f.claim(c).Tasks), []string{})
		}
	}},
	{"awkward names stay apart", func(t *testing.T, f *fixture) {
		keys := []scheduler.TaskKey{{Namespace: "a", ID: "b/c"}, {Namespace: "a.b", ID: "c"}, {Namespace: "a", ID: "b:c"}, {Namespace: "a", ID: "{b}c"}, {Namespace: "a", ID: "ü é\"'\\"}}
		for i, k := range keys {
			task := scheduled("", fmt.Sprint("q", i), startMS)
			task.Key = k
			f.put(task)
		}
		for i, got := range f.store.Load(t.Context(), keys) {
			if got.Task == nil || got.Task.Key != keys[i] || got.Task.Spec.Queue != fmt.Sprint("q", i) {
				t.Errorf("task %q: %+v", keys[i], got.Task)
			}
		}
	}},
	{"what becomes of a task whose group was deleted counts as if it were new", func(t *testing.T, f *fixture) {
		in := idsInShard(1, 5)
		member := func(i int, state scheduler.State) *scheduler.Task {
			task := grouped(scheduled(in[i], "q", startMS+1000), "h")
			task.State, task.ExpireMS = state, startMS+1e6
			return task
		}
		leased, held, waiting := f.put(member(0, scheduler.StateLeased)), f.put(member(1, scheduler.StateHeld)), f.put(member(2, scheduler.StateScheduled))
		f.deleteGroup("h")
		f.write(member(1, scheduler.StateSucceeded), held)
		f.wantGroup("one that was pending has succeeded", "h", scheduler.GroupCount{Total: 1, Completed: 1})
		f.put(member(3, scheduler.StateScheduled))
		f.put(member(4, scheduler.StateScheduled))
		f.write(member(0, scheduler.StateDead), leased)
		f.wantGroup("one that was leased has died among new ones", "h", scheduler.GroupCount{Total: 4, Completed: 1, Failed: 1})
		f.write(member(2, scheduler.StateDiscarded), waiting)
		f.wantGroup("one more that was pending takes the place of a new one", "h", scheduler.GroupCount{Total: 4, Completed: 1, Failed: 2})
		f.deleteGroup("h")
		f.pass(time.Second)
		equal(t, "claimed", len(f.claim(f.newClaim("q", 1, 5, time.Second)).Tasks), 2)
		f.wantGroup("all new ones are claimed", "h", scheduler.GroupCount{Total: 2, InProgress: 2})
		f.remove(in...)
		f.deleteGroup("h")
	}},
	{"of many writers at once one wins", func(t *testing.T, f *fixture) {
		now := f.put(scheduled("a", "q", startMS))
		var wg sync.WaitGroup
		results := make([]scheduler.Committed, 16)
		for i := range results {
			wg.Go(func() {
				task := scheduled("a", "q", startMS+int64(i))
				results[i] = f.store.Commit(t.Context(), []scheduler.Change{{Key: key("a"), Before: now, Task: task}})[0]
			})
		}
		wg.Wait()
		won := 0
		for _, r := range results {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if r.Status == scheduler.CommitDone {
				won++
			}
		}
		equal(t, "winners", won, 1)
	}},
}
