package system

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/bench/internal/work"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// reporter reports to anything that serves RetryService: the product and the
// floors of gRPC. It uses the generated client, so that what is measured is the
// same on both sides of a comparison.
type reporter struct {
	job   *work.Job
	conn  *grpc.ClientConn
	retry retryv1.RetryServiceClient
}

const queue = "bench"

// Policies, named for when they have the next attempt fall due.
const (
	policySoon   = "soon"
	policySecond = "second"
	policyMinute = "minute"
	policyDay    = "day"
	// policyHop is soon at first and then a second.
	policyHop = "hop"
)

func newReporter(job *work.Job) (*reporter, error) {
	conn, err := dial(job)
	if err != nil {
		return nil, err
	}
	return &reporter{job: job, conn: conn, retry: retryv1.NewRetryServiceClient(conn)}, nil
}

func openReporter(_ context.Context, job *work.Job) (work.Driver, error) { return newReporter(job) }

func (r *reporter) Close() error { return r.conn.Close() }

// Put reports the tasks' first failures: alone by ReportFailure, together by
// BatchReport.
func (r *reporter) Put(ctx context.Context, tasks []work.Task) error {
	if len(tasks) == 1 {
		if _, err := r.retry.ReportFailure(ctx, r.failure(&tasks[0])); err != nil {
			return fmt.Errorf("report failure of %s: %w", tasks[0].ID(), err)
		}
		return nil
	}
	return r.batch(ctx, tasks, func(t *work.Task) *retryv1.Report {
		return &retryv1.Report{Report: &retryv1.Report_Failure{Failure: r.failure(t)}}
	})
}

// Finish reports that the tasks' first attempts succeeded.
func (r *reporter) Finish(ctx context.Context, tasks []work.Task) error {
	return r.batch(ctx, tasks, func(t *work.Task) *retryv1.Report {
		return &retryv1.Report{Report: &retryv1.Report_Success{Success: &retryv1.ReportSuccessRequest{
			Task: &retryv1.TaskSpec{Id: t.ID(), Queue: queue, Policy: policySoon}, IdempotencyKey: t.ID(),
		}}}
	})
}

func (r *reporter) batch(ctx context.Context, tasks []work.Task, report func(t *work.Task) *retryv1.Report) error {
	req := &retryv1.BatchReportRequest{Reports: make([]*retryv1.Report, len(tasks))}
	for i := range tasks {
		req.Reports[i] = report(&tasks[i])
	}
	resp, err := r.retry.BatchReport(ctx, req)
	if err != nil {
		return fmt.Errorf("report %d tasks from %s on: %w", len(tasks), tasks[0].ID(), err)
	}
	if len(resp.GetResults()) != len(tasks) {
		return fmt.Errorf("%d results for %d reports", len(resp.GetResults()), len(tasks))
	}
	for i, res := range resp.GetResults() {
		if e := res.GetError(); e != nil {
			return fmt.Errorf("report %s: %s: %s", tasks[i].ID(), e.GetReason(), e.GetMessage())
		}
	}
	return nil
}

func (r *reporter) failure(t *work.Task) *retryv1.ReportFailureRequest {
	f := &retryv1.Failure{Cause: &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: 503}}, Message: "503 Service Unavailable"}
	policy := policySoon
	switch r.job.Kind {
	case work.Report:
		policy = policyMinute
	case work.Fill:
		policy = policyDay
	case work.Loop:
		policy = policySecond
	case work.HandedLoop:
		policy = policyHop
	case work.Timing:
		f.RetryAfter = durationpb.New(max(0, time.Until(t.Due)))
	case work.Drain, work.Finish:
	}
	return &retryv1.ReportFailureRequest{
		Task: &retryv1.TaskSpec{Id: t.ID(), Queue: queue, Policy: policy, Payload: []byte(t.Payload)},
		// What a program of the product's users sends as well.
		IdempotencyKey: t.ID(), Attempt: 1, Failure: f,
	}
}

// createPolicies makes sure that the server knows the policies.
func (r *reporter) createPolicies(ctx context.Context) error {
	fixed := func(d time.Duration) *retryv1.Policy {
		return &retryv1.Policy{MaxRetries: 3, Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(d)}}}
	}
	hop := &retryv1.Policy{Schedule: &retryv1.Policy_Delays{Delays: &retryv1.DelayList{
		Delays: []*durationpb.Duration{durationpb.New(time.Millisecond), durationpb.New(work.RetryDelay)},
	}}}
	policies := retryv1.NewPolicyServiceClient(r.conn)
	for id, p := range map[string]*retryv1.Policy{
		policySoon: fixed(time.Millisecond), policySecond: fixed(work.RetryDelay), policyMinute: fixed(time.Minute),
		policyDay: fixed(24 * time.Hour), policyHop: hop,
	} {
		p.Id, p.DisplayName, p.DefaultAction = id, id, retryv1.Action_ACTION_RETRY
		if _, err := policies.CreatePolicy(ctx, &retryv1.CreatePolicyRequest{Policy: p}); err != nil && !exists(err) {
			return fmt.Errorf("create policy %s: %w", id, err)
		}
	}
	return nil
}

// Consume is for those who embed a reporter and can do better.
func (*reporter) Consume(context.Context, int, work.Handler, func()) error {
	return errors.New("a floor of gRPC hands nothing out")
}
