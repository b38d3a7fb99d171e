package redisstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// queueQ is the queue of [creations].
var queueQ = scheduler.QueueKey{Namespace: "ns", Name: "q"}

// countOf returns what is counted of queue q.
func countOf(t *testing.T, s *redisstore.Store) scheduler.QueueCount {
	t.Helper()
	got, err := s.CountQueues(t.Context(), []scheduler.QueueKey{queueQ})
	if err != nil {
		t.Fatal(err)
	}
	return got[0]
}

// TestHalfAPause shows what is told of a pause that has reached only some shards,
// and that a repeat mends it.
func TestHalfAPause(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	now := startMS
	s := newStore(t, redisstore.Config{
		URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 3, NowMS: func() int64 { return now },
	})
	if err := s.PauseQueue(ctx, queueQ, startMS+20); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		// shards holds what the pause is in each, empty for none.
		shards    [3]string
		paused    bool
		wantUntil int64
	}{
		{[3]string{"", "", fmt.Sprint(startMS + 10)}, true, startMS + 10},
		{[3]string{fmt.Sprint(startMS + 30), "", fmt.Sprint(startMS + 10)}, true, startMS + 30},
		{[3]string{"0", fmt.Sprint(startMS + 10), ""}, true, 0},
		{[3]string{fmt.Sprint(startMS + 10), "0", fmt.Sprint(startMS + 5)}, true, 0},
		{[3]string{fmt.Sprint(startMS), fmt.Sprint(startMS - 1), ""}, false, 0},
	} {
		for shard, until := range c.shards {
			if err := s.Client().HDel(ctx, s.PausedKey(shard), "ns,q").Err(); err != nil {
				t.Fatal(err)
			}
			if until == "" {
				continue
			}
			if err := s.Client().HSet(ctx, s.PausedKey(shard), "ns,q", until).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if got := countOf(t, s); got.Paused != c.paused || got.PausedUntilMS != c.wantUntil {
			t.Errorf("pauses %q are told as %v until %d, want %v until %d", c.shards, got.Paused, got.PausedUntilMS, c.paused, c.wantUntil)
		}
	}
	if err := s.PauseQueue(ctx, queueQ, startMS+20); err != nil {
		t.Fatal(err)
	}
	for shard := range s.Shards() {
		if got := s.Client().HGet(ctx, s.PausedKey(shard), "ns,q").Val(); got != fmt.Sprint(startMS+20) {
			t.Errorf("shard %d is paused until %q", shard, got)
		}
	}

	// What has passed is forgotten, also of a queue that is in use; what has not is not.
	wantDone(t, s.Commit(ctx, creations(0, 20)))
	for _, c := range []struct{ now, want int64 }{{startMS + 19, 1}, {startMS + 20, 0}} {
		now = c.now
		for shard := range s.Shards() {
			if _, err := s.ForgetQueues(ctx, shard, scheduler.QueueKey{}, 10); err != nil {
				t.Fatal(err)
			}
			if n := s.Client().HLen(ctx, s.PausedKey(shard)).Val(); n != c.want {
				t.Errorf("shard %d has %d pauses at %d, want %d", shard, n, c.now-startMS, c.want)
			}
		}
	}
	if !countOf(t, s).Known {
		t.Error("a queue with tasks in it is not known any more")
	}
}

