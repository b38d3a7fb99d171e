package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// replyError is what a server has answered.
type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}

func TestErrorsHaveKinds(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisstore.Config{URL: "redis://localhost"})
	for _, err := range []error{
		replyError("READONLY You can't write against a read only replica. script: abc, on @user_script:1."),
		replyError("LOADING Redis is loading the dataset in memory"),
		replyError("CLUSTERDOWN Hash slot not served"),
		replyError("TRYAGAIN Multiple keys request during rehashing of slot"),
		replyError("NOREPLICAS Not enough good replicas to write."),
		replyError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
		replyError("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."),
		replyError("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
		replyError("MOVED 1 127.0.0.1:1"),
		replyError("ERR Script attempted to access a non local key in a cluster node script: abc"),
		replyError("ERR max number of clients reached"),
		replyError("NOAUTH Authentication required."),
		io.EOF, io.ErrUnexpectedEOF, redis.ErrPoolTimeout, redis.ErrClosed, context.DeadlineExceeded, context.Canceled,
		errors.New("redis: all sentinels specified in configuration are unreachable"),
	} {
		got := s.Failure(err)
		wantKind(t, got, scheduler.KindUnavailable)
		if !errors.Is(got, err) {
			t.Errorf("%v is not among the causes of %v", err, got)
		}
		if strings.Contains(got.Error(), err.Error()) {
			t.Errorf("callers are shown %q", got)
		}
	}
	wantKind(t, s.Failure(replyError("OOM command not allowed when used memory > 'maxmemory'.")), scheduler.KindFull)
	var e *scheduler.Error
	if err := s.Failure(replyError("WRONGTYPE Operation against a key holding the wrong kind of value")); errors.As(err, &e) {
		t.Errorf("a bug is taken for %v", err)
	}
}

