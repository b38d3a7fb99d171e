package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/teststore"
)

// dead makes dead letters of so many tasks.
func dead(t *testing.T, c *client.Client, n int) {
	t.Helper()
	reports := make([]client.Report, n)
	for i := range reports {
		reports[i] = client.Report{
			Task: client.Task{ID: fmt.Sprintf("x-%05d", i), Queue: "q", Policy: "p", Group: "g"},
			Err:  client.Permanent(errors.New("no such user")),
		}
	}
	for some := range slices.Chunk(reports, 1000) {
		results, err := c.ReportBatch(t.Context(), some)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil || r.Decision.Action != client.ActionDeadLetter {
				t.Fatalf("%+v", r)
			}
		}
	}
}

// TestReplayAllKeepsItsPace replays 5,000 dead letters at 100 a second, and holds
// the run to how far ahead of the time it schedules.
func TestReplayAllKeepsItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.client(t)
		policy(t, c, time.Hour, 3)
		const n, rate = 5000, 100
		dead(t, c, n)
		req := &retryv1.ReplayTasksRequest{Queue: "q", Rate: rate, ValidateOnly: true}
		began := time.Now()
		counted, err := c.ReplayAll(t.Context(), req, nil)
		if took := time.Since(began); err != nil || counted != (client.Progress{Moved: n}) || took > time.Second {
			t.Fatalf("counted %+v in %s, %v", counted, took, err)
		}
		req.ValidateOnly = false
		began = time.Now()
		calls := int64(0)
		got, err := c.ReplayAll(t.Context(), req, func(p client.Progress) {
			calls++
			if p.Moved != calls*1000 || p.Remaining != n-p.Moved {
				t.Errorf("call %d: %+v", calls, p)
			}
			// The last of the call's own thousand is scheduled 10 s after its first.
			ahead := time.Until(began.Add(time.Duration(p.Moved) * time.Second / rate))
			if ahead > client.MaxAhead+11*time.Second || ahead < client.MaxAhead-time.Second {
				t.Errorf("call %d schedules %s ahead", calls, ahead)
			}
		})
		if err != nil || got != (client.Progress{Moved: n}) || calls != 5 || req.GetPageToken() != "" {
			t.Errorf("replayed %+v by %d calls, %v", got, calls, err)
		}
		if took := time.Since(began); took < n/rate*time.Second-21*time.Second || took > n/rate*time.Second {
			t.Errorf("it took %s", took)
		}
		again, err := c.ReplayAll(t.Context(), req, nil)
		if err != nil || again != (client.Progress{}) {
			t.Errorf("once more: %+v, %v", again, err)
		}
	})
}

// TestReplayAllIsCutShort ends a run in its middle; another finds what is left.
func TestReplayAllIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.client(t)
		policy(t, c, time.Hour, 3)
		dead(t, c, 3000)
		ctx, cancel := context.WithCancel(t.Context())
		got, err := c.ReplayAll(ctx, &retryv1.ReplayTasksRequest{Rate: 10}, func(client.Progress) { cancel() })
		if !errors.Is(err, context.Canceled) || got != (client.Progress{Moved: 1000, Remaining: 2000}) {
			t.Errorf("cut short: %+v, %v", got, err)
		}
		if got, err = c.ReplayAll(t.Context(), &retryv1.ReplayTasksRequest{}, nil); err != nil || got != (client.Progress{Moved: 2000}) {
			t.Errorf("the rest: %+v, %v", got, err)
		}
		_, err = c.ReplayAll(t.Context(), &retryv1.ReplayTasksRequest{Rate: -1}, nil)
		if e := new(client.Error); !errors.As(err, &e) || e.Code != codes.InvalidArgument || e.Violations[0].Field != "rate" {
			t.Errorf("at a bad rate: %v", err)
		}
	})
}

// TestReplayAllFinishesItsCall ends a run while a call is under way: what it moves
// is counted.
func TestReplayAllFinishesItsCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.client(t)
		policy(t, c, time.Hour, 3)
		dead(t, c, 3000)
		ctx, cancel := context.WithCancel(t.Context())
		leaving := s.client(t, client.WithDialOptions(grpc.WithUnaryInterceptor(func(
			ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
		) error {
			cancel()
			return invoke(ctx, method, req, reply, cc, opts...)
		})))
		got, err := leaving.ReplayAll(ctx, &retryv1.ReplayTasksRequest{}, nil)
		if !errors.Is(err, context.Canceled) || got != (client.Progress{Moved: 1000, Remaining: 2000}) {
			t.Errorf("cut short: %+v, %v", got, err)
		}

		stuck := s.client(t, client.WithDialOptions(grpc.WithUnaryInterceptor(func(
			ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ grpc.UnaryInvoker, _ ...grpc.CallOption,
		) error {
			<-ctx.Done()
			return ctx.Err()
		})))
		began := time.Now()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, err = stuck.ReplayAll(ctx, &retryv1.ReplayTasksRequest{}, nil)
		if took := time.Since(began); !errors.Is(err, context.Canceled) || got != (client.Progress{}) || took != 6*time.Second {
			t.Errorf("of a server that hangs: %+v after %s, %v", got, took, err)
		}
	})
}

