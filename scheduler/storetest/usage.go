package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// namespaces returns what is counted of namespaces, as other replicas see it.
func (f *fixture) namespaces(names ...string) []scheduler.NamespaceCount {
	f.t.Helper()
	got, err := f.peer.CountNamespaces(f.t.Context(), names)
	if err != nil || len(got) != len(names) {
		f.t.Fatalf("count %v: %+v, error %v", names, got, err)
	}
	return got
}

// share shares a note and returns what all say.
func (f *fixture) share(store scheduler.Store, replica, note string, keep time.Duration) map[string]string {
	f.t.Helper()
	got, err := store.ShareNote(f.t.Context(), replica, []byte(note), keep)
	if err != nil {
		f.t.Fatalf("share of %s: %v", replica, err)
	}
	out := make(map[string]string)
	for name, text := range got {
		out[name] = string(text)
	}
	return out
}

var usageTests = []exercise{
	{"what a namespace uses is counted over its queues and shards", func(t *testing.T, f *fixture) {
		carrying := func(task *scheduler.Task, payload int) *scheduler.Task {
			task.Spec.Payload = make([]byte, payload)
			task.Spec.Attributes = map[string]string{"ab": "cde"}
			return task
		}
		waits := f.put(carrying(scheduled("waits", "q", startMS+1), 100))
		f.put(carrying(scheduled("leased", "q2", startMS), 10))
		hold := f.put(carrying(held("held", "", "c", startMS), 1000))
		died := f.put(carrying(dead("dead", "q", 7, startMS), 10_000))
		f.put(ended("ended", "q", scheduler.StateSucceeded))
		for _, other := range []string{"n", "ns-", "ns.", "nt", "ns,"} {
			task := scheduled("other", "q", startMS+1)
			task.Key.Namespace = other
			f.put(task)
		}
		f.claim(f.newClaim("q2", f.shardOf("leased"), 1, time.Minute))
		want := scheduler.NamespaceCount{Pending: 3, Leased: 1, Bytes: scheduler.QueueBytes{UnderWay: 120, Held: 1005, Dead: 10_005}}
		other := scheduler.NamespaceCount{Pending: 1, Bytes: scheduler.QueueBytes{UnderWay: int64(len("payload of other"))}}
		equal(t, "counts", f.namespaces("ns", "none", "ns,"), []scheduler.NamespaceCount{want, {}, other})

		// A replay, an end and a release move what is carried.
		next := *died
		next.State, next.DueMS = scheduler.StateScheduled, startMS+1
		f.write(&next, died)
		f.write(ended("held", "", scheduler.StateDiscarded), hold)
		f.commit(scheduler.Change{Key: waits.Key, Before: waits})
		back := *f.load("leased")
		back.State, back.DueMS = scheduler.StateScheduled, startMS+1
		f.write(&back, f.load("leased"))
		equal(t, "counts of the rest", f.namespaces("ns")[0], scheduler.NamespaceCount{Pending: 2, Bytes: scheduler.QueueBytes{UnderWay: 10_020}})
		found, _ := f.audit(func() {})
		equal(t, "found", found, []scheduler.Finding(nil))
	}},
	{"many queues are counted, each once", func(t *testing.T, f *fixture) {
		const queues = 450
		var changes []scheduler.Change
		for i := range queues {
			task := scheduled(fmt.Sprint("t", i), fmt.Sprint("q", i), startMS+1)
			task.Spec.Payload = make([]byte, 10)
			changes = append(changes, scheduler.Change{Key: task.Key, Task: task})
		}
		// All in one shard, so that there are more than one script counts.
		for i, id := range idsInShard(1, queues) {
			changes[i].Key.ID, changes[i].Task.Key.ID = id, id
		}
		for _, got := range f.store.Commit(t.Context(), changes) {
			equal(t, "status", []any{got.Status, got.Err}, []any{scheduler.CommitDone, nil})
		}
		equal(t, "counts", f.namespaces("ns")[0], scheduler.NamespaceCount{Pending: queues, Bytes: scheduler.QueueBytes{UnderWay: 10 * queues}})
	}},
	{"notes are told to all replicas until they end", func(t *testing.T, f *fixture) {
		equal(t, "of one", f.share(f.store, "a", "1", 10*time.Second), map[string]string{"a": "1"})
		equal(t, "of two", f.share(f.peer, "b", "two\n 2", 5*time.Second), map[string]string{"a": "1", "b": "two\n 2"})
		f.pass(4 * time.Second)
		equal(t, "replaced", f.share(f.store, "a", "", 10*time.Second), map[string]string{"a": "", "b": "two\n 2"})
		f.pass(time.Second)
		equal(t, "when one has ended", f.share(f.store, "c", "3", time.Second), map[string]string{"a": "", "c": "3"})
		equal(t, "dropped", f.share(f.store, "c", "3", 0), map[string]string{"a": ""})
		equal(t, "at last", f.share(f.peer, "b", "4", time.Second), map[string]string{"a": "", "b": "4"})
	}},
}
