package redisstore_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// audited is a store with tasks in all states that nobody changes, and others that
// somebody always does, in the same queues and groups.
type audited struct {
	t     *testing.T
	ctx   context.Context
	store *redisstore.Store
	redis redis.UniversalClient
	// tasks are those that nobody changes, by state.
	tasks map[scheduler.State][]*scheduler.Task
	stop  func()
}

const auditShards = 4

// newAudited makes the tasks, each with a payload of so many bytes.
func newAudited(t *testing.T, url string, tasks, payload int) *audited {
	t.Helper()
	s := newStore(t, redisstore.Config{URL: url, Prefix: redistest.Prefix(t), Shards: auditShards})
	a := &audited{t: t, ctx: t.Context(), store: s, redis: s.Client(), tasks: make(map[scheduler.State][]*scheduler.Task), stop: func() {}}
	nowMS := time.Now().UnixMilli()
	var changes []scheduler.Change
	for i := range tasks {
		task := dueTask(fmt.Sprintf("still-%04d", i), []string{"q", "still"}[i%2], nowMS+scheduler.HourMS+int64(i)*1000)
		task.FirstFailureMS = nowMS - int64(i%3)*scheduler.HourMS
		task.Spec.Group = []string{"", "g", "still"}[i/10%3]
		task.Spec.Payload = bytes.Repeat([]byte("payload "), payload/8)
		if i/30%2 == 0 {
			task.Spec.DeadlineMS = nowMS + 3*scheduler.HourMS
		}
		task.State = scheduler.StateScheduled + scheduler.State(i/2%5)
		switch task.State {
		case scheduler.StateLeased:
			task.LeaseEndMS, task.LeaseMS, task.Worker, task.Delivery = task.DueMS, 60_000, "w", 1
			task.Fence = scheduler.Fence{Number: 1, Nonce: 2}
		case scheduler.StateHeld:
			task.HoldCondition, task.HoldMS = fmt.Sprint("c", i%4), nowMS-int64(i)
		case scheduler.StateDead:
			task.Fingerprint, task.EndMS, task.ExpireMS = scheduler.Fingerprint(i%3+1), nowMS-int64(i), nowMS+9*scheduler.HourMS
		case scheduler.StateSucceeded:
			task.EndMS, task.ExpireMS = nowMS, nowMS+9*scheduler.HourMS
		default:
		}
		changes = append(changes, scheduler.Change{Key: task.Key, Task: task})
	}
	got := s.Commit(a.ctx, changes)
	wantDone(t, got)
	for _, c := range got {
		a.tasks[c.Task.State] = append(a.tasks[c.Task.State], c.Task)
	}
	return a
}

// load reports, claims and settles tasks of queue q until stop is called.
func (a *audited) load() {
	ctx, cancel := context.WithCancel(a.ctx)
	done := make(chan error, 1)
	go func() {
		var err error
		for round := 0; ctx.Err() == nil && err == nil; round++ {
			err = a.loadOnce(ctx, round)
		}
		done <- err
	}()
	a.stop = func() {
		cancel()
		if err := <-done; err != nil {
			a.t.Errorf("load: %v", err)
		}
		a.stop = func() {}
	}
	a.t.Cleanup(func() { a.stop() })
}

func (a *audited) loadOnce(ctx context.Context, round int) error {
	ctx = context.WithoutCancel(ctx)
	changes := creations(round*20, 20)
	for i := range changes {
		changes[i].Task.Spec.Group = []string{"", "g"}[i%2]
	}
	for _, got := range a.store.Commit(ctx, changes) {
		if got.Err != nil {
			return got.Err
		}
	}
	for shard := range auditShards {
		got := a.store.Claim(ctx, []scheduler.Claim{{
			ID: uint64(round*auditShards + shard + 1), Replica: "load", Queue: queueQ, Shard: shard,
			Slots: []scheduler.Slot{{Count: 20, LeaseMS: 30_000, Worker: "w"}}, Nonces: make([]uint64, 20),
		}})[0]
		if got.Err != nil {
			return got.Err
		}
		settled := make([]scheduler.Change, len(got.Tasks))
		for i, task := range got.Tasks {
			ended := *task
			ended.State, ended.EndMS, ended.ExpireMS = scheduler.StateSucceeded, got.NowMS, got.NowMS+scheduler.HourMS
			settled[i] = scheduler.Change{Key: task.Key, Before: task, Task: &ended}
		}
		var gone []scheduler.Change
		for _, got := range a.store.Commit(ctx, settled) {
			if got.Err != nil {
				return got.Err
			}
			gone = append(gone, scheduler.Change{Key: got.Task.Key, Before: got.Task})
		}
		if len(gone) > 0 {
			// Some are kept for a while, as they would be.
			a.store.Commit(ctx, gone[1:])
		}
	}
	return nil
}