func TestDiscardAllAndReleaseAll(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.client(t)
	_, err := c.Policies().CreatePolicy(t.Context(), &retryv1.CreatePolicyRequest{Policy: &retryv1.Policy{
		Id: "p", DisplayName: "P", DefaultAction: retryv1.Action_ACTION_DEAD_LETTER,
		Rules: []*retryv1.Rule{{Match: &retryv1.Match{Statuses: []string{"402"}}, Action: retryv1.Action_ACTION_HOLD, HoldCondition: "balance"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	dead(t, c, 1200)
	for i := range 3 {
		task := client.Task{ID: fmt.Sprint("held-", i), Queue: "q", Policy: "p"}
		if _, err := c.ReportFailure(t.Context(), task, client.HTTPFailure(402, "")); err != nil {
			t.Fatal(err)
		}
	}
	calls := 0
	got, err := c.DiscardAll(t.Context(), &retryv1.DiscardTasksRequest{State: retryv1.Task_STATE_DEAD}, func(client.Progress) { calls++ })
	if err != nil || got != (client.Progress{Moved: 1200}) || calls != 2 {
		t.Errorf("discarded: %+v by %d calls, %v", got, calls, err)
	}
	if got, err := c.ReleaseAll(t.Context(), &retryv1.ReleaseHeldRequest{Condition: "balance"}, nil); err != nil || got != (client.Progress{Moved: 3}) {
		t.Errorf("released: %+v, %v", got, err)
	}
}

func TestAllPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.client(t, client.WithNamespace("mine"))
	policy(t, c, time.Hour, 3)
	dead(t, c, 7)
	for i := range 3 {
		job := &retryv1.Job{Id: fmt.Sprint("j-", i), DisplayName: "J", Policy: "p"}
		if _, err := c.Jobs().CreateJob(t.Context(), &retryv1.CreateJobRequest{Job: job}); err != nil {
			t.Fatal(err)
		}
		task := client.Task{ID: job.GetId(), Queue: job.GetId(), Job: job.GetId(), Environment: "prod"}
		if _, err := c.ReportFailure(t.Context(), task, client.OutcomeFailure("late")); err != nil {
			t.Fatal(err)
		}
	}
	count := func(what string, want int, each func(yield func(error) bool)) {
		t.Helper()
		n := 0
		for err := range each {
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			n++
		}
		if n != want {
			t.Errorf("%s: %d, want %d", what, n, want)
		}
	}
	req := &retryv1.ListTasksRequest{State: retryv1.Task_STATE_DEAD, PageSize: 3}
	count("tasks", 7, errs(c.AllTasks(t.Context(), req)))
	count("groups", 1, errs(c.AllDeadLetterGroups(t.Context(), &retryv1.ListDeadLetterGroupsRequest{})))
	count("queues", 4, errs(c.AllQueues(t.Context(), &retryv1.ListQueuesRequest{PageSize: 3})))
	count("jobs", 3, errs(c.AllJobs(t.Context(), &retryv1.ListJobsRequest{PageSize: 2})))
	count("policies", 1, errs(c.AllPolicies(t.Context(), &retryv1.ListPoliciesRequest{PageSize: 1})))
	if req.GetPageToken() != "" || req.GetNamespace() != "" {
		t.Errorf("the caller's request is changed: %v", req)
	}
	var first string
	for task, err := range c.AllTasks(t.Context(), req) {
		if err != nil {
			t.Fatal(err)
		}
		first = task.GetTaskId()
		break
	}
	if !strings.HasPrefix(first, "x-") {
		t.Errorf("stopped at %q", first)
	}
	for task, err := range c.AllTasks(t.Context(), &retryv1.ListTasksRequest{PageSize: -1}) {
		if task != nil || !errors.Is(err, client.ErrInvalidRequest) {
			t.Errorf("a bad request: %v, %v", task, err)
		}
	}
	if q, err := c.Queues().GetQueue(t.Context(), &retryv1.GetQueueRequest{Queue: "q"}); err != nil || q.GetQueue().GetDead() != 7 {
		t.Errorf("the queue: %v, %v", q, err)
	}
	if g, err := c.Groups().GetGroup(t.Context(), &retryv1.GetGroupRequest{Group: "g"}); err != nil || g.GetGroup().GetFailed() != 7 {
		t.Errorf("the group: %v, %v", g, err)
	}
	if _, err := c.Groups().GetGroup(t.Context(), &retryv1.GetGroupRequest{Group: "none"}); !errors.Is(err, client.ErrGroupNotFound) {
		t.Errorf("no group: %v", err)
	}
	kind := "memory"
	if teststore.OnRedis() {
		kind = "redis"
	}
	if info, err := c.ServerInfo(t.Context()); err != nil || info.GetStore().GetKind() != kind {
		t.Errorf("the server: %v, %v", info, err)
	}
}

// errs leaves of a sequence its errors.
func errs[T any](seq func(yield func(T, error) bool)) func(yield func(error) bool) {
	return func(yield func(error) bool) {
		seq(func(_ T, err error) bool { return yield(err) })
	}
}
