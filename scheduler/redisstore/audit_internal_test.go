package redisstore

import (
	"maps"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
)

// TestRecountMendsOnlyWhatIsCertain shows that a count is wrong only as far as it is so
// however the tasks were that are in doubt.
func TestRecountMendsOnlyWhatIsCertain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		r    recount
		want map[string]int64
	}{
		"all known, right":           {recount{places: 5, known: 5, have: map[string]int64{"l": 2}, sums: map[string]int64{"l": 2}}, nil},
		"all known, too many":        {recount{places: 5, known: 5, have: map[string]int64{"l": 3}, sums: map[string]int64{"l": 2}}, map[string]int64{"l": 1}},
		"all known, too few":         {recount{places: 5, known: 5, have: map[string]int64{"l": 1}, sums: map[string]int64{"l": 2}}, map[string]int64{"l": -1}},
		"in doubt, may be right":     {recount{places: 8, known: 5, have: map[string]int64{"l": 5}, sums: map[string]int64{"l": 2}}, nil},
		"in doubt, more than can be": {recount{places: 8, known: 5, have: map[string]int64{"l": 7}, sums: map[string]int64{"l": 2}}, map[string]int64{"l": 2}},
		"in doubt, fewer than known": {recount{places: 8, known: 5, have: map[string]int64{"l": 1}, sums: map[string]int64{"l": 2}}, map[string]int64{"l": -1}},
		"not there":                  {recount{places: 2, known: 2, have: map[string]int64{}, sums: map[string]int64{"9": 2}}, map[string]int64{"9": -2}},
		"below nothing":              {recount{places: 9, known: 2, have: map[string]int64{"9": -1}, sums: map[string]int64{}}, map[string]int64{"9": -1}},
		"no number":                  {recount{queueCounts: &queueCounts{garbled: []string{"9"}}, places: 9, known: 2, have: map[string]int64{}}, map[string]int64{"9": 0}},
		"more known than there were": {recount{places: 2, known: 3, have: map[string]int64{"l": 9}}, nil},
		"too many to look at":        {recount{places: 2, known: 2, sums: map[string]int64{"l": 9}}, nil},
	} {
		if c.r.queueCounts == nil {
			c.r.queueCounts = &queueCounts{}
		}
		if got := c.r.wrongBy(); !maps.Equal(got, c.want) {
			t.Errorf("%s: wrong by %v, want %v", name, got, c.want)
		}
	}
}

// TestRecountMendsOnlyBytesThatAreCertain shows that a task in doubt may carry as much as
// any task, or nothing.
func TestRecountMendsOnlyBytesThatAreCertain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		r    recount
		want map[string]int64
	}{
		"all known, right":           {recount{places: 5, known: 5, haveBytes: 70, sumBytes: 70}, nil},
		"all known, too many":        {recount{places: 5, known: 5, haveBytes: 90, sumBytes: 70}, map[string]int64{"w": 20}},
		"never counted":              {recount{places: 5, known: 5, sumBytes: 70}, map[string]int64{"w": -70}},
		"in doubt, may be right":     {recount{places: 6, known: 5, haveBytes: 70 + scheduler.MaxTaskBytes, sumBytes: 70}, nil},
		"in doubt, more than can be": {recount{places: 6, known: 5, haveBytes: 71 + scheduler.MaxTaskBytes, sumBytes: 70}, map[string]int64{"w": 1}},
		"in doubt, fewer than known": {recount{places: 6, known: 5, haveBytes: 60, sumBytes: 70}, map[string]int64{"w": -10}},
		"below nothing":              {recount{haveBytes: -3}, map[string]int64{"w": -3}},
		"no number":                  {recount{garbledBytes: true}, map[string]int64{"w": 0}},
		"more known than there were": {recount{places: 2, known: 3, haveBytes: 9}, nil},
	} {
		c.r.field = fieldUnderWayBytes
		if got := c.r.bytesWrongBy(); !maps.Equal(got, c.want) {
			t.Errorf("%s: wrong by %v, want %v", name, got, c.want)
		}
	}
}

