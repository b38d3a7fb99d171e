package wire

import (
	"math"
	"strings"
	"unicode/utf8"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
)

const (
	// MaxMessageBytes is how much of a failure's or a success's message is kept.
	MaxMessageBytes = 1024
	// maxRetryAfterBytes is how much of a Retry-After header is kept. Every date
	// and every number that means anything is far shorter; the rest is unreadable
	// and stays so.
	maxRetryAfterBytes = 255
)

// Failure returns a failure in the domain's terms, its message cut to what is
// kept. Values that the domain has no room for become ones that
// [policy.Failure.Validate] refuses.
func Failure(f *retryv1.Failure) policy.Failure {
	out := policy.Failure{
		Code:       f.GetCode(),
		Message:    CutMessage(f.GetMessage()),
		RetryAfter: Duration(f.GetRetryAfter()),
		Permanent:  f.GetPermanent(),
		TimeMS:     MS(f.GetTime()),
	}
	switch c := f.GetCause().(type) {
	case *retryv1.Failure_Http:
		out.Cause = policy.CauseHTTP
		out.HTTPStatus = int(c.Http.GetStatus())
		out.RetryAfterHeader = Cut(c.Http.GetRetryAfter(), maxRetryAfterBytes)
	case *retryv1.Failure_Grpc:
		out.Cause = policy.CauseGRPC
		out.GRPCCode = int(c.Grpc.GetCode())
	case *retryv1.Failure_Timeout:
		out.Cause = policy.CauseTimeout
	case *retryv1.Failure_Connection:
		out.Cause = policy.CauseConnection
		out.ConnectionKind = policy.ConnectionKind(enum(c.Connection.GetKind()))
	case *retryv1.Failure_Outcome:
		out.Cause = policy.CauseOutcome
		out.Outcome = c.Outcome
	}
	return out
}

// failureToProto is the inverse of Failure.
func failureToProto(f *policy.Failure) *retryv1.Failure {
	out := &retryv1.Failure{
		Code:      f.Code,
		Message:   f.Message,
		Permanent: f.Permanent,
		Time:      timeOrNil(f.TimeMS),
	}
	if f.RetryAfter != 0 {
		out.RetryAfter = Milliseconds(f.RetryAfter.Milliseconds())
	}
	switch f.Cause {
	case policy.CauseHTTP:
		out.Cause = &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: int32(f.HTTPStatus), RetryAfter: f.RetryAfterHeader}}
	case policy.CauseGRPC:
		out.Cause = &retryv1.Failure_Grpc{Grpc: &retryv1.GrpcFailure{Code: int32(f.GRPCCode)}}
	case policy.CauseTimeout:
		out.Cause = &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}
	case policy.CauseConnection:
		out.Cause = &retryv1.Failure_Connection{Connection: &retryv1.ConnectionFailure{Kind: retryv1.ConnectionFailure_Kind(f.ConnectionKind)}}
	case policy.CauseOutcome:
		out.Cause = &retryv1.Failure_Outcome{Outcome: f.Outcome}
	default:
	}
	return out
}

// UnreadableFailure says what of a failure the domain has no room for, fields
// named from the failure on.
func UnreadableFailure(f *retryv1.Failure) []policy.Violation {
	var r reader
	if c, ok := f.GetCause().(*retryv1.Failure_Connection); ok {
		r.known("connection.kind", c.Connection.GetKind(), connectionKinds)
	}
	return r.violations
}

// CutMessage returns what is kept of a message: MaxMessageBytes at the most, cut
// between characters.
func CutMessage(s string) string { return Cut(s, MaxMessageBytes) }

// Cut returns the first bytes of s, at the most so many, cut between characters.
// The rest is not kept alive.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strings.Clone(s[:most])
}

// enum returns the number of an enum of the API whose counterpart in the domain
// has the same numbers. One that the domain's byte cannot hold becomes the
// largest, which is none of any.
func enum[E ~int32](e E) uint8 {
	if e < 0 || e > math.MaxUint8 {
		return math.MaxUint8
	}
	return uint8(e)
}
