package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Report is one report of an attempt, as [Client.ReportBatch] takes many.
type Report struct {
	Task Task
	// Err is how the attempt failed, as for [FailureFrom]. Nil means that it
	// succeeded.
	Err error
	// Attempt, LeaseToken and IdempotencyKey are as told with [WithAttempt],
	// [WithLeaseToken] and [WithIdempotencyKey].
	Attempt        int
	LeaseToken     string
	IdempotencyKey string
}

// ReportResult is the answer to one report: exactly one of its fields is set.
type ReportResult struct {
	// Decision answers a failure.
	Decision *Decision
	// Completion answers a success.
	Completion *Completion
	// Err is why the report was refused; it changed nothing.
	Err error
}

// ReportFailure says that an attempt of a task failed with err, and gives back
// what becomes of the task. The first report creates it. Any error will do, see
// [FailureFrom]; a nil one is refused.
//
// A repeat counts once: by [WithAttempt], which is the best, by
// [WithIdempotencyKey], and within this call by a key of its own.
func (c *Client) ReportFailure(ctx context.Context, task Task, err error, opts ...ReportOption) (*Decision, error) {
	if err == nil {
		return nil, errNoFailure
	}
	r := Report{Task: task, Err: err}
	for _, opt := range opts {
		opt(&r)
	}
	resp, err := c.retry.ReportFailure(ctx, c.failureRequest(&r))
	if err != nil {
		return nil, err
	}
	return reportedFailure(resp), nil
}

// ReportSuccess says that an attempt of a task succeeded, which ends it. Of a
// task that was never reported, ID is enough; reporting such first successes
// too is what gives the health figures of a queue their measure.
func (c *Client) ReportSuccess(ctx context.Context, task Task, opts ...ReportOption) (*Completion, error) {
	r := Report{Task: task}
	for _, opt := range opts {
		opt(&r)
	}
	resp, err := c.retry.ReportSuccess(ctx, c.successRequest(&r))
	if err != nil {
		return nil, err
	}
	return reportedSuccess(resp), nil
}

// ReportBatch makes up to 1,000 reports in one call, of 512 KiB together, and
// answers each in its place. One that is refused spoils no other; those refused
// because the store was away for a moment are made again within the same
// patience as the call itself. An error means that the answers are unknown;
// repeating the call with attempts, tokens or keys given is safe.
func (c *Client) ReportBatch(ctx context.Context, reports []Report) ([]ReportResult, error) {
	wires := make([]*retryv1.Report, len(reports))
	for i := range reports {
		if r := &reports[i]; r.Err == nil {
			wires[i] = &retryv1.Report{Report: &retryv1.Report_Success{Success: c.successRequest(r)}}
		} else {
			wires[i] = &retryv1.Report{Report: &retryv1.Report_Failure{Failure: c.failureRequest(r)}}
		}
	}
	results := make([]ReportResult, len(reports))
	left := make([]int, len(reports))
	for i := range left {
		left[i] = i
	}
	pace := c.conn.pace(ctx)
	for {
		req := &retryv1.BatchReportRequest{Namespace: c.namespace}
		for _, i := range left {
			req.Reports = append(req.Reports, wires[i])
		}
		resp, err := c.retry.BatchReport(ctx, req)
		if err != nil {
			return nil, err
		}
		if got := len(resp.GetResults()); got != len(left) {
			return nil, fmt.Errorf("retryd: %d reports were answered by %d results", len(left), got)
		}
		var again []int
		var delay time.Duration
		for n, r := range resp.GetResults() {
			res := resultOf(r)
			results[left[n]] = res
			if e := asError(res.Err); e != nil && e.RetryDelay > 0 {
				again = append(again, left[n])
				delay = max(delay, e.RetryDelay)
			}
		}
		if len(again) == 0 || !pace.wait(ctx, delay) {
			return results, nil
		}
		left = again
	}
}

func resultOf(r *retryv1.ReportResult) ReportResult {
	switch x := r.GetResult().(type) {
	case *retryv1.ReportResult_Failure:
		return ReportResult{Decision: reportedFailure(x.Failure)}
	case *retryv1.ReportResult_Success:
		return ReportResult{Completion: reportedSuccess(x.Success)}
	default:
		return ReportResult{Err: itemError(r.GetError())}
	}
}

func (c *Client) failureRequest(r *Report) *retryv1.ReportFailureRequest {
	return &retryv1.ReportFailureRequest{
		Namespace:      c.namespace,
		Task:           r.Task.spec(),
		Attempt:        number(r.Attempt),
		LeaseToken:     r.LeaseToken,
		Failure:        FailureFrom(r.Err).proto(),
		IdempotencyKey: r.key(),
	}
}

func (c *Client) successRequest(r *Report) *retryv1.ReportSuccessRequest {
	return &retryv1.ReportSuccessRequest{
		Namespace:      c.namespace,
		Task:           r.Task.spec(),
		Attempt:        number(r.Attempt),
		LeaseToken:     r.LeaseToken,
		IdempotencyKey: r.key(),
	}
}

// key is the report's idempotency key. One is made up for a report that could
// not be repeated without, but not beside a token, which is the fence already,
// and not for a task without id: its id would be made up with it, and a repeat
// by the caller would be another task.
func (r *Report) key() string {
	if r.IdempotencyKey != "" || r.LeaseToken != "" || r.Task.ID == "" {
		return r.IdempotencyKey
	}
	return rand.Text()
}

// number fits an attempt's number into the message; what does not fit is
// refused by the server, as any wrong number.
func number(n int) int32 { return int32(max(math.MinInt32, min(n, math.MaxInt32))) } //nolint:gosec // bounded
