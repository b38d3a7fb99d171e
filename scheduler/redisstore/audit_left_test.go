package redisstore_test

import (
	"slices"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestAuditGoesPastKeysOfTheWrongType has one key after the other be of another type than
// it should be: it is told of and left, and what is wrong elsewhere is mended.
func TestAuditGoesPastKeysOfTheWrongType(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, key := range map[string]func(a *audited) string{
		"a record":            func(a *audited) string { return a.store.TaskKey(a.tasks[scheduler.StateScheduled][0].Key) },
		"a dead one's record": func(a *audited) string { return a.store.TaskKey(a.tasks[scheduler.StateDead][0].Key) },
		"what is due":         func(a *audited) string { return a.key(1, "due:ns,q") },
		"what is dead":        func(a *audited) string { return a.key(1, "dead:ns,q") },
		"a fingerprint":       func(a *audited) string { return a.key(1, "deadfp:0000000000000001:ns,q") },
		"fingerprints":        func(a *audited) string { return a.key(1, "fps:ns,q") },
		"a condition":         func(a *audited) string { return a.key(1, "heldc:ns,c1") },
		"what ends":           func(a *audited) string { return a.key(1, "ending") },
		"heads":               func(a *audited) string { return a.key(1, "heads") },
		"queues":              func(a *audited) string { return a.key(1, "queues") },
		"counts":              func(a *audited) string { return a.key(1, "count:ns,q") },
		"the mendings":        func(a *audited) string { return a.key(1, "audit") },
		"groups":              func(a *audited) string { return a.key(1, "groups") },
		"a group":             func(a *audited) string { return a.key(1, "group:ns,g") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAudited(t, server.URL(), 200, 8)
			a.do("DEL", key(a))
			a.do("RPUSH", key(a), "a")
			a.do("HINCRBY", a.key(2, "count:ns,still"), "l", 1)
			found := a.walk()
			left := slices.ContainsFunc(found, func(f scheduler.Finding) bool { return f.Kind == scheduler.FindingUnreadable && f.Left })
			mended := slices.ContainsFunc(found, func(f scheduler.Finding) bool { return f.Kind == scheduler.FindingQueueCount && f.Shard == 2 })
			if !left || !mended {
				t.Errorf("told of: %v, mended elsewhere: %v, found %+v", left, mended, found)
			}
			if kind, err := a.redis.Type(a.ctx, key(a)).Result(); err != nil || kind != "list" {
				t.Errorf("it is a %s now, error %v", kind, err)
			}
		})
	}
}

// TestAuditTurnOfTheWrongType shows that the turn is given whatever is kept in its place.
func TestAuditTurnOfTheWrongType(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 1})
	if err := s.Client().RPush(t.Context(), s.AuditTurnKey(), "a").Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if mine, err := s.AuditTurn(t.Context(), "a", time.Minute); !mine || err != nil {
			t.Errorf("turn: %v, error %v", mine, err)
		}
	}
	if mine, err := s.AuditTurn(t.Context(), "b", time.Minute); mine || err != nil {
		t.Errorf("turn of another: %v, error %v", mine, err)
	}
}

// TestAuditWhileReplicasAreBehind shows that what too few replicas have confirmed is
// mended, told and done with.
func TestAuditWhileReplicasAreBehind(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 1)
	s := checked(t, master.URL(), 0)
	a := &audited{t: t, ctx: t.Context(), store: s, redis: s.Client()}
	wantDone(t, s.Commit(a.ctx, creations(0, 40)))
	a.do("HINCRBY", a.key(1, "count:ns,q"), "l", 3)
	a.do("ZREM", a.key(2, "heads"), "ns,q")
	defer freeze(t, replicas[0])()
	if mine, err := s.AuditTurn(a.ctx, "a", time.Minute); !mine || err != nil {
		t.Errorf("turn: %v, error %v", mine, err)
	}
	wantFound(t, a.walk(), []scheduler.FindingKind{scheduler.FindingHead, scheduler.FindingQueueCount})
	wantSound(a.ctx, t, s)
}

// TestAuditPace shows what the pace goes by: long records count little where a head tells
// enough, and mendings count.
func TestAuditPace(t *testing.T) {
	t.Parallel()
	looked := func(a *audited) (n int) {
		walk := a.store.Audit()
		for {
			pass, err := walk.Pass(a.ctx)
			if err != nil {
				t.Fatal(err)
			}
			n += pass.Looked
			if pass.Done {
				return n
			}
		}
	}
	const tasks = 400
	short := looked(newAudited(t, redistest.Start(t).URL(), tasks, 8))
	a := newAudited(t, redistest.Start(t).URL(), tasks, 12<<10)
	long := looked(a)
	// Two in five are held or dead, whose records are read whole as they are scanned, in
	// one index, and to count what they carry, and two in five are due, whose records are
	// read to count them.
	if more := long - short; more < tasks*8/5 || more > tasks*8/5+20 {
		t.Errorf("looked at %d more for records of 12 KiB, want one for each of %d read whole", more, tasks*8/5)
	}
	const orphans = 50
	for i := range orphans {
		a.do("ZADD", a.key(1, "due:ns,q"), 1, i)
	}
	if more := looked(a) - long; more < 10*orphans {
		t.Errorf("looked at %d more for %d mendings", more, orphans)
	}
}
