package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// BenchStore returns an empty store of one shard, which is gone when the benchmark
// ends, and what tells how many seconds of processor time the server behind it has
// used; nil where there is none.
type BenchStore func(b *testing.B) (store scheduler.Store, serverSeconds func() float64)

// Benchmark measures what a store takes for reports, claims and outcomes.
func Benchmark(b *testing.B, newStore BenchStore) {
	b.Helper()
	for _, n := range []int{1, 10, 100, 1000} {
		for name, group := range benchGroups {
			b.Run(fmt.Sprint("Report/", n, name), func(b *testing.B) { benchReports(newBench(b, newStore, n, group)) })
		}
	}
	for _, n := range []int{1, 100} {
		for name, group := range benchGroups {
			b.Run(fmt.Sprint("Claim/", n, name), func(b *testing.B) { newBench(b, newStore, n, group).handOuts(true, false) })
			b.Run(fmt.Sprint("Settle/", n, name), func(b *testing.B) { newBench(b, newStore, n, group).handOuts(false, true) })
			b.Run(fmt.Sprint("ClaimAndSettle/", n, name), func(b *testing.B) { newBench(b, newStore, n, group).handOuts(true, true) })
		}
	}
	for _, callers := range []int{8, 64, 256} {
		b.Run(fmt.Sprint("ReportCallers/", callers), func(b *testing.B) {
			store, _ := newStore(b)
			b.ReportAllocs()
			b.SetParallelism(callers / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					benchDone(b, store.Commit(b.Context(), BenchChanges(1, "")))
				}
			})
		})
	}
}

// benchGroups are tasks without a group and with one.
var benchGroups = map[string]string{"": "", "/group": "campaign"}

var benchIDs atomic.Int64

// BenchChanges are the first failures of n new tasks, in a group unless that is
// empty, as they are written: due in a minute, with 200 bytes of payload.
func BenchChanges(n int, group string) []scheduler.Change {
	changes := make([]scheduler.Change, n)
	for i := range changes {
		t := scheduled(fmt.Sprintf("order-%010d", benchIDs.Add(1)), "q", startMS+60_000)
		t.Spec.Group, t.Spec.Payload = group, make([]byte, 200)
		t.History = []scheduler.AttemptRecord{{
			Attempt: 1, Generation: 1, TimeMS: startMS, Policy: "p", PolicyRevision: 1,
			Failure: policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 503},
			Decision: policy.Decision{
				Action: policy.ActionRetry, Reason: policy.ReasonRetryScheduled, Attempt: 1, NextAttempt: 2,
				NextMS: t.DueMS, DelayMS: 60_000, RetriesLeft: 3,
				Steps: []policy.Step{{Code: policy.StepNoRule, Args: []int64{1}}, {Code: policy.StepFixed, Args: []int64{1, 60_000}}, {Code: policy.StepScheduled, Args: []int64{2, t.DueMS, 60_000}}},
			},
			Content: scheduler.Digest(i + 1), Op: scheduler.OpID(benchIDs.Load()),
		}}
		changes[i] = scheduler.Change{Key: t.Key, Task: t, DecidedMS: startMS, Final: true}
	}
	return changes
}

func benchDone(b *testing.B, got []scheduler.Committed) {
	b.Helper()
	for _, c := range got {
		if c.Err != nil || c.Status != scheduler.CommitDone {
			b.Errorf("commit: status %d, error %v", c.Status, c.Err)
		}
	}
}

// bench is one benchmark of n tasks at a time.
type bench struct {
	*testing.B
	store   scheduler.Store
	n       int
	group   string
	seconds func() float64
	// since is when the server was last asked, used what it has taken.
	since, used float64
}

func newBench(b *testing.B, newStore BenchStore, n int, group string) *bench {
	b.Helper()
	store, seconds := newStore(b)
	if seconds == nil {
		seconds = func() float64 { return 0 }
	}
	return &bench{B: b, store: store, n: n, group: group, seconds: seconds}
}

func (b *bench) begin() { b.since = b.seconds() }
func (b *bench) end()   { b.used += b.seconds() - b.since }

// tell reports times per task.
func (b *bench) tell() {
	tasks := float64(b.N) * float64(b.n)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/tasks, "ns/task")
	if b.used > 0 {
		b.ReportMetric(b.used*1e6/tasks, "server-us/task")
	}
}

func benchReports(b *bench) {
	b.ReportAllocs()
	b.begin()
	for b.Loop() {
		benchDone(b.B, b.store.Commit(b.Context(), BenchChanges(b.n, b.group)))
	}
	b.end()
	b.tell()
}

// handOuts puts due tasks, claims them and ends them with success; of the latter
// two those are measured that are asked for.
func (b *bench) handOuts(claims, settles bool) {
	b.ReportAllocs()
	measure := func(on bool, run func()) {
		if !on {
			run()
			return
		}
		b.begin()
		b.StartTimer()
		run()
		b.StopTimer()
		b.end()
	}
	for b.Loop() {
		b.StopTimer()
		changes := BenchChanges(b.n, b.group)
		for i := range changes {
			changes[i].Task.DueMS = 1
		}
		benchDone(b.B, b.store.Commit(b.Context(), changes))
		var got scheduler.Claimed
		measure(claims, func() { got = b.claim() })
		if len(got.Tasks) != b.n {
			b.Fatalf("%d claimed, error %v", len(got.Tasks), got.Err)
		}
		measure(settles, func() {
			for i, t := range got.Tasks {
				next := *t
				next.State, next.ExpireMS, next.Spec.Payload = scheduler.StateSucceeded, 1<<42, nil
				changes[i] = scheduler.Change{Key: t.Key, Before: t, Task: &next, DecidedMS: startMS, Final: true}
			}
			benchDone(b.B, b.store.Commit(b.Context(), changes))
		})
		b.StartTimer()
	}
	b.tell()
}

func (b *bench) claim() scheduler.Claimed {
	id := uint64(benchIDs.Add(1))
	return b.store.Claim(b.Context(), []scheduler.Claim{{
		ID: id, Replica: "r", Queue: queueKey("q"),
		Slots:  []scheduler.Slot{{Count: b.n, LeaseMS: time.Hour.Milliseconds(), Worker: "worker"}},
		Nonces: make([]uint64, b.n),
	}})[0]
}
