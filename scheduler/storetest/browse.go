package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/retryd/retryd/scheduler"
)

// held is a task that waits for a condition since holdMS.
func held(id, queue, condition string, holdMS int64) *scheduler.Task {
	task := scheduled(id, queue, 0)
	task.State, task.HoldCondition, task.HoldMS = scheduler.StateHeld, condition, holdMS
	return task
}

// dead is a task that died at endMS.
func dead(id, queue string, fingerprint scheduler.Fingerprint, endMS int64) *scheduler.Task {
	task := scheduled(id, queue, 0)
	task.State, task.Fingerprint, task.EndMS, task.ExpireMS = scheduler.StateDead, fingerprint, endMS, startMS+1e9
	return task
}

func queueIndex(kind scheduler.IndexKind, queue string) scheduler.Index {
	return scheduler.Index{Kind: kind, Namespace: "ns", Name: queue}
}

func printIndex(queue string, fingerprint scheduler.Fingerprint) scheduler.Index {
	return scheduler.Index{Kind: scheduler.IndexFingerprint, Namespace: "ns", Name: queue, Fingerprint: fingerprint}
}

// putAll writes tasks that are not there yet, in one call.
func (f *fixture) putAll(tasks ...*scheduler.Task) {
	f.t.Helper()
	changes := make([]scheduler.Change, len(tasks))
	for i, task := range tasks {
		changes[i] = scheduler.Change{Key: task.Key, Task: task}
	}
	for i, got := range f.store.Commit(f.t.Context(), changes) {
		if got.Err != nil || got.Status != scheduler.CommitDone {
			f.t.Fatalf("commit of %s: %+v", tasks[i].Key.ID, got)
		}
	}
}

// browse reads one part, as other replicas see it.
func (f *fixture) browse(p scheduler.Part) scheduler.Browsed {
	f.t.Helper()
	got := f.peer.Browse(f.t.Context(), []scheduler.Part{p})
	if len(got) != 1 || got[0].Err != nil {
		f.t.Fatalf("browse %+v: %+v", p, got)
	}
	return got[0]
}

func place(ms int64, id string) scheduler.Place { return scheduler.Place{MS: ms, Key: key(id)} }

// deadLetterGroups returns those of queue q by fingerprint.
func (f *fixture) deadLetterGroups() []scheduler.DeadLetterGroup {
	f.t.Helper()
	got, err := f.peer.DeadLetterGroups(f.t.Context(), queueKey("q"))
	if err != nil {
		f.t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b scheduler.DeadLetterGroup) int {
		return strings.Compare(a.Fingerprint.String(), b.Fingerprint.String())
	})
	return got
}

