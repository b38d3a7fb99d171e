package cli_test

import (
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestErrorsHaveExitCodesAndSayWhatToDo(t *testing.T) {
	inBubble(t, func(r *rig) {
		for _, c := range []struct {
			code    codes.Code
			reason  string
			details []protoadapt.MessageV1
			exit    int
			says    string
		}{
			{codes.InvalidArgument, "INVALID_REQUEST", []protoadapt.MessageV1{&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
				{Field: "id", Description: "is \x1b[2Jempty"}, {Description: "and 3 more violations"},
			}}}, 2, "no luck (INVALID_REQUEST)\n  id: is \uFFFD[2Jempty\n  and 3 more violations\n"},
			{codes.NotFound, "TASK_NOT_FOUND", nil, 3, "it is in another namespace (-n), or has ended"},
			{codes.Unauthenticated, "UNAUTHENTICATED", nil, 4, "give a valid token (--token-file, --token) or client certificate"},
			{codes.PermissionDenied, "PERMISSION_DENIED", nil, 4, "use an identity that has the role"},
			{codes.Unavailable, "STORE_UNAVAILABLE", []protoadapt.MessageV1{&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)}}, 5, "try again in 1s"},
			{codes.ResourceExhausted, "QUOTA_EXCEEDED", []protoadapt.MessageV1{&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{
				{Subject: "namespace:shop", Description: "1000 tasks may be pending"},
			}}}, 5, "no luck (QUOTA_EXCEEDED)\n  namespace:shop: 1000 tasks may be pending\n"},
			{codes.ResourceExhausted, "QUOTA_EXCEEDED", []protoadapt.MessageV1{&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{
				{Subject: "namespace:shop", Description: "no luck"},
			}}, &errdetails.RetryInfo{RetryDelay: durationpb.New(2 * time.Second)}}, 5, "retryd: no luck (QUOTA_EXCEEDED)\n  try again in 2s\n"},
			{codes.DeadlineExceeded, "", nil, 5, "give it longer (--timeout)"},
			{codes.Aborted, "ETAG_MISMATCH", nil, 6, "somebody has changed it meanwhile"},
			{codes.FailedPrecondition, "POLICY_IN_USE", nil, 6, "let these jobs name another policy first: a,b"},
			{codes.Unimplemented, "", nil, 2, "no luck (Unimplemented)"},
			{codes.Internal, "INTERNAL", nil, 1, "no luck (INTERNAL)"},
		} {
			s := status.New(c.code, "no luck")
			details := c.details
			if c.reason != "" {
				details = append(details, &errdetails.ErrorInfo{Reason: c.reason, Domain: "retryd", Metadata: map[string]string{"jobs": "a,b"}})
			}
			s, err := s.WithDetails(details...)
			if err != nil {
				r.t.Fatal(err)
			}
			r.onCall = func(string) error { return s.Err() }
			r.run("policy", "get", "x").wants(c.exit).says("retryd: no luck", c.says)
		}
	})
}
