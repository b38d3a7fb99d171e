package redisstore_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestDifferential sends the same random calls to the store on Redis and to the
// one in memory, which is the model: answers and everything that is kept must be
// the same after each.
func TestDifferential(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{ctx: t.Context(), nowMS: startMS, claims: []scheduler.Claim{}}
		now := func() int64 { return m.nowMS }
		cfg := redisstore.Config{URL: server.URL(), Prefix: redistest.Prefix(t), Shards: diffShards, NowMS: now}
		m.redis = openStore(rt, cfg)
		defer func() { _ = m.redis.Close() }()
		m.model = memstore.New(memstore.Config{Shards: diffShards, NowMS: now})
		rt.Repeat(map[string]func(*rapid.T){
			"time":         m.passTime,
			"commit":       m.commit,
			"commit more":  m.commit,
			"claim":        m.claim,
			"claim again":  m.claimAgain,
			"claim one":    m.claimOne,
			"check leases": m.checkLeases,
			"heads":        m.heads,
			"queues":       m.queues,
			"due":          m.due,
			"ending":       m.ending,
			"policy":       m.policy,
			"":             m.check,
		})
		m.cleanUp(rt)
	})
}

const diffShards = 3

// machine is the two stores and what the test knows of them.
type machine struct {
	ctx   context.Context
	redis *redisstore.Store
	model *memstore.Store
	nowMS int64
	// claims have been made and may be repeated; leases are what they gave.
	claims []scheduler.Claim
	leases []scheduler.LeaseCheck
	ids    uint64
}

// The names in use; a comma, a colon and a percent sign are special in keys, and
// no namespace begins with another one.
var (
	namespaces = []string{"a", "b,c"}
	queueNames = []string{"", "q", "q:/{x},%2C"}
	taskIDs    = []string{"1", "2", "3", "4", "x,y", "{0}", "%", "é\x00"}
)

func anyKey(t *rapid.T) scheduler.TaskKey {
	return scheduler.TaskKey{Namespace: rapid.SampledFrom(namespaces).Draw(t, "namespace"), ID: rapid.SampledFrom(taskIDs).Draw(t, "task")}
}

func anyQueue(t *rapid.T) scheduler.QueueKey {
	return scheduler.QueueKey{Namespace: rapid.SampledFrom(namespaces).Draw(t, "namespace"), Name: rapid.SampledFrom(queueNames).Draw(t, "queue")}
}

func anyShard(t *rapid.T) int { return rapid.IntRange(0, diffShards-1).Draw(t, "shard") }

// nearMS is a time about now, seldom the same as another.
func (m *machine) nearMS(t *rapid.T, what string) int64 {
	return m.nowMS + rapid.Int64Range(-50, 200).Draw(t, what)*10
}

func (m *machine) passTime(t *rapid.T) {
	d := rapid.OneOf(rapid.Int64Range(0, 30), rapid.Int64Range(-20, 500), rapid.Just[int64](360_001)).Draw(t, "time")
	// What has been over stays so when the clock steps back: Redis has dropped it,
	// which it does not on a clock that is not its own.
	for i, l := range m.model.Load(m.ctx, allTasks()) {
		if l.Task == nil {
			if err := m.redis.Client().Del(m.ctx, m.redis.TaskKey(allTasks()[i])).Err(); err != nil {
				t.Fatalf("%v", err)
			}
		}
	}
	m.nowMS += d * 10
}

func allTasks() []scheduler.TaskKey {
	var keys []scheduler.TaskKey
	for _, ns := range namespaces {
		for _, id := range taskIDs {
			keys = append(keys, scheduler.TaskKey{Namespace: ns, ID: id})
		}
	}
	return keys
}

// commit changes some tasks, on the right belief and on wrong ones.
func (m *machine) commit(t *rapid.T) {
	keys := rapid.SliceOfNDistinct(rapid.Custom(anyKey), 1, 5, rapid.ID).Draw(t, "keys")
	changes := make([]scheduler.Change, len(keys))
	for i, key := range keys {
		changes[i] = m.change(t, key)
	}
	before := m.dump(t)
	got, want := m.redis.Commit(m.ctx, changes), m.model.Commit(m.ctx, changes)
	same(t, "committed", got, want)
	wrote := false
	for _, c := range got {
		wrote = wrote || c.Status == scheduler.CommitDone
	}
	if after := m.dump(t); !wrote && !maps.Equal(before, after) {
		t.Fatalf("a refused commit has changed what is kept:\nfrom %q\n  to %q", before, after)
	}
}

