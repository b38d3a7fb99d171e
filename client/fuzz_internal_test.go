package client

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// FuzzError reads whatever a server, or what stands in its place, may answer
// instead of a result.
func FuzzError(f *testing.F) {
	info, err := anypb.New(&errdetails.ErrorInfo{Reason: "LEASE_LOST", Domain: errorDomain, Metadata: map[string]string{"state": "x"}})
	if err != nil {
		f.Fatal(err)
	}
	delay, err := anypb.New(&errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Seconds: -1 << 62, Nanos: 1}})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []*spb.Status{
		{},
		{Code: int32(codes.FailedPrecondition), Message: "m", Details: []*anypb.Any{info, delay, {TypeUrl: "nonsense", Value: []byte("\xff")}}},
		{Code: -7},
	} {
		data, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := new(spb.Status)
		if proto.Unmarshal(data, s) != nil {
			return
		}
		e := errorOf(status.FromProto(s))
		if e == nil {
			return
		}
		if e.Error() == "" || e.RetryDelay < 0 || ReasonOf(e) != e.Reason || status.Code(e) != e.Code {
			t.Errorf("%+v", e)
		}
		if errors.Is(e, context.Canceled) != (e.Code == codes.Canceled) || errors.Is(e, ErrLeaseLost) != (e.Reason == "LEASE_LOST") {
			t.Errorf("%+v is not what it says", e)
		}
	})
}

// FuzzResults reads whatever else a server may answer.
func FuzzResults(f *testing.F) {
	for _, r := range []*retryv1.ReportResult{
		{},
		{Result: &retryv1.ReportResult_Failure{Failure: &retryv1.ReportFailureResponse{}}},
		{Result: &retryv1.ReportResult_Success{Success: &retryv1.ReportSuccessResponse{}}},
		{Result: &retryv1.ReportResult_Error{Error: &retryv1.ReportError{Code: -1, RetryDelay: &durationpb.Duration{Seconds: -1}, Violations: []*retryv1.FieldViolation{{}}}}},
	} {
		data, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if r := new(retryv1.ReportResult); proto.Unmarshal(data, r) == nil {
			got := resultOf(r)
			if got.Err == nil && got.Decision == nil && got.Completion == nil {
				t.Errorf("%v became nothing", r)
			}
		}
		if a := new(retryv1.Attempt); proto.Unmarshal(data, a) == nil {
			if got := attemptOf(a); got == nil || got.LeaseToken != a.GetLeaseToken() {
				t.Errorf("%v became %+v", a, got)
			}
		}
	})
}
