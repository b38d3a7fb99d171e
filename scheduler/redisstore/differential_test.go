package redisstore_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
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
		m := &machine{
			ctx: t.Context(), nowMS: startMS + scheduler.HourMS/2,
			pauses: make(map[scheduler.QueueKey]int64), marks: make(map[string][]scheduler.JobsMark),
		}
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
			"due":          m.due,
			"ending":       m.ending,
			"browse":       m.browse,
			"dead letters": m.deadLetters,
			"queues":       m.queues,
			"pause":        m.pause,
			"groups":       m.groups,
			"policy":       m.policy,
			"job":          m.job,
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
	// deleted are the groups that have been.
	deleted []scheduler.GroupKey
	// pauses are the queues paused, and until when.
	pauses map[scheduler.QueueKey]int64
	// marks are those of each namespace's jobs at some time, Redis's and the model's.
	marks map[string][]scheduler.JobsMark
}

// The names in use; a comma, a colon and a percent sign are special in keys, and
// no namespace begins with another one.
var (
	namespaces = []string{"a", "b,c"}
	queueNames = []string{"", "q", "q:/{x},%2C"}
	groupNames = []string{"", "g", "g:,{x}%"}
	conditions = []string{"", "c", "c,:d"}
	prints     = []scheduler.Fingerprint{0, 1, 1 << 63}
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
	d := rapid.OneOf(rapid.Int64Range(0, 30), rapid.Int64Range(-20, 500), rapid.SampledFrom([]int64{360_001, 26 * 360_000})).Draw(t, "time")
	// What has been over stays so when the clock steps back: Redis has dropped it,
	// which it does not on a clock that is not its own.
	for i, l := range m.model.Load(m.ctx, allTasks()) {
		if l.Task == nil {
			if err := m.redis.Client().Del(m.ctx, m.redis.TaskKey(allTasks()[i])).Err(); err != nil {
				t.Fatalf("%v", err)
			}
		}
	}
	for queue, untilMS := range m.pauses {
		if untilMS != 0 && untilMS <= m.nowMS {
			m.resume(t, queue)
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
	most := 5
	if len(m.deleted) > 0 {
		// Counts that come back depend on the order of the changes, which is the store's.
		most = 1
	}
	keys := rapid.SliceOfNDistinct(rapid.Custom(anyKey), 1, most, rapid.ID).Draw(t, "keys")
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
	c := scheduler.Change{Key: key, Before: now}
	switch rapid.IntRange(0, 9).Draw(t, "belief") {
	case 0:
		c.Before = nil
	case 1:
		believed := scheduler.Task{Key: key}
		if now != nil {
			believed = *now
		}
		believed.Version += rapid.Int64Range(-1, 1).Draw(t, "off")
		if c.Before = &believed; believed.Version == 0 {
			c.Before = nil
		}
	}
	// The hour in which a change is counted follows from it.
	c.DecidedMS = m.nowMS
	switch rapid.IntRange(0, 5).Draw(t, "decided") {
	case 0:
		c.DecidedMS += rapid.SampledFrom([]int64{-501, -500, 20, 21}).Draw(t, "decided at")
		c.Final = rapid.Bool().Draw(t, "final")
	case 1:
		c.DecidedMS = -1_000_000_000_000_000
	}
	// A group goes on counting what is removed, which only ended tasks are.
	if rapid.IntRange(0, 7).Draw(t, "remove") == 0 && (now == nil || now.Spec.Group == "" || now.State == scheduler.StateDead || now.State.Ended()) {
		return c
	}
	task := anyTask(key).Draw(t, "task")
	task.State = scheduler.State(rapid.ByteRange(1, 7).Draw(t, "state"))
	task.DueMS, task.LeaseEndMS = m.nearMS(t, "due"), m.nearMS(t, "lease end")+1
	task.HoldMS, task.EndMS, task.ExpireMS = m.nearMS(t, "held"), m.nearMS(t, "ended"), m.nearMS(t, "expire")
	task.FirstFailureMS = rapid.SampledFrom([]int64{0, startMS, startMS + scheduler.HourMS}).Draw(t, "first failure")
	task.HoldCondition = rapid.SampledFrom(conditions).Draw(t, "condition")
	task.Fingerprint = rapid.SampledFrom(prints).Draw(t, "fingerprint")
	task.Attempt = rapid.IntRange(0, 1000).Draw(t, "attempt")
	task.Spec.DeadlineMS = rapid.OneOf(rapid.Just[int64](0), rapid.Custom(func(t *rapid.T) int64 { return m.nearMS(t, "deadline") })).Draw(t, "deadline")
	task.Spec.Queue = rapid.SampledFrom(queueNames).Draw(t, "queue")
	task.Spec.Group = rapid.SampledFrom(groupNames).Draw(t, "group")
	if now != nil {
		// These stay for a task's life.
		task.Spec.Queue, task.Spec.Group = now.Spec.Queue, now.Spec.Group
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
	shard, skip, limit := anyShard(t), rapid.IntRange(0, 2).Draw(t, "skip"), rapid.IntRange(1, 3).Draw(t, "limit")
	due, err1 := m.redis.DueQueues(m.ctx, shard, skip, limit)
	wantDue, err2 := m.model.DueQueues(m.ctx, shard, skip, limit)
	if len(due)+len(wantDue) > 0 {
		same(t, "due queues", []any{due, err1}, []any{wantDue, err2})
	}
}

// queues compares what is known and counted of queues, sometimes after those of no
// use have been forgotten. Over which shards that lies is the stores' affair.
func (m *machine) queues(t *rapid.T) {
	limit := rapid.IntRange(1, 3).Draw(t, "limit")
	if rapid.Bool().Draw(t, "forget") {
		for _, s := range m.stores() {
			for shard := range diffShards {
				var at scheduler.QueueKey
				for more := true; more; more = at != (scheduler.QueueKey{}) {
					at = must(s.ForgetQueues(m.ctx, shard, at, limit))(t)
				}
			}
		}
	}
	known := make([]map[scheduler.QueueKey]bool, 2)
	counts := make([][]scheduler.QueueCount, 2)
	for i, s := range m.stores() {
		known[i] = make(map[scheduler.QueueKey]bool)
		for shard := range diffShards {
			var after scheduler.QueueKey
			for more := true; more; {
				page := must(s.Queues(m.ctx, shard, after, limit))(t)
				for _, q := range page {
					known[i][q], after = true, q
				}
				more = len(page) == limit
			}
		}
		counts[i] = must(s.CountQueues(m.ctx, allQueues()))(t)
		for _, c := range counts[i] {
			maps.DeleteFunc(c.Stats, func(_ int64, s scheduler.QueueStats) bool { return s == (scheduler.QueueStats{}) })
		}
	}
	same(t, "queues", known[0], known[1])
	same(t, "counts of queues", counts[0], counts[1])
}

// stores are the one on Redis and the model.
func (m *machine) stores() []scheduler.Store { return []scheduler.Store{m.redis, m.model} }

// must returns the result of a call that is not to fail.
func must[T any](v T, err error) func(testFataler) T {
	return func(t testFataler) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%v", err)
		}
		return v
	}
}

func allQueues() []scheduler.QueueKey {
	var queues []scheduler.QueueKey
	for _, ns := range namespaces {
		for _, name := range queueNames {
			queues = append(queues, scheduler.QueueKey{Namespace: ns, Name: name})
		}
	}
	return queues
}

func (m *machine) pause(t *rapid.T) {
	queue := anyQueue(t)
	untilMS := rapid.OneOf(rapid.Just[int64](0), rapid.Custom(func(t *rapid.T) int64 { return m.nearMS(t, "until") })).Draw(t, "until")
	if rapid.Bool().Draw(t, "resume") {
		m.resume(t, queue)
		return
	}
	m.pauses[queue] = untilMS
	for _, s := range m.stores() {
		if err := s.PauseQueue(m.ctx, queue, untilMS); err != nil {
			t.Fatalf("pause: %v", err)
		}
	}
}

func (m *machine) resume(t *rapid.T, queue scheduler.QueueKey) {
	delete(m.pauses, queue)
	for _, s := range m.stores() {
		if err := s.ResumeQueue(m.ctx, queue); err != nil {
			t.Fatalf("resume: %v", err)
		}
	}
}

func anyGroup(t *rapid.T) scheduler.GroupKey {
	return scheduler.GroupKey{Namespace: rapid.SampledFrom(namespaces).Draw(t, "namespace"), Name: rapid.SampledFrom(groupNames[1:]).Draw(t, "group")}
}

// groups compares the counts of groups, sometimes after one, or all that have not
// changed for a while, have been forgotten.
func (m *machine) groups(t *rapid.T) {
	group, shard := anyGroup(t), anyShard(t)
	beforeMS := m.nowMS - rapid.Int64Range(0, 100).Draw(t, "unchanged for")
	switch rapid.IntRange(0, 5).Draw(t, "forget") {
	case 0:
		same(t, "deleted", must(m.redis.DeleteGroup(m.ctx, group))(t), must(m.model.DeleteGroup(m.ctx, group))(t))
		m.deleted = append(m.deleted, group)
	case 1:
		forgotten := must(m.redis.ForgetGroups(m.ctx, shard, beforeMS, 100))(t)
		same(t, "forgotten", forgotten, must(m.model.ForgetGroups(m.ctx, shard, beforeMS, 100))(t))
		if forgotten > 0 {
			m.deleted = allGroups()
		}
	}
	for _, group := range allGroups() {
		got, ok1, err1 := m.redis.Group(m.ctx, group)
		want, ok2, err2 := m.model.Group(m.ctx, group)
		same(t, "group", []any{got, ok1, err1}, []any{want, ok2, err2})
	}
}

func allGroups() []scheduler.GroupKey {
	var groups []scheduler.GroupKey
	for _, ns := range namespaces {
		for _, name := range groupNames[1:] {
			groups = append(groups, scheduler.GroupKey{Namespace: ns, Name: name})
		}
	}
	return groups
}

func (m *machine) anyIndex(t *rapid.T) scheduler.Index {
	ix := scheduler.Index{Kind: scheduler.IndexKind(rapid.ByteRange(byte(scheduler.IndexDue), byte(scheduler.IndexEnding)).Draw(t, "index"))}
	switch ix.Kind {
	case scheduler.IndexEnding:
		return ix
	case scheduler.IndexCondition:
		ix.Name = rapid.SampledFrom(conditions).Draw(t, "condition")
	case scheduler.IndexFingerprint:
		ix.Fingerprint = rapid.SampledFrom(prints).Draw(t, "fingerprint")
		fallthrough
	default:
		ix.Name = rapid.SampledFrom(queueNames).Draw(t, "queue")
	}
	ix.Namespace = rapid.SampledFrom(namespaces).Draw(t, "namespace")
	return ix
}

// browse reads some parts of indexes, each from the first place or from one that a
// task has or has not.
func (m *machine) browse(t *rapid.T) {
	parts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) scheduler.Part {
		p := scheduler.Part{Index: m.anyIndex(t), Shard: anyShard(t), Limit: rapid.IntRange(0, 4).Draw(t, "limit")}
		if rapid.Bool().Draw(t, "from the first") {
			return p
		}
		p.After = scheduler.Place{MS: m.nearMS(t, "after"), Key: anyKey(t)}
		if p.Index.Kind != scheduler.IndexEnding {
			p.After.Key.Namespace = p.Index.Namespace
		}
		if now := m.model.Load(m.ctx, []scheduler.TaskKey{p.After.Key})[0].Task; now != nil {
			for _, e := range now.Entries(nil) {
				if e.Index == p.Index {
					p.After.MS = e.MS
				}
			}
		}
		return p
	}), 0, 6).Draw(t, "parts")
	same(t, "browsed", m.redis.Browse(m.ctx, parts), m.model.Browse(m.ctx, parts))
}

