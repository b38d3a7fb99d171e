package server_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/conformance"
	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/internal/teststore"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/server"
)

// TestConformanceOnRedis takes tasks through every case on a service over Redis,
// whose clock the test moves on to the moment when each attempt is due. Where
// there is jitter, it takes ten.
func TestConformanceOnRedis(t *testing.T) {
	t.Parallel()
	if !teststore.OnRedis() {
		t.Skip("it runs with the tests that are on Redis")
	}
	redis := redistest.Start(t)
	for i, file := range loadConformance(t) {
		for j, c := range file.Cases {
			t.Run(file.Name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				p, _ := file.Policy(c.Policy)
				playOnRedis(t, redisstore.Config{URL: redis.URL(), Prefix: fmt.Sprintf("case-%d-%d", i, j), Shards: 2}, p, c)
			})
		}
	}
}

func playOnRedis(t *testing.T, cfg redisstore.Config, p conformance.Policy, c conformance.Case) {
	t.Helper()
	var clock atomic.Int64
	clock.Store(c.Start.UnixMilli())
	cfg.NowMS = clock.Load
	store, err := redisstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	if err := store.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := setupOn(t, server.Config{Log: slog.New(slog.DiscardHandler)}, store)
	if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: decode[retryv1.Policy](t, p.JSON)}); err != nil {
		t.Fatal(err)
	}
	tasks := 1
	if p.Jitter.Kind != policy.JitterNone {
		tasks = 10
	}
	// due holds the next attempt of each task that is under way.
	due := make(map[string]*retryv1.Decision)
	fail := func(id string, i int, token string) {
		step := c.Steps[i]
		if !step.At.IsZero() {
			t.Fatal("this test knows no times but those when attempts are due")
		}
		spec := &retryv1.TaskSpec{Id: id, Queue: "cases", Policy: c.Policy}
		if !c.Deadline.IsZero() {
			spec.Deadline = timestamppb.New(c.Deadline)
		}
		resp, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
			Task: spec, LeaseToken: token, Attempt: int32(i + 1), Failure: decode[retryv1.Failure](t, step.Failure.JSON),
		})
		if err != nil {
			t.Fatalf("%s, step %d: %v", id, i+1, err)
		}
		d := resp.GetDecision()
		holdTo(t, i, d, allowing(late(t, d, clock.Load()), step.Expect))
		delete(due, id)
		if i+1 < len(c.Steps) && d.GetAction() == retryv1.Action_ACTION_RETRY {
			due[id] = d
		}
	}
	for i := range tasks {
		fail(fmt.Sprintf("task-%d", i), 0, "")
	}
	take := func(wait time.Duration) *retryv1.Attempt {
		resp, err := s.retry.NextAttempt(s.ctx(), &retryv1.NextAttemptRequest{
			Target: &retryv1.NextAttemptRequest_Queue{Queue: "cases"}, LeaseDuration: durationpb.New(time.Minute), Wait: durationpb.New(wait),
		})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetLeased()
	}
	for len(due) > 0 {
		nextMS := int64(1<<63 - 1)
		for _, d := range due {
			nextMS = min(nextMS, d.GetNextAttemptTime().AsTime().UnixMilli())
		}
		if nextMS > clock.Load() {
			clock.Store(nextMS - 1)
			if a := take(0); a != nil && due[a.GetTaskId()] != nil {
				t.Fatalf("a millisecond early came %v, after %v", a, due[a.GetTaskId()])
			}
			clock.Store(nextMS)
		}
		// The scheduler may just be claiming for the call before, and then gives back
		// what it got.
		a := take(10 * time.Second)
		d := due[a.GetTaskId()]
		switch {
		case a == nil:
			t.Fatalf("at %d nothing came, though due is %v", nextMS, due)
		case d == nil:
			// The case has ended, and the task goes on.
		case a.GetAttempt() != d.GetNextAttempt() || !a.GetDueTime().AsTime().Equal(d.GetNextAttemptTime().AsTime()):
			t.Fatalf("came %v, after %v", a, d)
		default:
			fail(a.GetTaskId(), int(a.GetAttempt())-1, a.GetLeaseToken())
		}
	}
}

// late is how long after the store's clock a decision was made: the clock stands
// still meanwhile, and the scheduler's own goes on.
func late(t *testing.T, d *retryv1.Decision, clockMS int64) time.Duration {
	t.Helper()
	if d.GetAction() != retryv1.Action_ACTION_RETRY {
		return 0
	}
	failed := d.GetNextAttemptTime().AsTime().Add(-d.GetDelay().AsDuration())
	late := time.Duration(failed.UnixMilli()-clockMS) * time.Millisecond
	if late < 0 || late > scheduler.MaxAheadMS*time.Millisecond {
		t.Errorf("the store's clock shows %d, and the failure was taken at %s", clockMS, failed)
	}
	return late
}

// allowing is what is expected of a failure that comes a little late: what the
// case tells in times may then take less, and what it tells in delays come later.
func allowing(late time.Duration, e conformance.Expect) conformance.Expect {
	if e.DelayMin != nil {
		e.DelayMin = new(*e.DelayMin - late)
	}
	if e.TimeMax != nil {
		e.TimeMax = new(e.TimeMax.Add(late))
	}
	return e
}