// walk audits once and returns what was found.
func (a *audited) walk() []scheduler.Finding {
	a.t.Helper()
	var found []scheduler.Finding
	walk := a.store.Audit()
	for {
		pass, err := walk.Pass(a.ctx)
		if err != nil {
			a.t.Fatalf("audit: %v", err)
		}
		found = append(found, pass.Findings...)
		if pass.Done {
			return found
		}
	}
}

// untouched are all tasks that nobody changes, as they are kept.
func (a *audited) untouched() []*scheduler.Task {
	a.t.Helper()
	var keys []scheduler.TaskKey
	for _, state := range slices.Sorted(maps.Keys(a.tasks)) {
		for _, task := range a.tasks[state] {
			keys = append(keys, task.Key)
		}
	}
	var out []*scheduler.Task
	for _, got := range a.store.Load(a.ctx, keys) {
		if got.Err != nil {
			a.t.Fatal(got.Err)
		}
		out = append(out, got.Task)
	}
	return out
}

// of returns a task in a state, from the middle of those of a queue, so that it is no
// queue's head.
func (a *audited) of(state scheduler.State, queue string, group string) (*scheduler.Task, int) {
	a.t.Helper()
	var fit []*scheduler.Task
	for _, task := range a.tasks[state] {
		if task.Spec.Queue == queue && task.Spec.Group == group && task.Spec.DeadlineMS != 0 {
			fit = append(fit, task)
		}
	}
	if len(fit) == 0 {
		a.t.Fatalf("no task in state %s of queue %s and group %q", state, queue, group)
	}
	task := fit[len(fit)/2]
	return task, scheduler.ShardOf(task.Key, auditShards)
}

// key is a key of a shard.
func (a *audited) key(shard int, rest string) string {
	tag, _, _ := strings.Cut(a.store.DueKey(shard, queueQ), "due:")
	return tag + rest
}

func (a *audited) do(args ...any) {
	a.t.Helper()
	if err := a.redis.Do(a.ctx, args...).Err(); err != nil {
		a.t.Fatalf("%v: %v", args, err)
	}
}

