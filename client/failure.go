package client

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Failure says how an attempt went wrong, in terms that the rules of a policy
// can match. It is an error, so that a handler can return it; any other error is
// made into one by [FailureFrom]. Make it by one of the constructors, and set
// further fields as needed.
//
//nolint:errname // it is a failure first, and an error so that it can be returned
type Failure struct {
	// Cause is what the attempt met. It is required.
	Cause Cause
	// Code is the provider's own, such as "30007". Empty means none.
	Code string
	// Message is for people. The server keeps the first 1,024 bytes. A message
	// that is set here goes to the server as it is, so it should hold no secret.
	Message string
	// RetryAfter is how long the destination asked to be left alone, where that
	// is known otherwise than by an HTTP header. Zero means no hint.
	RetryAfter time.Duration
	// Permanent means that the task must not be retried, whatever its policy
	// says.
	Permanent bool
	// Time is when the attempt failed, for the history. Zero means the moment of
	// the report.
	Time time.Time

	err error
}

// Cause is what an attempt met: an [HTTPCause], [GRPCCause], [TimeoutCause],
// [ConnectionCause] or [OutcomeCause].
type Cause interface {
	fmt.Stringer
	put(f *retryv1.Failure)
}

// HTTPCause is an HTTP status that counts as a failure.
type HTTPCause struct {
	// Status is from 100 to 599.
	Status int
	// RetryAfter is the value of the Retry-After header as received.
	RetryAfter string
}

// GRPCCause is a gRPC status other than OK.
type GRPCCause struct {
	Code codes.Code
}

// TimeoutCause means that no answer came in time.
type TimeoutCause struct{}

// ConnectionCause means that the destination could not be talked to.
type ConnectionCause struct {
	Kind ConnectionKind
}

// OutcomeCause is the caller's own name for how the attempt ended, such as
// "busy".
type OutcomeCause string

// ConnectionKind tells at which step a connection failed.
type ConnectionKind string

// The kinds of connection failures.
const (
	ConnectionDNS         ConnectionKind = "DNS"
	ConnectionRefused     ConnectionKind = "REFUSED"
	ConnectionReset       ConnectionKind = "RESET"
	ConnectionTLS         ConnectionKind = "TLS"
	ConnectionUnreachable ConnectionKind = "UNREACHABLE"
	ConnectionOther       ConnectionKind = "OTHER"
)

// HTTPFailure is an answer over HTTP with a status from 100 to 599 that counts
// as a failure. retryAfter is the Retry-After header as received, empty without.
func HTTPFailure(status int, retryAfter string) *Failure {
	return &Failure{Cause: HTTPCause{Status: status, RetryAfter: retryAfter}}
}

// GRPCFailure is a gRPC status other than OK.
func GRPCFailure(code codes.Code) *Failure {
	return &Failure{Cause: GRPCCause{Code: code}}
}

// TimeoutFailure means that no answer came in time.
func TimeoutFailure() *Failure { return &Failure{Cause: TimeoutCause{}} }

// ConnectionFailure means that the destination could not be talked to.
func ConnectionFailure(kind ConnectionKind) *Failure {
	return &Failure{Cause: ConnectionCause{Kind: kind}}
}

// OutcomeFailure is a failure by the caller's own name, such as "busy" or
// "no_answer", which rules can match.
func OutcomeFailure(name string) *Failure {
	return &Failure{Cause: OutcomeCause(name)}
}

// Error gives the cause and the message.
func (f *Failure) Error() string {
	text := "failure"
	if f.Cause != nil {
		text = f.Cause.String()
	}
	if f.Message != "" {
		text += ": " + f.Message
	}
	return text
}

// Unwrap gives the error that the failure was made from, if any.
func (f *Failure) Unwrap() error { return f.err }

func (c HTTPCause) String() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", c.Status, http.StatusText(c.Status)))
}
func (c GRPCCause) String() string       { return "gRPC " + c.Code.String() }
func (TimeoutCause) String() string      { return "timeout" }
func (c ConnectionCause) String() string { return "connection " + strings.ToLower(string(c.Kind)) }
func (c OutcomeCause) String() string    { return string(c) }

func (c HTTPCause) put(f *retryv1.Failure) {
	//nolint:gosec // a status that does not fit is refused by the server as any other
	f.Cause = &retryv1.Failure_Http{Http: &retryv1.HttpFailure{
		Status: int32(c.Status), RetryAfter: valid(c.RetryAfter),
	}}
}

func (c GRPCCause) put(f *retryv1.Failure) {
	//nolint:gosec // a code that does not fit is refused by the server as any other
	f.Cause = &retryv1.Failure_Grpc{Grpc: &retryv1.GrpcFailure{Code: int32(c.Code)}}
}

func (TimeoutCause) put(f *retryv1.Failure) {
	f.Cause = &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}
}

func (c ConnectionCause) put(f *retryv1.Failure) {
	kind, ok := retryv1.ConnectionFailure_Kind_value["KIND_"+string(c.Kind)]
	if !ok {
		kind = int32(retryv1.ConnectionFailure_KIND_OTHER)
	}
	f.Cause = &retryv1.Failure_Connection{Connection: &retryv1.ConnectionFailure{
		Kind: retryv1.ConnectionFailure_Kind(kind),
	}}
}

func (c OutcomeCause) put(f *retryv1.Failure) {
	f.Cause = &retryv1.Failure_Outcome{Outcome: valid(string(c))}
}

// maxMessage is how much of a message the server keeps. More is not sent, so
// that many reports fit into one request.
const maxMessage = 1024

func (f *Failure) proto() *retryv1.Failure {
	p := &retryv1.Failure{
		Code:      valid(f.Code),
		Message:   cut(valid(f.Message), maxMessage),
		Permanent: f.Permanent,
	}
	if f.Cause != nil {
		f.Cause.put(p)
	}
	if f.RetryAfter != 0 {
		p.RetryAfter = durationpb.New(f.RetryAfter)
	}
	if !f.Time.IsZero() {
		p.Time = timestamppb.New(f.Time)
	}
	return p
}

func failureOf(p *retryv1.Failure) *Failure {
	if p == nil {
		return nil
	}
	f := &Failure{
		Code:       p.GetCode(),
		Message:    p.GetMessage(),
		RetryAfter: p.GetRetryAfter().AsDuration(),
		Permanent:  p.GetPermanent(),
		Time:       timeOf(p.GetTime()),
	}
	switch c := p.GetCause().(type) {
	case *retryv1.Failure_Http:
		f.Cause = HTTPCause{Status: int(c.Http.GetStatus()), RetryAfter: c.Http.GetRetryAfter()}
	case *retryv1.Failure_Grpc:
		f.Cause = GRPCCause{Code: codes.Code(c.Grpc.GetCode())} //nolint:gosec // 1 to 16
	case *retryv1.Failure_Timeout:
		f.Cause = TimeoutCause{}
	case *retryv1.Failure_Connection:
		f.Cause = ConnectionCause{Kind: ConnectionKind(enumName(c.Connection.GetKind(), "KIND_"))}
	case *retryv1.Failure_Outcome:
		f.Cause = OutcomeCause(c.Outcome)
	}
	return f
}

// valid makes a string fit for protobuf, which takes only UTF-8: one bad byte in
// a message would spoil the whole report.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// cut keeps at most n bytes, and no half character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

var errNoFailure = errors.New("a report of failure needs an error")
