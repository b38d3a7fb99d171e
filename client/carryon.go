package client

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

var errNoAnswer = errors.New("retryd: the server left a part of the request unanswered")

// carryOn sees to what a stopping worker has still to say once its stream is no
// more: by calls, since a new stream would take new work.
func (s *shift) carryOn(net context.Context) {
	s.mu.Lock()
	stream := s.current
	s.mu.Unlock()
	if stream != nil {
		<-stream.ended
	}
	l := newLine()
	l.calls = true
	s.mu.Lock()
	s.makeCurrent(l)
	s.mu.Unlock()
	s.lineEnded(l, s.call(net, l))
}

// maxCallOutcomes keeps the reports of one call, with messages of up to 1 KiB
// each, well below the limit of a message.
const maxCallOutcomes = 200

// releasesAtOnce is how many calls hand attempts back at a time.
const releasesAtOnce = 8

// call carries by calls until no job is left or ctx ends.
func (s *shift) call(ctx context.Context, l *line) error {
	for {
		s.mu.Lock()
		left := len(s.jobs)
		s.mu.Unlock()
		if left == 0 {
			return nil
		}
		ld := s.take(l)
		for tokens := range slices.Chunk(ld.extend, maxTokens) {
			s.callExtend(ctx, l, tokens)
		}
		for outcomes := range slices.Chunk(ld.outcomes, maxCallOutcomes) {
			s.callOutcomes(ctx, outcomes)
		}
		if !l.rest(ctx, ld.next) {
			return ctx.Err()
		}
	}
}

func (s *shift) callExtend(ctx context.Context, l *line, tokens []string) {
	resp, err := s.w.c.retry.ExtendLease(ctx, &retryv1.ExtendLeaseRequest{
		Namespace: s.w.c.namespace, LeaseTokens: tokens,
	})
	if err == nil {
		s.extended(l, resp.GetResults())
	}
}

func (s *shift) callOutcomes(ctx context.Context, outcomes []*retryv1.Outcome) {
	var (
		g       errgroup.Group
		tokens  []string
		reports = &retryv1.BatchReportRequest{Namespace: s.w.c.namespace}
	)
	g.SetLimit(releasesAtOnce)
	for _, o := range outcomes {
		token := o.GetLeaseToken()
		switch x := o.GetResult().(type) {
		case *retryv1.Outcome_Success:
			tokens = append(tokens, token)
			reports.Reports = append(reports.Reports, &retryv1.Report{Report: &retryv1.Report_Success{
				Success: &retryv1.ReportSuccessRequest{LeaseToken: token},
			}})
		case *retryv1.Outcome_Failure:
			tokens = append(tokens, token)
			reports.Reports = append(reports.Reports, &retryv1.Report{Report: &retryv1.Report_Failure{
				Failure: &retryv1.ReportFailureRequest{LeaseToken: token, Failure: x.Failure},
			}})
		case *retryv1.Outcome_Release:
			g.Go(func() error {
				s.settled(s.callRelease(ctx, token, x.Release))
				return nil
			})
		}
	}
	if len(tokens) > 0 {
		resp, err := s.w.c.retry.BatchReport(ctx, reports)
		for i, token := range tokens {
			switch results := resp.GetResults(); {
			case err != nil:
				s.settled(refused(token, err))
			case i < len(results):
				s.settled(asOutcomeResult(token, results[i]))
			default:
				s.settled(refused(token, errNoAnswer))
			}
		}
	}
	_ = g.Wait() // none of them fails
}

func (s *shift) callRelease(ctx context.Context, token string, release *retryv1.Release) *retryv1.OutcomeResult {
	resp, err := s.w.c.retry.ReleaseLease(ctx, &retryv1.ReleaseLeaseRequest{
		Namespace: s.w.c.namespace, LeaseToken: token, Delay: release.GetDelay(),
	})
	if err != nil {
		return refused(token, err)
	}
	return &retryv1.OutcomeResult{LeaseToken: token, Result: &retryv1.OutcomeResult_Release{Release: resp}}
}

func asOutcomeResult(token string, r *retryv1.ReportResult) *retryv1.OutcomeResult {
	o := &retryv1.OutcomeResult{LeaseToken: token}
	switch x := r.GetResult().(type) {
	case *retryv1.ReportResult_Failure:
		o.Result = &retryv1.OutcomeResult_Failure{Failure: x.Failure}
	case *retryv1.ReportResult_Success:
		o.Result = &retryv1.OutcomeResult_Success{Success: x.Success}
	case *retryv1.ReportResult_Error:
		o.Result = &retryv1.OutcomeResult_Error{Error: x.Error}
	}
	return o
}

// refused is the result of an outcome whose call failed.
func refused(token string, err error) *retryv1.OutcomeResult {
	r := &retryv1.ReportError{Code: int32(codes.Unknown), Message: err.Error()}
	if e := asError(err); e != nil {
		r.Code, r.Reason, r.Message = int32(e.Code), e.Reason, e.Message //nolint:gosec // 1 to 16
		if e.RetryDelay > 0 {
			r.RetryDelay = durationpb.New(e.RetryDelay)
		}
	}
	return &retryv1.OutcomeResult{LeaseToken: token, Result: &retryv1.OutcomeResult_Error{Error: r}}
}