// TestCountsAreMendedOnce shows that of two auditors that have found the same, one mends
// it, and none where the clock was set back while it counted.
func TestCountsAreMendedOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := New(Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	q := scheduler.QueueKey{Namespace: "ns", Name: "q"}
	leased := func() string {
		t.Helper()
		n, err := s.client.HGet(ctx, s.keys.count(0, q), fieldLeased).Result()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	s.client.HSet(ctx, s.keys.count(0, q), fieldLeased, 9)
	recounted := func(beganMS int64) *recount {
		return &recount{queueCounts: &queueCounts{beganMS: beganMS, began: time.Now(), mendings: "0"}, have: map[string]int64{fieldLeased: 3}}
	}
	now, err := s.Now(ctx)
	if err != nil {
		t.Fatal(err)
	}
	walk := &auditWalk{s: s}
	for i, c := range []struct {
		beganMS int64
		want    string
		found   int
	}{{now + 60_000, "9", 0}, {now, "6", 1}, {now, "6", 1}} {
		if err := walk.settleCounts(ctx, 0, q, recounted(c.beganMS)); err != nil {
			t.Fatal(err)
		}
		if got := leased(); got != c.want || len(walk.pass.Findings) != c.found {
			t.Errorf("step %d: %s leased, want %s; found %+v", i, got, c.want, walk.pass.Findings)
		}
	}
}

// TestGroupSumsCountATaskOnce shows that a task that a scan tells of twice counts once,
// and that what is not known of one task leaves all groups in doubt.
func TestGroupSumsCountATaskOnce(t *testing.T) {
	t.Parallel()
	g := newGroupSums()
	task := &scheduler.Task{Key: scheduler.TaskKey{Namespace: "ns", ID: "a"}, Spec: scheduler.Spec{Group: "g"}, State: scheduler.StateLeased}
	g.add(1, task)
	g.add(1, task)
	at := groupAt{1, scheduler.GroupKey{Namespace: "ns", Name: "g"}}
	if got := *g.of[at]; got != (groupSum{inProgress: 1}) {
		t.Errorf("counted %+v", got)
	}
	g.doubt()
	g.add(1, &scheduler.Task{Key: scheduler.TaskKey{Namespace: "ns", ID: "b"}, Spec: task.Spec, State: scheduler.StateHeld})
	if got := *g.of[at]; got != (groupSum{inProgress: 1}) || !g.doubtful {
		t.Errorf("counted %+v, doubtful %v", got, g.doubtful)
	}
}

// TestParseKeysTakesApartWhatKeysPutsTogether shows that all keys of a shard are known
// for what they are, and none of another store.
func TestParseKeysTakesApartWhatKeysPutsTogether(t *testing.T) {
	t.Parallel()
	k := newKeys("a*[b", 4)
	q := scheduler.QueueKey{Namespace: "n,:%", Name: "q:{1},%"}
	for want, key := range map[string]string{
		"t": k.task(3, scheduler.TaskKey{Namespace: q.Namespace, ID: q.Name}), "due": k.due(3, q), "count": k.count(3, q),
		"bytes": k.bytes(3, q),
		"fps":   k.fingerprints(3, q), "group": k.group(3, scheduler.GroupKey(q)),
		"deadfp": k.index(3, scheduler.Index{Kind: scheduler.IndexFingerprint, Namespace: q.Namespace, Name: q.Name, Fingerprint: 7}),
	} {
		got, ok := k.parse(key)
		if !ok || got.kind != want || got.shard != 3 || got.queue() != q {
			t.Errorf("%s is taken for %+v, %v", key, got, ok)
		}
	}
	for _, key := range []string{
		k.stats(3, q, 1), k.claim(3, "r", q), k.paused(3), k.queues(3), k.audits(3), k.layout(),
		"a*[b:{4}:due:n,q", "a*[b:{03}:due:n,q", "b:{3}:due:n,q", "a*[b:{3}:due:n", "a*[b:{3}", "a*[b:{3}:deadfp:7:n,q",
	} {
		if got, ok := k.parse(key); ok {
			t.Errorf("%s is taken for %+v", key, got)
		}
	}
}