// TestRedisAway shows what every method answers while nobody listens, and that it
// does so at once.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--port", redistest.FreePort(t))
	s := newStore(t, redisstore.Config{URL: server.URL(), Shards: 2})
	wantDone(t, s.Commit(t.Context(), creations(0, 5)))
	server.Stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	q := scheduler.QueueKey{Namespace: "ns", Name: "q"}
	began := time.Now()
	for name, call := range map[string]func() error{
		"commit one":   func() error { return s.Commit(ctx, creations(10, 1))[0].Err },
		"commit":       func() error { return s.Commit(ctx, creations(10, 3))[2].Err },
		"load":         func() error { return s.Load(ctx, []scheduler.TaskKey{aKey, aKey})[1].Err },
		"claim":        func() error { return s.Claim(ctx, []scheduler.Claim{{Queue: q}, {Queue: q, Shard: 1}})[1].Err },
		"check leases": func() error { return s.CheckLeases(ctx, []scheduler.LeaseCheck{{Key: aKey, Queue: q}})[0].Err },
		"heads":        func() error { _, err := s.Heads(ctx, []scheduler.QueueKey{q}); return err },
		"queues":       func() error { _, err := s.Queues(ctx, 0, scheduler.QueueKey{}, 1); return err },
		"due queues":   func() error { _, err := s.DueQueues(ctx, 0, 0, 1); return err },
		"due":          func() error { _, err := s.Due(ctx, q, 0, scheduler.Place{}, 1); return err },
		"ending":       func() error { _, err := s.Ending(ctx, 0, scheduler.Place{}, 1); return err },
		"now":          func() error { _, err := s.Now(ctx); return err },
		"policy":       func() error { _, err := s.Policy(ctx, "ns", "p"); return err },
		"recent":       func() error { _, err := s.RecentPolicy(ctx, "ns", "p"); return err },
		"policies":     func() error { _, err := s.Policies(ctx, "ns"); return err },
		"put policy":   func() error { _, err := s.PutPolicy(ctx, &scheduler.PolicyRecord{Revision: 1}, 0); return err },
		"browse":       func() error { return s.Browse(ctx, make([]scheduler.Part, 2))[1].Err },
		"groups":       func() error { _, err := s.DeadLetterGroups(ctx, q); return err },
		"count queues": func() error { _, err := s.CountQueues(ctx, []scheduler.QueueKey{q}); return err },
		"pause":        func() error { return s.PauseQueue(ctx, q, 0) },
		"resume":       func() error { return s.ResumeQueue(ctx, q) },
		"forget":       func() error { _, err := s.ForgetQueues(ctx, 0, scheduler.QueueKey{}, 1); return err },
		"group":        func() error { _, _, err := s.Group(ctx, scheduler.GroupKey{}); return err },
		"delete group": func() error { _, err := s.DeleteGroup(ctx, scheduler.GroupKey{}); return err },
		"old groups":   func() error { _, err := s.ForgetGroups(ctx, 0, 1, 1); return err },
		"unless jobs": func() error {
			_, err := s.PutPolicyUnlessJobs(ctx, &scheduler.PolicyRecord{Revision: 1}, 0, 0)
			return err
		},
		"job":        func() error { _, err := s.Job(ctx, "ns", "j"); return err },
		"recent job": func() error { _, err := s.RecentJob(ctx, "ns", "j"); return err },
		"jobs":       func() error { _, _, err := s.Jobs(ctx, "ns"); return err },
		"put job":    func() error { _, err := s.PutJob(ctx, &scheduler.JobRecord{Revision: 1}, 0, nil); return err },
		"delete job": func() error { _, err := s.DeleteJob(ctx, "ns", "j", 1); return err },
		"check":      func() error { return s.Check(ctx) },
	} {
		err := call()
		if e, ok := errors.AsType[*scheduler.Error](err); !ok || e.Kind != scheduler.KindUnavailable {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the answers took %s", took)
	}
	server.Restart(t)
	// After so many failures the client tries only once a second.
	patience := time.After(10 * time.Second)
	for {
		got := s.Commit(t.Context(), creations(0, 5))
		if got[0].Err == nil {
			wantDone(t, got)
			return
		}
		select {
		case <-patience:
			t.Fatalf("Redis is back, and the answer is still %v", got[0].Err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestForeignRecords shows that what another version has written is left alone,
// and said clearly.
func TestForeignRecords(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var log strings.Builder
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 1, Log: textLog(&log)})
	got := s.Commit(ctx, creations(0, 1))
	wantDone(t, got)
	task := got[0].Task
	if err := s.Client().SetRange(ctx, s.TaskKey(task.Key), 8, "\x02").Err(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"load":   s.Load(ctx, []scheduler.TaskKey{task.Key})[0].Err,
		"commit": s.Commit(ctx, []scheduler.Change{{Key: task.Key, Before: task}})[0].Err,
		"create": s.Commit(ctx, creations(0, 1))[0].Err,
	} {
		if err == nil || !strings.Contains(fmt.Sprint(err), "version of retryd") {
			t.Errorf("%s: error %v, want one that speaks of another version", name, err)
		}
	}

	// Claims and pages go on with what they know, in this queue and in others.
	ours, other := dueTask("ours", task.Spec.Queue, task.DueMS+1), dueTask("other", "another", 1)
	wantDone(t, s.Commit(ctx, []scheduler.Change{{Key: ours.Key, Task: ours}, {Key: other.Key, Task: other}}))
	page, err := s.Due(ctx, task.Queue(), 0, scheduler.Place{}, 1)
	if err != nil || len(page.Tasks) != 1 || page.Tasks[0].Key.ID != "ours" {
		t.Errorf("due: %+v, error %v, want the one task that can be read", page, err)
	}
	if !strings.Contains(log.String(), "passed over") {
		t.Errorf("the log does not tell of it: %s", log.String())
	}
	claim := func(q scheduler.QueueKey) scheduler.Claim {
		return scheduler.Claim{ID: 1, Replica: "r", Queue: q, Slots: []scheduler.Slot{{Count: 5, LeaseMS: 1000}}, Nonces: []uint64{1, 2, 3, 4, 5}}
	}
	claimed := s.Claim(ctx, []scheduler.Claim{claim(task.Queue()), claim(other.Queue())})
	for i, want := range []string{"ours", "other"} {
		if got := claimed[i]; got.Err != nil || len(got.Tasks) != 1 || got.Tasks[0].Key.ID != want {
			t.Errorf("claimed %+v, want %s", got, want)
		}
	}
	if state, err := s.Client().GetRange(ctx, s.TaskKey(task.Key), 8, 9).Result(); err != nil || state != "\x02\x01" {
		t.Errorf("the record of another version has changed: %q, error %v", state, err)
	}
}

// TestMendsWhatIsWrong shows that a claim leaves no entry behind that would be
// found again and again.
func TestMendsWhatIsWrong(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var log strings.Builder
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 1, Log: textLog(&log)})
	wantDone(t, s.Commit(ctx, creations(0, 2)))
	later := dueTask("later", "q", 1<<41)
	wantDone(t, s.Commit(ctx, []scheduler.Change{{Key: later.Key, Task: later}}))
	due := s.DueKey(0, later.Queue())
	for _, entry := range []redis.Z{{Score: 0, Member: "nobody"}, {Score: 0, Member: "later"}} {
		if err := s.Client().ZAdd(ctx, due, entry).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if page, err := s.Due(ctx, later.Queue(), 0, scheduler.Place{}, 3); err != nil || len(page.Tasks) != 3 {
		t.Errorf("a page behind a wrong entry: %d tasks, error %v", len(page.Tasks), err)
	}
	if got := claimDue(ctx, t, s, 5); len(got) != 2 {
		t.Errorf("%d claimed, want 2", len(got))
	}
	wantSound(ctx, t, s)
	if !strings.Contains(log.String(), "mended") {
		t.Errorf("the log does not tell: %q", log.String())
	}
}
