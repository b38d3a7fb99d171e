package client_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// fake is a server whose every answer is the test's.
type fake struct {
	retryv1.UnimplementedRetryServiceServer
	wire
	failure func(*retryv1.ReportFailureRequest) (*retryv1.ReportFailureResponse, error)
	success func(*retryv1.ReportSuccessRequest) (*retryv1.ReportSuccessResponse, error)
	batch   func(*retryv1.BatchReportRequest) (*retryv1.BatchReportResponse, error)
	next    func(*retryv1.NextAttemptRequest) (*retryv1.NextAttemptResponse, error)
	release func(*retryv1.ReleaseLeaseRequest) (*retryv1.ReleaseLeaseResponse, error)
	// streams get one after the other; those after the last stay open and say
	// nothing.
	streams []func(*fakeStream) error
	mu      sync.Mutex
	opened  int
}

type fakeStream struct {
	retryv1.RetryService_SubscribeServer
	open *retryv1.Open
}

func (f *fake) serve(t *testing.T) *fake {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(grpc.WaitForHandlers(true))
	retryv1.RegisterRetryServiceServer(srv, f)
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(lis) })
	t.Cleanup(func() {
		srv.Stop()
		running.Wait()
	})
	f.plug(lis)
	return f
}

// ReportFailure answers as the test says.
func (f *fake) ReportFailure(_ context.Context, r *retryv1.ReportFailureRequest) (*retryv1.ReportFailureResponse, error) {
	return f.failure(r)
}

// ReportSuccess answers as the test says.
func (f *fake) ReportSuccess(_ context.Context, r *retryv1.ReportSuccessRequest) (*retryv1.ReportSuccessResponse, error) {
	return f.success(r)
}

// BatchReport answers as the test says.
func (f *fake) BatchReport(_ context.Context, r *retryv1.BatchReportRequest) (*retryv1.BatchReportResponse, error) {
	return f.batch(r)
}

// NextAttempt answers as the test says.
func (f *fake) NextAttempt(_ context.Context, r *retryv1.NextAttemptRequest) (*retryv1.NextAttemptResponse, error) {
	return f.next(r)
}

// ReleaseLease answers as the test says.
func (f *fake) ReleaseLease(_ context.Context, r *retryv1.ReleaseLeaseRequest) (*retryv1.ReleaseLeaseResponse, error) {
	return f.release(r)
}

// Subscribe reads Open and goes on as the test says.
func (f *fake) Subscribe(stream retryv1.RetryService_SubscribeServer) error {
	f.mu.Lock()
	n := f.opened
	f.opened++
	f.mu.Unlock()
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	st := &fakeStream{RetryService_SubscribeServer: stream, open: m.GetOpen()}
	if n < len(f.streams) {
		return f.streams[n](st)
	}
	return st.mute()
}

// mute reads until the client leaves, and answers fences as a server would.
func (st *fakeStream) mute() error {
	for {
		m, err := st.Recv()
		if err != nil {
			return err
		}
		if e := m.GetExtend(); e != nil {
			st.lost(e)
		}
	}
}

func (st *fakeStream) attempt(id, token string) {
	_ = st.Send(&retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_Attempt{Attempt: &retryv1.Attempt{
		TaskId: id, Queue: "q", Attempt: 2, Delivery: 1, Generation: 1, LeaseToken: token,
		LeaseExpireTime: timestamppb.New(time.Now().Add(30 * time.Second)),
	}}})
}

func (st *fakeStream) drain() {
	_ = st.Send(&retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_Drain{Drain: &retryv1.Drain{}}})
}

// outcome reads on to the next outcome.
func (st *fakeStream) outcome() (*retryv1.Outcome, error) {
	for {
		m, err := st.Recv()
		if err != nil {
			return nil, err
		}
		if m.GetOutcome() != nil {
			return m.GetOutcome(), nil
		}
	}
}

// confirm answers an outcome as taken.
func (st *fakeStream) confirm(o *retryv1.Outcome) {
	r := &retryv1.OutcomeResult{LeaseToken: o.GetLeaseToken()}
	switch o.GetResult().(type) {
	case *retryv1.Outcome_Success:
		r.Result = &retryv1.OutcomeResult_Success{Success: &retryv1.ReportSuccessResponse{Attempts: 2}}
	case *retryv1.Outcome_Failure:
		r.Result = &retryv1.OutcomeResult_Failure{Failure: &retryv1.ReportFailureResponse{
			Decision: &retryv1.Decision{Action: retryv1.Action_ACTION_DEAD_LETTER},
		}}
	case *retryv1.Outcome_Release:
		r.Result = &retryv1.OutcomeResult_Release{Release: &retryv1.ReleaseLeaseResponse{}}
	}
	st.result(r)
}

func (st *fakeStream) refuse(o *retryv1.Outcome, e *retryv1.ReportError) {
	st.result(&retryv1.OutcomeResult{
		LeaseToken: o.GetLeaseToken(), Result: &retryv1.OutcomeResult_Error{Error: e},
	})
}

func (st *fakeStream) result(r *retryv1.OutcomeResult) {
	_ = st.Send(&retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_OutcomeResult{OutcomeResult: r}})
}

// lost answers an extension: all leases are lost.
func (st *fakeStream) lost(e *retryv1.Extend) {
	r := &retryv1.ExtendResult{}
	for _, token := range e.GetLeaseTokens() {
		r.Results = append(r.Results, &retryv1.LeaseResult{
			LeaseToken: token, Result: &retryv1.LeaseResult_Error{Error: leaseLost()},
		})
	}
	_ = st.Send(&retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_ExtendResult{ExtendResult: r}})
}

func leaseLost() *retryv1.ReportError {
	return &retryv1.ReportError{Code: int32(codes.FailedPrecondition), Reason: "LEASE_LOST", Message: "lost"}
}

func storeAway(delay time.Duration) *retryv1.ReportError {
	return &retryv1.ReportError{
		Code: int32(codes.Unavailable), Reason: "STORE_UNAVAILABLE", Message: "away",
		RetryDelay: durationpb.New(delay),
	}
}

// refusal is an error as a server gives it.
func refusal(code codes.Code, reason string, delay time.Duration) error {
	s := status.New(code, "refused")
	s, err := s.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "retryd"})
	if err == nil && delay > 0 {
		s, err = s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
	}
	if err != nil {
		return err
	}
	return s.Err()
}