// TestOperatorsOfAFullRedis shows that all that steers a full Redis goes on.
func TestOperatorsOfAFullRedis(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := redistest.Start(t)
	s := newStore(t, redisstore.Config{URL: server.URL(), Shards: 2})
	wantDone(t, s.Commit(ctx, creations(0, 5)))
	server.Do(t, "CONFIG", "SET", "maxmemory", "1")
	wantKind(t, s.Commit(ctx, creations(10, 1))[0].Err, scheduler.KindFull)
	rec := &scheduler.JobRecord{Namespace: "ns", Job: scheduler.Job{ID: "j"}, Revision: 1}
	p := &scheduler.PolicyRecord{Namespace: "ns", Policy: policy.Policy{ID: "p"}, Revision: 1}
	for _, step := range []struct {
		name string
		do   func() (bool, error)
	}{
		{"pause", func() (bool, error) { return true, s.PauseQueue(ctx, queueQ, 1) }},
		{"resume", func() (bool, error) { return true, s.ResumeQueue(ctx, queueQ) }},
		{"count", func() (bool, error) {
			got, err := s.CountQueues(ctx, []scheduler.QueueKey{queueQ})
			return err == nil && got[0].Due == 5, err
		}},
		{"heads", func() (bool, error) {
			got, err := s.Heads(ctx, []scheduler.QueueKey{queueQ})
			return len(got) == 1, err
		}},
		{"forget queues", func() (bool, error) { _, err := s.ForgetQueues(ctx, 0, scheduler.QueueKey{}, 9); return true, err }},
		{"delete group", func() (bool, error) { ok, err := s.DeleteGroup(ctx, scheduler.GroupKey{}); return !ok, err }},
		{"browse", func() (bool, error) { got := s.Browse(ctx, make([]scheduler.Part, 1))[0]; return true, got.Err }},
		{"put job", func() (bool, error) { return s.PutJob(ctx, rec, 0, nil) }},
		{"delete job", func() (bool, error) { return s.DeleteJob(ctx, "ns", "j", 1) }},
		{"put policy", func() (bool, error) { return s.PutPolicyUnlessJobs(ctx, p, 0, 2) }},
	} {
		if ok, err := step.do(); !ok || err != nil {
			t.Errorf("%s: %v, error %v", step.name, ok, err)
		}
	}
}

// TestFingerprintsReadWhileTheyChange shows that each is told once, and once only,
// also when the hash that they are in shrinks while it is read, which makes Redis
// tell some again.
func TestFingerprintsReadWhileTheyChange(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg := redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 1}
	s, other := newStore(t, cfg), newStore(t, cfg)
	key := s.FingerprintsKey(0, queueQ)
	value := "\x00\x00\x00\x01" + strings.Repeat("\x00\x00\x00\x00\x00\x07", 2) + "sample"
	const stay, all = 800, 4300
	var fields []any
	var passing []string
	for i := 1; i <= all; i++ {
		field := scheduler.Fingerprint(i).String()
		fields = append(fields, field, value)
		if i > stay {
			passing = append(passing, field)
		}
	}
	s.Client().AddHook(afterPipelines{func() error { return other.Client().HDel(ctx, key, passing...).Err() }})
	for range 30 {
		if err := other.Client().HSet(ctx, key, fields...).Err(); err != nil {
			t.Fatal(err)
		}
		groups, err := s.DeadLetterGroups(ctx, queueQ)
		if err != nil {
			t.Fatal(err)
		}
		there := 0
		for _, g := range groups {
			if g.Count != 1 || g.FirstMS != 7 || g.LastMS != 7 || g.Sample != (scheduler.TaskKey{Namespace: "ns", ID: "sample"}) {
				t.Fatalf("told is %+v", g)
			}
			if g.Fingerprint <= stay {
				there++
			}
		}
		if there != stay || len(groups) == all {
			t.Fatalf("%d fingerprints that stay are told, want %d; %d are told in all", there, stay, len(groups))
		}
	}
}

// afterPipelines is called when a pipeline has been answered.
type afterPipelines struct{ then func() error }

func (afterPipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (afterPipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h afterPipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := next(ctx, cmds); err != nil {
			return err
		}
		return h.then()
	}
}

func TestWhatCannotBeReadIsSaidClearly(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 1})
	for field, value := range map[string]string{"xyz": strings.Repeat("\x00", 16), scheduler.Fingerprint(5).String(): "short"} {
		key := s.FingerprintsKey(0, queueQ)
		if err := s.Client().Del(ctx, key).Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.Client().HSet(ctx, key, field, value).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := s.DeadLetterGroups(ctx, queueQ); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("fingerprint %q as %q: %+v, error %v", field, value, got, err)
		}
	}
	if err := s.PauseQueue(ctx, queueQ, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Client().HSet(ctx, s.PausedKey(0), "ns,q", "soon").Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.CountQueues(ctx, []scheduler.QueueKey{queueQ}); err == nil || !strings.Contains(err.Error(), "soon") {
		t.Errorf("pause until soon: %+v, error %v", got, err)
	}
}