var browseTests = []exercise{
	{"a task is in the indexes of its state, at its time, and leaves them with it", func(t *testing.T, f *fixture) {
		id := idsInShard(2, 1)[0]
		all := []scheduler.Index{
			queueIndex(scheduler.IndexDue, "q"), queueIndex(scheduler.IndexHeld, "q"), queueIndex(scheduler.IndexDead, "q"),
			queueIndex(scheduler.IndexCondition, "c"), printIndex("q", 7),
			{Kind: scheduler.IndexEnding},
		}
		var parts []scheduler.Part
		for _, ix := range all {
			for shard := range shards {
				parts = append(parts, scheduler.Part{Index: ix, Shard: shard, Limit: 10})
			}
		}
		var task *scheduler.Task
		for _, step := range []struct {
			name string
			task *scheduler.Task
			// want holds the times, by index as in all.
			want map[int]int64
		}{
			{"scheduled", scheduled(id, "q", startMS+5), map[int]int64{0: startMS + 5}},
			{"later", scheduled(id, "q", startMS+9), map[int]int64{0: startMS + 9}},
			{"held", held(id, "q", "c", startMS+1), map[int]int64{1: startMS + 1, 3: startMS + 1}},
			{"held again", held(id, "q", "c", startMS+2), map[int]int64{1: startMS + 2, 3: startMS + 2}},
			{"held otherwise", held(id, "q", "other", startMS+2), map[int]int64{1: startMS + 2}},
			{"dead", dead(id, "q", 7, startMS+3), map[int]int64{2: startMS + 3, 4: startMS + 3, 5: startMS + 1e9}},
			{"dead otherwise", dead(id, "q", 8, startMS+3), map[int]int64{2: startMS + 3, 5: startMS + 1e9}},
			{"replayed", scheduled(id, "q", startMS), map[int]int64{0: startMS}},
			{"succeeded", ended(id, "q", scheduler.StateSucceeded), nil},
		} {
			task = f.write(step.task, task)
			for i, got := range f.store.Browse(t.Context(), parts) {
				var want scheduler.Browsed
				if ms, ok := step.want[i/shards]; ok && i%shards == 2 {
					want.Places = []scheduler.Place{place(ms, id)}
				}
				equal(t, fmt.Sprintf("%s: index %d of shard %d", step.name, i/shards, i%shards), got, want)
			}
		}
	}},
	{"a leased task is at its lease's end", func(t *testing.T, f *fixture) {
		f.put(scheduled("leased", "q", startMS))
		f.claimAll(1)
		got := f.browse(scheduler.Part{Index: queueIndex(scheduler.IndexDue, "q"), Shard: f.shardOf("leased"), Limit: 1})
		equal(t, "places", got.Places, []scheduler.Place{place(startMS+1000, "leased")})
	}},
	{"pages follow each other, also among many of the same time and where a place is gone", func(t *testing.T, f *fixture) {
		in := idsInShard(0, 40)
		ix := queueIndex(scheduler.IndexDead, "q")
		var want []scheduler.Place
		for i, id := range in {
			// All but the first and the last two have the same time.
			ms := startMS
			switch {
			case i == 0:
				ms--
			case i >= 38:
				ms++
			}
			f.put(dead(id, "q", 7, ms))
			want = append(want, place(ms, id))
		}
		var all []scheduler.Place
		var after scheduler.Place
		for {
			got := f.browse(scheduler.Part{Index: ix, Shard: 0, After: after, Limit: 3})
			if len(got.Places) == 0 {
				equal(t, "left at the end", got.Left, int64(0))
				break
			}
			all = append(all, got.Places...)
			equal(t, "left", got.Left, int64(len(want)-len(all)))
			after = all[len(all)-1]
			// What has been seen may go: the next page begins where it was.
			task := f.load(after.Key.ID)
			f.commit(scheduler.Change{Key: task.Key, Before: task})
		}
		equal(t, "places", all, want)
	}},
	{"a page begins behind a time alone", func(t *testing.T, f *fixture) {
		in := idsInShard(0, 3)
		for i, id := range in {
			f.put(held(id, "q", "c", startMS+int64(i)))
		}
		got := f.browse(scheduler.Part{Index: queueIndex(scheduler.IndexHeld, "q"), After: scheduler.Place{MS: startMS + 1}, Limit: 1})
		equal(t, "page", got, scheduler.Browsed{Places: []scheduler.Place{place(startMS+1, in[1])}, Left: 1})
	}},
	{"a page has at most what is asked for, and 1,000 places", func(t *testing.T, f *fixture) {
		const n = 1005
		var tasks []*scheduler.Task
		for i, id := range idsInShard(1, n) {
			tasks = append(tasks, held(id, "q", "c", startMS+int64(i)))
		}
		f.putAll(tasks...)
		part := scheduler.Part{Index: queueIndex(scheduler.IndexCondition, "c"), Shard: 1}
		equal(t, "none", f.browse(part), scheduler.Browsed{Left: n})
		part.Limit = 5000
		got := f.browse(part)
		equal(t, "places", len(got.Places), 1000)
		equal(t, "left", got.Left, int64(5))
		part.After = got.Places[999]
		equal(t, "places behind", len(f.browse(part).Places), 5)
	}},
	{"what ends is placed over all namespaces", func(t *testing.T, f *fixture) {
		task := dead("a", "q", 7, startMS)
		task.Key.Namespace = "n%!s:,"
		f.put(task)
		shard := scheduler.ShardOf(task.Key, shards)
		part := scheduler.Part{Index: scheduler.Index{Kind: scheduler.IndexEnding}, Shard: shard, Limit: 5}
		want := scheduler.Place{MS: startMS + 1e9, Key: task.Key}
		equal(t, "places", f.browse(part).Places, []scheduler.Place{want})
		part.After = want
		equal(t, "behind it", f.browse(part), scheduler.Browsed{})
	}},
	{"indexes whose names look alike stay apart", func(t *testing.T, f *fixture) {
		var want []scheduler.Place
		names := []string{"", "a", "a:b", "a,b", "{a}", "ü é"}
		var parts []scheduler.Part
		for i, name := range names {
			id := idsInShard(0, len(names))[i]
			f.put(held(id, name, name+"/c", startMS))
			want = append(want, place(startMS, id))
			parts = append(parts,
				scheduler.Part{Index: queueIndex(scheduler.IndexHeld, name), Limit: 9},
				scheduler.Part{Index: queueIndex(scheduler.IndexCondition, name+"/c"), Limit: 9},
			)
		}
		for i, got := range f.store.Browse(t.Context(), parts) {
			equal(t, fmt.Sprintf("part %d", i), got, scheduler.Browsed{Places: want[i/2 : i/2+1]})
		}
	}},
	{"dead letters are counted by fingerprint", func(t *testing.T, f *fixture) {
		equal(t, "at first", len(f.deadLetterGroups()), 0)
		in, other := idsInShard(0, 3), idsInShard(3, 2)
		f.put(dead(in[0], "q", 1<<63+5, startMS+4))
		newest := f.put(dead(in[1], "q", 1<<63+5, startMS+8))
		oldest := f.put(dead(other[0], "q", 1<<63+5, startMS+2))
		alone := f.put(dead(other[1], "q", 7, startMS+1))
		f.put(dead(in[2], "r", 7, startMS+1))
		f.put(held("held", "q", "c", startMS))
		lone := scheduler.DeadLetterGroup{Queue: queueKey("q"), Fingerprint: 7, Count: 1, FirstMS: startMS + 1, LastMS: startMS + 1, Sample: key(other[1])}
		big := scheduler.DeadLetterGroup{Queue: queueKey("q"), Fingerprint: 1<<63 + 5, Count: 3, FirstMS: startMS + 2, LastMS: startMS + 8, Sample: key(in[1])}
		equal(t, "groups", f.deadLetterGroups(), []scheduler.DeadLetterGroup{lone, big})

		// The newest is replayed, the oldest discarded, and what is left is told.
		f.write(scheduled(in[1], "q", startMS), newest)
		f.write(ended(other[0], "q", scheduler.StateDiscarded), oldest)
		big.Count, big.FirstMS, big.LastMS, big.Sample = 1, startMS+4, startMS+4, key(in[0])
		equal(t, "groups", f.deadLetterGroups(), []scheduler.DeadLetterGroup{lone, big})

		f.commit(scheduler.Change{Key: alone.Key, Before: alone})
		equal(t, "groups", f.deadLetterGroups(), []scheduler.DeadLetterGroup{big})
	}},
	{"of the newest dead letters of one time the last by id is the sample", func(t *testing.T, f *fixture) {
		var names []string
		for shard := range shards {
			names = append(names, idsInShard(shard, 2)...)
		}
		for _, id := range names {
			f.put(dead(id, "q", 7, startMS))
		}
		equal(t, "sample", f.deadLetterGroups()[0].Sample, key(slices.Max(names)))
	}},
	{"many fingerprints are each told once", func(t *testing.T, f *fixture) {
		const n = 1500
		var tasks []*scheduler.Task
		var want []scheduler.DeadLetterGroup
		for i := range n {
			id, fingerprint := fmt.Sprint("t", i), scheduler.Fingerprint(i+1)
			tasks = append(tasks, dead(id, "q", fingerprint, startMS+int64(i)))
			want = append(want, scheduler.DeadLetterGroup{Queue: queueKey("q"), Fingerprint: fingerprint, Count: 1, FirstMS: startMS + int64(i), LastMS: startMS + int64(i), Sample: key(id)})
		}
		f.putAll(tasks...)
		got := f.deadLetterGroups()
		equal(t, "number of groups", len(got), n)
		equal(t, "groups", got, want)
	}},
}

// ended is a task that is over.
func ended(id, queue string, state scheduler.State) *scheduler.Task {
	task := scheduled(id, queue, 0)
	task.State, task.EndMS, task.ExpireMS = state, startMS, startMS+1e9
	return task
}