func (m *machine) change(t *rapid.T, key scheduler.TaskKey) scheduler.Change {
	now := m.model.Load(m.ctx, []scheduler.TaskKey{key})[0].Task
	c := scheduler.Change{Key: key}
	if now != nil {
		c.Expect = now.Version
	}
	switch rapid.IntRange(0, 9).Draw(t, "belief") {
	case 0:
		c.Expect = 0
	case 1:
		c.Expect += rapid.Int64Range(-1, 1).Draw(t, "off")
	}
	switch rapid.IntRange(0, 5).Draw(t, "decided") {
	case 0, 1, 2:
		c.DecidedMS = m.nowMS
	case 3:
		c.DecidedMS = m.nowMS + rapid.SampledFrom([]int64{-501, -500, 20, 21, -1_000_000_000_000_000}).Draw(t, "decided at")
		c.Final = rapid.Bool().Draw(t, "final")
	}
	if rapid.IntRange(0, 7).Draw(t, "remove") == 0 {
		return c
	}
	task := anyTask(key).Draw(t, "task")
	task.DueMS, task.LeaseEndMS = m.nearMS(t, "due"), m.nearMS(t, "lease end")+1
	task.ExpireMS = m.nearMS(t, "expire")
	task.Spec.DeadlineMS = rapid.OneOf(rapid.Just[int64](0), rapid.Custom(func(t *rapid.T) int64 { return m.nearMS(t, "deadline") })).Draw(t, "deadline")
	task.Spec.Queue = rapid.SampledFrom(queueNames).Draw(t, "queue")
	if now != nil {
		task.Spec.Queue = now.Spec.Queue
	}
	c.Task = task
	return c
}

func (m *machine) newClaim(t *rapid.T) scheduler.Claim {
	m.ids++
	c := scheduler.Claim{
		ID: m.ids, Replica: rapid.SampledFrom([]string{"r1", "r2:x"}).Draw(t, "replica"),
		Queue: anyQueue(t), Shard: anyShard(t),
		Slots: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) scheduler.Slot {
			return scheduler.Slot{
				Count:   rapid.IntRange(0, 3).Draw(t, "count"),
				LeaseMS: rapid.SampledFrom([]int64{0, 103, 1003}).Draw(t, "lease"), Worker: rapid.SampledFrom([]string{"", "w", "worker-ü"}).Draw(t, "worker"),
			}
		}), 0, 3).Draw(t, "slots"),
	}
	for _, slot := range c.Slots {
		for range slot.Count {
			c.Nonces = append(c.Nonces, rapid.Uint64().Draw(t, "nonce"))
		}
	}
	return c
}

func (m *machine) claim(t *rapid.T) {
	claims := make([]scheduler.Claim, rapid.IntRange(1, 3).Draw(t, "claims"))
	for i := range claims {
		claims[i] = m.newClaim(t)
	}
	m.claims = append(m.claims, claims...)
	m.claimAll(t, claims)
}

func (m *machine) claimAgain(t *rapid.T) {
	if len(m.claims) == 0 {
		t.Skip("nothing to repeat")
	}
	recent := m.claims[max(0, len(m.claims)-4):]
	m.claimAll(t, []scheduler.Claim{rapid.SampledFrom(recent).Draw(t, "claim")})
}

func (m *machine) claimOne(t *rapid.T) {
	c := m.newClaim(t)
	c.Task = anyKey(t)
	c.Shard = scheduler.ShardOf(c.Task, diffShards)
	c.Queue.Namespace = c.Task.Namespace
	c.Replica = rapid.SampledFrom([]string{"", "r1"}).Draw(t, "replica of one")
	m.claimAll(t, []scheduler.Claim{c})
}

func (m *machine) claimAll(t *rapid.T, claims []scheduler.Claim) {
	got, want := m.redis.Claim(m.ctx, claims), m.model.Claim(m.ctx, claims)
	same(t, "claimed", got, want)
	for _, c := range got {
		for _, task := range c.Tasks {
			m.leases = append(m.leases, scheduler.LeaseCheck{Queue: task.Queue(), Key: task.Key, Fence: task.Fence, LeaseEndMS: task.LeaseEndMS})
		}
	}
}

// checkLeases compares what is said of all leases ever given. A lease whose task
// has come to the same time again by other ways may be taken for held.
func (m *machine) checkLeases(t *rapid.T) {
	got, want := m.redis.CheckLeases(m.ctx, m.leases), m.model.CheckLeases(m.ctx, m.leases)
	for i, l := range m.leases {
		now := m.model.Load(m.ctx, []scheduler.TaskKey{l.Key})[0].Task
		if now != nil {
			if lookMS, ok := now.LookMS(); ok && lookMS == l.LeaseEndMS && now.Queue() == l.Queue {
				want[i] = scheduler.LeaseChecked{Held: true, LeaseEndMS: lookMS}
			}
		}
	}
	same(t, "leases", got, want)
}

func (m *machine) heads(t *rapid.T) {
	queues := rapid.SliceOfN(rapid.Custom(anyQueue), 0, 4).Draw(t, "queues")
	got, err1 := m.redis.Heads(m.ctx, queues)
	want, err2 := m.model.Heads(m.ctx, queues)
	same(t, "heads", []any{got, err1}, []any{want, err2})
}

func (m *machine) queues(t *rapid.T) {
	shard, limit := anyShard(t), rapid.IntRange(1, 3).Draw(t, "limit")
	after := rapid.OneOf(rapid.Just(scheduler.QueueKey{}), rapid.Custom(anyQueue)).Draw(t, "after")
	got, err1 := m.redis.Queues(m.ctx, shard, after, limit)
	want, err2 := m.model.Queues(m.ctx, shard, after, limit)
	same(t, "queues", []any{got, err1}, []any{want, err2})
}