// plants are the ways in which something can come not to follow from the tasks, and
// what is found of each.
var plants = map[string]struct {
	plant func(a *audited)
	want  []scheduler.FindingKind
}{
	"a scheduled task is not due": {func(a *audited) {
		task, shard := a.of(scheduler.StateScheduled, "q", "g")
		a.do("ZREM", a.key(shard, "due:ns,q"), task.Key.ID)
	}, []scheduler.FindingKind{scheduler.FindingMissing}},
	"a lease is in no index": {func(a *audited) {
		task, shard := a.of(scheduler.StateLeased, "q", "g")
		a.do("ZREM", a.key(shard, "due:ns,q"), task.Key.ID)
	}, []scheduler.FindingKind{scheduler.FindingMissing}},
	"a whole queue's index is gone": {func(a *audited) {
		_, shard := a.of(scheduler.StateLeased, "still", "g")
		a.do("DEL", a.key(shard, "due:ns,still"))
	}, []scheduler.FindingKind{scheduler.FindingMissing}},
	"a deadline is forgotten": {func(a *audited) {
		task, shard := a.of(scheduler.StateScheduled, "q", "g")
		a.do("ZREM", a.key(shard, "ending"), "ns,"+task.Key.ID)
	}, []scheduler.FindingKind{scheduler.FindingMissing}},
	"a held task is in no index": {func(a *audited) {
		task, shard := a.of(scheduler.StateHeld, "q", "g")
		a.do("ZREM", a.key(shard, "held:ns,q"), task.Key.ID)
		a.do("ZREM", a.key(shard, "heldc:ns,"+task.HoldCondition), task.Key.ID)
	}, []scheduler.FindingKind{scheduler.FindingMissing, scheduler.FindingMissing}},
	"a dead letter is in no index": {func(a *audited) {
		task, shard := a.of(scheduler.StateDead, "q", "g")
		a.do("ZREM", a.key(shard, "dead:ns,q"), task.Key.ID)
		a.do("ZREM", a.key(shard, "deadfp:"+task.Fingerprint.String()+":ns,q"), task.Key.ID)
		a.do("ZREM", a.key(shard, "ending"), "ns,"+task.Key.ID)
	}, []scheduler.FindingKind{scheduler.FindingMissing, scheduler.FindingMissing, scheduler.FindingMissing}},
	"a task is due at another time": {func(a *audited) {
		task, shard := a.of(scheduler.StateScheduled, "q", "g")
		a.do("ZADD", a.key(shard, "due:ns,q"), task.DueMS+77, task.Key.ID)
	}, []scheduler.FindingKind{scheduler.FindingMisplaced}},
	"a held task is due": {func(a *audited) {
		task, shard := a.of(scheduler.StateHeld, "q", "g")
		a.do("ZADD", a.key(shard, "due:ns,q"), task.HoldMS+3*scheduler.HourMS, task.Key.ID)
	}, []scheduler.FindingKind{scheduler.FindingForeign}},
	"a task is due in a queue that is not its own": {func(a *audited) {
		task, shard := a.of(scheduler.StateScheduled, "q", "g")
		a.do("ZADD", a.key(shard, "due:ns,ghost"), task.DueMS, task.Key.ID)
	}, []scheduler.FindingKind{scheduler.FindingForeign, scheduler.FindingHead, scheduler.FindingUnknownQueue}},
	"an ended task is dead": {func(a *audited) {
		task, shard := a.of(scheduler.StateSucceeded, "q", "g")
		a.do("ZADD", a.key(shard, "dead:ns,q"), task.EndMS, task.Key.ID)
	}, []scheduler.FindingKind{scheduler.FindingForeign}},
	"a record is gone": {func(a *audited) {
		task, _ := a.of(scheduler.StateScheduled, "still", "still")
		a.do("DEL", a.store.TaskKey(task.Key))
		a.forget(task)
	}, []scheduler.FindingKind{scheduler.FindingOrphan, scheduler.FindingOrphan, scheduler.FindingQueueCount, scheduler.FindingGroupCount}},
	"a dead letter's record is gone": {func(a *audited) {
		task, _ := a.of(scheduler.StateDead, "q", "g")
		a.do("DEL", a.store.TaskKey(task.Key))
		a.forget(task)
	}, []scheduler.FindingKind{scheduler.FindingOrphan, scheduler.FindingOrphan, scheduler.FindingOrphan, scheduler.FindingQueueCount}},
	"a queue has no head": {func(a *audited) {
		a.do("ZREM", a.key(1, "heads"), "ns,still")
	}, []scheduler.FindingKind{scheduler.FindingHead}},
	"a queue's head is too late": {func(a *audited) {
		a.do("ZADD", a.key(2, "heads"), time.Now().UnixMilli()+9*scheduler.HourMS, "ns,still")
	}, []scheduler.FindingKind{scheduler.FindingHead}},
	"a queue that is not there has a head": {func(a *audited) {
		a.do("ZADD", a.key(3, "heads"), 5, "ns,ghost")
	}, []scheduler.FindingKind{scheduler.FindingHead}},
	"a queue is not known": {func(a *audited) {
		a.do("ZREM", a.key(0, "queues"), "ns,still")
	}, []scheduler.FindingKind{scheduler.FindingUnknownQueue}},
	"a fingerprint is not told": {func(a *audited) {
		task, shard := a.of(scheduler.StateDead, "q", "g")
		a.do("HDEL", a.key(shard, "fps:ns,q"), task.Fingerprint.String())
	}, []scheduler.FindingKind{scheduler.FindingFingerprint}},
	"a fingerprint is told wrongly": {func(a *audited) {
		task, shard := a.of(scheduler.StateDead, "q", "g")
		a.do("HSET", a.key(shard, "fps:ns,q"), task.Fingerprint.String(), "garbage")
	}, []scheduler.FindingKind{scheduler.FindingFingerprint}},
	"a fingerprint of nothing is told": {func(a *audited) {
		a.do("HSET", a.key(1, "fps:ns,q"), "00000000000000ff", "garbage")
	}, []scheduler.FindingKind{scheduler.FindingFingerprint}},
	"too many are counted as leased": {func(a *audited) {
		a.do("HINCRBY", a.key(1, "count:ns,q"), "l", 40)
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"too few are counted as leased": {func(a *audited) {
		a.do("HINCRBY", a.key(1, "count:ns,still"), "l", -3)
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"an hour is counted wrongly": {func(a *audited) {
		task, shard := a.of(scheduler.StateScheduled, "still", "g")
		a.do("HINCRBY", a.key(shard, "count:ns,still"), task.FirstFailureMS/scheduler.HourMS, -1)
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"a count is no number": {func(a *audited) {
		a.do("HSET", a.key(1, "count:ns,still"), "l", "many")
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"a count is too large": {func(a *audited) {
		a.do("HSET", a.key(1, "count:ns,still"), "l", "99999999999999999999")
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"counts are not written as Redis does": {func(a *audited) {
		a.do("HSET", a.key(1, "count:ns,still"), "l", "007", "400000", "-0", "400001", "nan")
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"how often counts were mended is no number": {func(a *audited) {
		a.do("SET", a.key(1, "audit"), "often")
		a.do("HINCRBY", a.key(1, "count:ns,still"), "l", 1)
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"the counts are gone": {func(a *audited) {
		a.do("DEL", a.key(1, "count:ns,still"))
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"bytes under way are counted wrongly": {func(a *audited) {
		a.do("HINCRBY", a.key(1, "bytes:ns,still"), "w", 40)
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"bytes of dead letters are no number": {func(a *audited) {
		a.do("HSET", a.key(1, "bytes:ns,still"), "d", "many")
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"an older version has counted no bytes": {func(a *audited) {
		for shard := range a.store.Shards() {
			a.do("DEL", a.key(shard, "bytes:ns,still"))
		}
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"bytes are counted of a queue that is not there": {func(a *audited) {
		a.do("HSET", a.key(1, "bytes:ns,ghost"), "w", 3, "h", -1)
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"a queue that is not there is counted": {func(a *audited) {
		a.do("HSET", a.key(1, "count:ns,ghost"), "l", 3, "400000", -1)
	}, []scheduler.FindingKind{scheduler.FindingQueueCount}},
	"a group's tasks in progress are counted wrongly": {func(a *audited) {
		a.do("HINCRBY", a.key(1, "group:ns,still"), "i", 2)
	}, []scheduler.FindingKind{scheduler.FindingGroupCount}},
	"a group's total is wrong": {func(a *audited) {
		a.do("HINCRBY", a.key(2, "group:ns,still"), "t", -1)
	}, []scheduler.FindingKind{scheduler.FindingGroupCount}},
	"a group's count is not written as Redis does": {func(a *audited) {
		total := a.redis.HGet(a.ctx, a.key(2, "group:ns,still"), "t").Val()
		a.do("HSET", a.key(2, "group:ns,still"), "t", "0"+total)
	}, []scheduler.FindingKind{scheduler.FindingGroupCount}},
	"a group is not known": {func(a *audited) {
		a.do("ZREM", a.key(2, "groups"), "ns,still")
	}, []scheduler.FindingKind{scheduler.FindingUnknownGroup}},
	"a group is known that has no counts": {func(a *audited) {
		a.do("ZADD", a.key(2, "groups"), 1, "ns,ghost")
	}, []scheduler.FindingKind{scheduler.FindingUnknownGroup}},
}

// forget takes a task from those whose records are compared.
func (a *audited) forget(task *scheduler.Task) {
	a.tasks[task.State] = slices.DeleteFunc(slices.Clone(a.tasks[task.State]), func(t *scheduler.Task) bool { return t == task })
}

// TestAuditMends plants each kind of disagreement by hand among 1,000 tasks under load:
// it is found, mended, and nothing else is touched.
func TestAuditMends(t *testing.T) {
	t.Parallel()
	testPlants(t, redistest.Start(t).URL(), 1000, 8)
}

func TestAuditMendsOnACluster(t *testing.T) {
	t.Parallel()
	testPlants(t, redistest.StartCluster(t, 3, 0).URL(), 300, 8)
}

// TestAuditMendsLongRecords has records of which the auditor reads the heads alone where
// these are enough.
func TestAuditMendsLongRecords(t *testing.T) {
	t.Parallel()
	testPlants(t, redistest.Start(t).URL(), 300, 3000)
}

func testPlants(t *testing.T, url string, tasks, payload int) {
	t.Helper()
	for name, p := range plants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAudited(t, url, tasks, payload)
			a.load()
			if found := a.walk(); len(found) > 0 {
				t.Fatalf("found before there was anything: %+v", found)
			}
			p.plant(a)
			before := a.untouched()
			var found []scheduler.Finding
			// What is counted of a queue that is busy may take several walks to be certain of.
			for deadline := time.Now().Add(20 * time.Second); len(found) < len(p.want) && time.Now().Before(deadline); {
				found = append(found, a.walk()...)
			}
			wantFound(t, found, p.want)
			a.stop()
			if again := a.walk(); len(again) > 0 && !slices.Contains(p.want, scheduler.FindingQueueCount) {
				t.Errorf("found again: %+v", again)
			}
			if !reflect.DeepEqual(before, a.untouched()) {
				t.Error("tasks have changed")
			}
			wantSound(a.ctx, t, a.store)
		})
	}
}

// wantFound wants findings of these kinds; those of one kind and more are one where a
// whole index was gone.
func wantFound(t *testing.T, found []scheduler.Finding, want []scheduler.FindingKind) {
	t.Helper()
	var kinds []scheduler.FindingKind
	for _, f := range found {
		if f.Left {
			t.Errorf("left as it is: %+v", f)
		}
		kinds = append(kinds, f.Kind)
	}
	slices.Sort(kinds)
	want = slices.Sorted(slices.Values(want))
	if len(want) == 1 {
		kinds = slices.Compact(kinds)
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("found %v, want %v: %+v", kinds, want, found)
	}
}

// TestAuditLeavesWhatItCannotRead shows that a record that cannot be read is told of and
// left, and that one of another version is not touched, nor its place.
func TestAuditLeavesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	a := newAudited(t, redistest.Shared(t).URL(), 20, 8)
	broken, newer := a.tasks[scheduler.StateScheduled][2], a.tasks[scheduler.StateScheduled][3]
	record, err := a.redis.Get(a.ctx, a.store.TaskKey(broken.Key)).Result()
	if err != nil {
		t.Fatal(err)
	}
	other, err := a.redis.Get(a.ctx, a.store.TaskKey(newer.Key)).Result()
	if err != nil {
		t.Fatal(err)
	}
	const formatAt = 8
	a.do("SET", a.store.TaskKey(broken.Key), record[:len(record)-3])
	a.do("SET", a.store.TaskKey(newer.Key), other[:formatAt]+"\x02"+other[formatAt+1:])
	before, err := a.store.Dump(a.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		found := a.walk()
		if len(found) == 0 {
			t.Fatal("nothing found")
		}
		for _, f := range found {
			if f.Kind != scheduler.FindingUnreadable || !f.Left || f.Name != broken.Key.ID {
				t.Errorf("found %+v", f)
			}
			if strings.Contains(f.Detail, "payload") {
				t.Errorf("it tells of the payload: %s", f.Detail)
			}
		}
	}
	after, err := a.store.Dump(a.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, after) {
		t.Error("something has changed")
	}
}

// TestAuditDoesNotMistakeChangesForDrift shows that what changes while tasks are counted
// is never taken for a fault.
func TestAuditDoesNotMistakeChangesForDrift(t *testing.T) {
	t.Parallel()
	a := newAudited(t, redistest.Start(t).URL(), 400, 8)
	a.load()
	for range 30 {
		if found := a.walk(); len(found) > 0 {
			t.Fatalf("found: %+v", found)
		}
	}
	a.stop()
	wantSound(a.ctx, t, a.store)
}

// TestAuditTurnEndsByItself shows that the turn ends by itself.
func TestAuditTurnEndsByItself(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 1})
	if mine, err := s.AuditTurn(t.Context(), "a", 50*time.Millisecond); !mine || err != nil {
		t.Fatalf("first: %v, error %v", mine, err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		mine, err := s.AuditTurn(t.Context(), "b", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if mine {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("b has not got the turn after 10 s")
		}
	}
}
