// Package storetest holds one conformance suite for every scheduler.Store.
//
// It must import nothing of this module but scheduler and policy.
package storetest

import (
	"fmt"
	"reflect"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// NewStore returns an empty store of the given number of shards whose clock is
// nowMS, and which is gone when the test ends. peer is the same store as another
// replica sees it; in one process it may be the same value.
type NewStore func(t *testing.T, shards int, nowMS func() int64) (store, peer scheduler.Store)

// Exercise runs the whole suite.
func Exercise(t *testing.T, newStore NewStore) {
	t.Helper()
	for _, group := range []struct {
		name  string
		tests []exercise
	}{
		{"commit", commitTests},
		{"claim", claimTests},
		{"index", indexTests},
		{"browse", browseTests},
		{"queue", queueTests},
		{"counts", countTests},
		{"pause", pauseTests},
		{"group", groupTests},
		{"policy", policyTests},
		{"job", jobTests},
		{"hint", hintTests},
		{"audit", auditTests},
		{"usage", usageTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, e := range group.tests {
				t.Run(e.name, func(t *testing.T) {
					t.Parallel()
					e.run(t, newFixture(t, newStore))
				})
			}
		})
	}
}

type exercise struct {
	name string
	run  func(t *testing.T, f *fixture)
}

// fixture is a store under test, its clock and what a test needs to say.
type fixture struct {
	t     *testing.T
	store scheduler.Store
	// peer is the same store at another replica.
	peer scheduler.Store
	now  atomic.Int64
}

// startMS is when every test starts.
const startMS = int64(1_767_225_600_000)

const shards = 4

func newFixture(t *testing.T, newStore NewStore) *fixture {
	t.Helper()
	f := &fixture{t: t}
	f.now.Store(startMS)
	f.store, f.peer = newStore(t, shards, f.now.Load)
	return f
}

func (f *fixture) pass(d time.Duration) { f.now.Add(d.Milliseconds()) }

func key(id string) scheduler.TaskKey { return scheduler.TaskKey{Namespace: "ns", ID: id} }

func queueKey(name string) scheduler.QueueKey {
	return scheduler.QueueKey{Namespace: "ns", Name: name}
}

// scheduled is a task whose second attempt falls due at dueMS.
func scheduled(id, queue string, dueMS int64) *scheduler.Task {
	return &scheduler.Task{
		Key: key(id), Spec: scheduler.Spec{Queue: queue, Policy: "p", Payload: []byte("payload of " + id)},
		State: scheduler.StateScheduled, Attempt: 2, Generation: 1, FirstAttempt: 1,
		Trigger: scheduler.TriggerRetry, DueMS: dueMS, RetriesLeft: 3, FirstFailureMS: startMS,
	}
}

// put writes a task that is not there yet and returns it as written.
func (f *fixture) put(task *scheduler.Task) *scheduler.Task {
	f.t.Helper()
	return f.write(task, nil)
}

// write writes a task over before.
func (f *fixture) write(task, before *scheduler.Task) *scheduler.Task {
	f.t.Helper()
	got := f.commit(scheduler.Change{Key: task.Key, Before: before, Task: task})
	if got.Status != scheduler.CommitDone {
		f.t.Fatalf("commit of %s: status %d, want done", task.Key.ID, got.Status)
	}
	return got.Task
}

// at is a task believed to be at a version, nil at 0.
func at(task *scheduler.Task, version int64) *scheduler.Task {
	if version == 0 {
		return nil
	}
	believed := *task
	believed.Version = version
	return &believed
}

func (f *fixture) commit(c scheduler.Change) scheduler.Committed {
	f.t.Helper()
	got := f.store.Commit(f.t.Context(), []scheduler.Change{c})
	if len(got) != 1 || got[0].Err != nil {
		f.t.Fatalf("commit of %s: %+v", c.Key.ID, got)
	}
	return got[0]
}

func (f *fixture) load(id string) *scheduler.Task {
	f.t.Helper()
	got := f.store.Load(f.t.Context(), []scheduler.TaskKey{key(id)})
	if len(got) != 1 || got[0].Err != nil {
		f.t.Fatalf("load of %s: %+v", id, got)
	}
	return got[0].Task
}

// claimAll claims up to n due tasks of queue q, over all shards.
func (f *fixture) claimAll(n int) []*scheduler.Task {
	f.t.Helper()
	var out []*scheduler.Task
	for shard := range f.store.Shards() {
		got := f.claim(f.newClaim("q", shard, n-len(out), time.Second))
		out = append(out, got.Tasks...)
	}
	return out
}

var claimIDs atomic.Uint64

func (f *fixture) newClaim(queue string, shard, n int, leaseFor time.Duration) scheduler.Claim {
	id := claimIDs.Add(1)
	c := scheduler.Claim{
		ID: id, Replica: "replica-" + strconv.FormatUint(id, 10), Queue: queueKey(queue), Shard: shard,
		Slots: []scheduler.Slot{{Count: n, LeaseMS: leaseFor.Milliseconds(), Worker: "w1"}},
	}
	for i := range n {
		c.Nonces = append(c.Nonces, id<<20|uint64(i)|1<<63)
	}
	return c
}