func (m *machine) place(t *rapid.T) scheduler.Place {
	if rapid.Bool().Draw(t, "from the first") {
		return scheduler.Place{}
	}
	key := anyKey(t)
	now := m.model.Load(m.ctx, []scheduler.TaskKey{key})[0].Task
	if now != nil {
		if lookMS, ok := now.LookMS(); ok {
			return scheduler.Place{MS: lookMS, Key: key}
		}
	}
	return scheduler.Place{MS: m.nearMS(t, "after"), Key: key}
}

func (m *machine) due(t *rapid.T) {
	queue, shard, after, limit := anyQueue(t), anyShard(t), m.place(t), rapid.IntRange(0, 4).Draw(t, "limit")
	after.Key.Namespace = queue.Namespace
	got, err1 := m.redis.Due(m.ctx, queue, shard, after, limit)
	want, err2 := m.model.Due(m.ctx, queue, shard, after, limit)
	same(t, "due", []any{got, err1}, []any{want, err2})
}

func (m *machine) ending(t *rapid.T) {
	shard, after, limit := anyShard(t), m.place(t), rapid.IntRange(0, 4).Draw(t, "limit")
	got, err1 := m.redis.Ending(m.ctx, shard, after, limit)
	want, err2 := m.model.Ending(m.ctx, shard, after, limit)
	same(t, "ending", []any{got, err1}, []any{want, err2})
}

func (m *machine) policy(t *rapid.T) {
	namespace, id := rapid.SampledFrom(namespaces).Draw(t, "namespace"), rapid.SampledFrom([]string{"p", "q"}).Draw(t, "policy")
	rec := &scheduler.PolicyRecord{
		Namespace: namespace, Policy: policy.Policy{ID: id, MaxRetries: rapid.IntRange(0, 9).Draw(t, "retries")}.Normalize(),
		Revision: rapid.Int64Range(1, 3).Draw(t, "revision"), UpdateMS: m.nowMS,
	}
	expect := rapid.Int64Range(0, 3).Draw(t, "expect")
	got, err1 := m.redis.PutPolicy(m.ctx, rec, expect)
	want, err2 := m.model.PutPolicy(m.ctx, rec, expect)
	same(t, "put", []any{got, err1}, []any{want, err2})
	for _, read := range []func(scheduler.Store) (any, error){
		func(s scheduler.Store) (any, error) { return s.Policy(m.ctx, namespace, id) },
		func(s scheduler.Store) (any, error) { return s.RecentPolicy(m.ctx, namespace, id) },
		func(s scheduler.Store) (any, error) { return s.Policies(m.ctx, namespace) },
	} {
		got, err1 := read(m.redis)
		want, err2 := read(m.model)
		same(t, "policy", []any{got, err1}, []any{want, err2})
	}
}

// check compares all tasks, and holds the indexes to them.
func (m *machine) check(t *rapid.T) {
	same(t, "loaded", m.redis.Load(m.ctx, allTasks()), m.model.Load(m.ctx, allTasks()))
	wantSound(m.ctx, t, m.redis)
}

func (m *machine) dump(t *rapid.T) map[string]string {
	dump, err := m.redis.Dump(m.ctx)
	if err != nil {
		t.Fatalf("dump: %v", err)
	}
	return dump
}

// cleanUp removes what the run has left, so that many runs do not fill the
// server.
func (m *machine) cleanUp(t *rapid.T) {
	for key := range m.dump(t) {
		if err := m.redis.Client().Del(m.ctx, key).Err(); err != nil {
			t.Fatalf("clean up: %v", err)
		}
	}
}

// wantSound wants that every index agrees with the tasks.
func wantSound(ctx context.Context, t testFataler, s *redisstore.Store) {
	t.Helper()
	found, err := s.Audit(ctx)
	if err != nil {
		t.Fatalf("audit: %v", err)
	}
	if len(found) > 0 {
		t.Fatalf("indexes and tasks do not agree:\n%v", found)
	}
}

// same wants both stores to have answered the same.
func same(t *rapid.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\nredis %s\nmodel %s", what, show(got), show(want))
	}
}

// show prints what pointers point to.
func show(v any) string {
	switch v := v.(type) {
	case []scheduler.Loaded:
		var out []any
		for _, l := range v {
			if l.Task != nil || l.Err != nil {
				out = append(out, fmt.Sprintf("%+v %v", l.Task, l.Err))
			}
		}
		return fmt.Sprint(out...)
	case []scheduler.Committed:
		var out string
		for _, c := range v {
			out += fmt.Sprintf("\n  status %d now %d err %v task %+v", c.Status, c.NowMS, c.Err, c.Task)
		}
		return out
	case []scheduler.Claimed:
		var out string
		for _, c := range v {
			out += fmt.Sprintf("\n  now %d next %d err %v", c.NowMS, c.NextMS, c.Err)
			for _, t := range c.Tasks {
				out += fmt.Sprintf("\n    %+v", t)
			}
		}
		return out
	}
	return fmt.Sprintf("%+v", v)
}
