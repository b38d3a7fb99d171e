package server

import (
	"context"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// retryService is the data plane. It embeds the Unsafe type, so that a new RPC
// breaks the build and not the caller.
type retryService struct {
	retryv1.UnsafeRetryServiceServer
	s *Server
}

// ReportFailure takes a failure and answers what becomes of its task.
func (h *retryService) ReportFailure(ctx context.Context, r *retryv1.ReportFailureRequest) (*retryv1.ReportFailureResponse, error) {
	var c checker
	report := c.reportFailure(c.namespace(r.GetNamespace()), r)
	if err := c.err(); err != nil {
		h.s.sched.Refused(ctx, report, err)
		return nil, err
	}
	if err := h.admit(ctx, report); err != nil {
		return nil, err
	}
	report.Trace = h.s.traceOf(ctx)
	answer, err := h.s.sched.Report(ctx, report)
	if err != nil {
		return nil, err
	}
	return wire.FailureAnswer(&answer), nil
}

// ReportSuccess takes a success, which ends its task.
func (h *retryService) ReportSuccess(ctx context.Context, r *retryv1.ReportSuccessRequest) (*retryv1.ReportSuccessResponse, error) {
	var c checker
	report := c.reportSuccess(c.namespace(r.GetNamespace()), r)
	if err := c.err(); err != nil {
		h.s.sched.Refused(ctx, report, err)
		return nil, err
	}
	if err := h.admit(ctx, report); err != nil {
		return nil, err
	}
	answer, err := h.s.sched.Report(ctx, report)
	if err != nil {
		return nil, err
	}
	return wire.SuccessAnswer(&answer), nil
}

// admit refuses a report where its namespace may make no more.
func (h *retryService) admit(ctx context.Context, report scheduler.Report) error {
	_, err := h.s.sched.AdmitReports(report.Namespace, 1)
	if err != nil {
		h.s.sched.Refused(ctx, report, err)
	}
	return err
}

// BatchReport takes many reports and answers each in its place.
func (h *retryService) BatchReport(ctx context.Context, r *retryv1.BatchReportRequest) (*retryv1.BatchReportResponse, error) {
	var c checker
	namespace := c.batch(r)
	if err := c.err(); err != nil {
		return nil, err
	}
	b := newReportBatch(h.s.sched, len(r.GetReports()))
	trace := h.s.traceOf(ctx)
	for _, each := range r.GetReports() {
		var c checker
		report := c.report(namespace, each)
		report.Trace = trace
		b.add(ctx, report, c.err())
	}
	b.admit(ctx, namespace)
	resp := &retryv1.BatchReportResponse{Results: make([]*retryv1.ReportResult, 0, len(r.GetReports()))}
	for _, got := range b.take(ctx) {
		resp.Results = append(resp.Results, h.result(ctx, &got))
	}
	return resp, nil
}

func (h *retryService) result(ctx context.Context, got *scheduler.Reported) *retryv1.ReportResult {
	switch {
	case got.Err != nil:
		return &retryv1.ReportResult{Result: &retryv1.ReportResult_Error{Error: h.s.failures.item(ctx, got.Err)}}
	case got.Answer.Record.Success:
		return &retryv1.ReportResult{Result: &retryv1.ReportResult_Success{Success: wire.SuccessAnswer(&got.Answer)}}
	default:
		return &retryv1.ReportResult{Result: &retryv1.ReportResult_Failure{Failure: wire.FailureAnswer(&got.Answer)}}
	}
}

// reportBatch keeps the reports that were refused at sight out of what the
// scheduler is given, and every answer in its place.
type reportBatch struct {
	sched   *scheduler.Scheduler
	reports []scheduler.Report
	places  []int
	answers []scheduler.Reported
}

func newReportBatch(sched *scheduler.Scheduler, size int) *reportBatch {
	return &reportBatch{
		sched:   sched,
		reports: make([]scheduler.Report, 0, size),
		places:  make([]int, 0, size),
		answers: make([]scheduler.Reported, 0, size),
	}
}

// add puts a report into the next place, or err where it was refused.
func (b *reportBatch) add(ctx context.Context, r scheduler.Report, err error) {
	if err == nil {
		b.reports = append(b.reports, r)
		b.places = append(b.places, len(b.answers))
	} else {
		b.sched.Refused(ctx, r, err)
	}
	b.answers = append(b.answers, scheduler.Reported{Err: err})
}

// admit refuses the last of the reports, where there are more than the namespace may make.
func (b *reportBatch) admit(ctx context.Context, namespace string) {
	n, err := b.sched.AdmitReports(namespace, len(b.reports))
	for i, place := range b.places[n:] {
		b.sched.Refused(ctx, b.reports[n+i], err)
		b.answers[place].Err = err
	}
	b.reports, b.places = b.reports[:n], b.places[:n]
}

// take has the scheduler take the reports and returns all answers in order.
func (b *reportBatch) take(ctx context.Context) []scheduler.Reported {
	if len(b.reports) > 0 {
		for i, got := range b.sched.ReportBatch(ctx, b.reports) {
			b.answers[b.places[i]] = got
		}
	}
	return b.answers
}