func (f *fixture) claim(c scheduler.Claim) scheduler.Claimed {
	f.t.Helper()
	got := f.store.Claim(f.t.Context(), []scheduler.Claim{c})
	if len(got) != 1 || got[0].Err != nil {
		f.t.Fatalf("claim: %+v", got)
	}
	return got[0]
}

func (f *fixture) shardOf(id string) int { return scheduler.ShardOf(key(id), shards) }

// idsInShard returns n ids that lie in the shard.
func idsInShard(shard, n int) []string {
	var out []string
	for i := 0; len(out) < n; i++ {
		if id := fmt.Sprintf("task-%04d", i); scheduler.ShardOf(key(id), shards) == shard {
			out = append(out, id)
		}
	}
	return out
}

func ids(tasks []*scheduler.Task) []string {
	out := []string{}
	for _, t := range tasks {
		out = append(out, t.Key.ID)
	}
	return out
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// FullTask returns a task with every field set, so that a store that forgets one is
// found out.
func FullTask(id string) *scheduler.Task {
	failure := policy.Failure{
		Cause: policy.CauseHTTP, HTTPStatus: 503, RetryAfterHeader: "120", Code: "20429",
		Message: "upstream said no\x00\xff", RetryAfter: 1500 * time.Millisecond, TimeMS: startMS - 5,
	}
	decision := policy.Decision{
		Action: policy.ActionRetry, Reason: policy.ReasonRetryScheduled, Attempt: 2, NextAttempt: 3,
		NextMS: startMS + 1, DelayMS: 1, RetriesLeft: 4, Rule: "rate-limited",
		Steps:       []policy.Step{{Code: 1, Args: []int64{-1, 0, 1 << 50}, Text: "rule"}, {Code: 200}},
		RuleRetries: []policy.RuleRetries{{Rule: 1<<63 + 7, Count: 2}}, LastDelayMS: 77, LastDateMS: 88,
	}
	return &scheduler.Task{
		Key: key(id),
		Spec: scheduler.Spec{
			Queue: "q:1/a", Policy: "p", Job: "j", Environment: "prod", Payload: []byte{0, 1, 2, 255},
			Attributes: map[string]string{"a": "1", "b": "", "": "c"}, Group: "g", DeadlineMS: startMS + 1e9, TimeZone: "Europe/Berlin",
		},
		State: scheduler.StateLeased, Attempt: 3, Generation: 2, FirstAttempt: 2, Trigger: scheduler.TriggerReplay,
		DueMS: startMS + 1, Delivery: 4, Expiries: 1, RetriesLeft: 4,
		Fence: scheduler.Fence{Number: startMS * 1000, Nonce: 1<<63 + 5}, LeaseEndMS: startMS + 30_000, LeaseMS: 30_000,
		Worker: "worker-ü", Released: scheduler.Fence{Number: 3, Nonce: 4}, Op: 1<<63 + 9,
		FirstFailureMS: startMS - 100, RuleRetries: []policy.RuleRetries{{Rule: 1<<63 + 7, Count: 2}},
		LastDelayMS: 77, LastDateMS: 88, HoldCondition: "compliance", HoldMS: 5, DeadReason: policy.ReasonDeadline,
		Fingerprint: 1<<63 + 11, EndMS: 6, ExpireMS: startMS + 1e10,
		History: []scheduler.AttemptRecord{
			{
				Attempt: 1, Generation: 1, TimeMS: startMS - 100, Failure: policy.Failure{Cause: policy.CauseOutcome, Outcome: "busy", Permanent: true},
				Decision: policy.Decision{Action: policy.ActionHold, Reason: policy.ReasonHeld, Attempt: 1, HoldCondition: "compliance"},
				Policy:   "p", PolicyRevision: 1, Key: 11, Content: 12, Op: 13,
			},
			{
				Attempt: 2, Generation: 2, Trigger: scheduler.TriggerReplay, TimeMS: startMS, Failure: failure, Decision: decision,
				Policy: "p", PolicyRevision: 9, Worker: "w0", Deliveries: 2, Content: 1<<63 + 1,
				Fence: scheduler.Fence{Number: 21, Nonce: 1<<63 + 22}, Op: 23,
			},
			{
				Attempt: 2, Generation: 2, TimeMS: startMS, Failure: policy.Failure{Cause: policy.CauseConnection, ConnectionKind: policy.ConnectionTLS},
				Decision: policy.Decision{Action: policy.ActionDeadLetter, Reason: policy.ReasonDeadline, Attempt: 2}, Op: 24,
			},
			{Attempt: 2, Generation: 2, TimeMS: startMS, Success: true, Outcome: "done", Op: 25},
			{Attempt: 2, Generation: 2, TimeMS: startMS, Failure: policy.Failure{Cause: policy.CauseGRPC, GRPCCode: 14}, Op: 26},
		},
		Dropped: 7,
	}
}