func (m *machine) deadLetters(t *rapid.T) {
	queue := anyQueue(t)
	byPrint := func(a, b scheduler.DeadLetterGroup) int { return cmp.Compare(a.Fingerprint, b.Fingerprint) }
	got, want := must(m.redis.DeadLetterGroups(m.ctx, queue))(t), must(m.model.DeadLetterGroups(m.ctx, queue))(t)
	slices.SortFunc(got, byPrint)
	slices.SortFunc(want, byPrint)
	same(t, "dead letters", orNil(got), orNil(want))
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

// job writes or deletes a job, on the right belief and on wrong ones, and a policy
// that no job may refer to.
func (m *machine) job(t *rapid.T) {
	namespace, id := rapid.SampledFrom(namespaces).Draw(t, "namespace"), rapid.SampledFrom([]string{"j", "k"}).Draw(t, "job")
	expect := rapid.Int64Range(0, 3).Draw(t, "expect")
	policies := must(m.model.Policies(m.ctx, namespace))(t)
	switch rapid.IntRange(0, 2).Draw(t, "write") {
	case 0:
		rec := &scheduler.JobRecord{
			Namespace: namespace, Job: scheduler.Job{ID: id, Policy: "p", Environments: map[string]string{"prod": rapid.SampledFrom([]string{"", "q"}).Draw(t, "own")}},
			Revision: rapid.Int64Range(1, 3).Draw(t, "revision"), CreateMS: m.nowMS, UpdateMS: m.nowMS,
		}
		for i, p := range policies {
			if rapid.IntRange(0, 3).Draw(t, "policy has changed") == 0 {
				changed := *p
				changed.Revision++
				policies[i] = &changed
			}
		}
		same(t, "put", must(m.redis.PutJob(m.ctx, rec, expect, policies))(t), must(m.model.PutJob(m.ctx, rec, expect, policies))(t))
	case 1:
		same(t, "deleted", must(m.redis.DeleteJob(m.ctx, namespace, id, expect))(t), must(m.model.DeleteJob(m.ctx, namespace, id, expect))(t))
	case 2:
		if m.marks[namespace] == nil || len(policies) == 0 {
			t.Skip("nothing to write")
		}
		rec := *policies[0]
		rec.UpdateMS = m.nowMS
		got, err1 := m.redis.PutPolicyUnlessJobs(m.ctx, &rec, expect, m.marks[namespace][0])
		want, err2 := m.model.PutPolicyUnlessJobs(m.ctx, &rec, expect, m.marks[namespace][1])
		same(t, "put unless jobs", []any{got, err1}, []any{want, err2})
	}
	same(t, "job", must(m.redis.Job(m.ctx, namespace, id))(t), must(m.model.Job(m.ctx, namespace, id))(t))
	same(t, "recent job", must(m.redis.RecentJob(m.ctx, namespace, id))(t), must(m.model.RecentJob(m.ctx, namespace, id))(t))
	got, mark1, err1 := m.redis.Jobs(m.ctx, namespace)
	want, mark2, err2 := m.model.Jobs(m.ctx, namespace)
	same(t, "jobs", []any{orNil(got), err1}, []any{orNil(want), err2})
	// A mark means something to its own store alone.
	if rapid.Bool().Draw(t, "mark") {
		m.marks[namespace] = []scheduler.JobsMark{mark1, mark2}
	}
}

// check compares all tasks, and holds the indexes to them.
func (m *machine) check(t *rapid.T) {
	same(t, "loaded", m.redis.Load(m.ctx, allTasks()), m.model.Load(m.ctx, allTasks()))
	wantSound(m.ctx, t, m.redis, m.deleted...)
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

// wantSound wants that every index and every counter agrees with the tasks; see
// [redisstore.Store.Audit].
func wantSound(ctx context.Context, t testFataler, s *redisstore.Store, deleted ...scheduler.GroupKey) {
	t.Helper()
	found, err := s.Verify(ctx, deleted...)
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
			out += fmt.Sprintf("\n  now %d next %d paused %v err %v", c.NowMS, c.NextMS, c.Paused, c.Err)
			for _, t := range c.Tasks {
				out += fmt.Sprintf("\n    %+v", t)
			}
		}
		return out
	}
	return fmt.Sprintf("%+v", v)
}
