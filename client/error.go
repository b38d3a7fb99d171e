package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// The reasons for which a server refuses. Compare by errors.Is.
var (
	// ErrInvalidRequest: a field is malformed, missing or contradicts another;
	// [Error.Violations] names each.
	ErrInvalidRequest error = reasonError("INVALID_REQUEST")
	// ErrPayloadTooLarge: the payload is over 128 KiB.
	ErrPayloadTooLarge error = reasonError("PAYLOAD_TOO_LARGE")
	// ErrPolicyNotFound: there is no such policy.
	ErrPolicyNotFound error = reasonError("POLICY_NOT_FOUND")
	// ErrJobNotFound: there is no such job.
	ErrJobNotFound error = reasonError("JOB_NOT_FOUND")
	// ErrTaskNotFound: there is no such task.
	ErrTaskNotFound error = reasonError("TASK_NOT_FOUND")
	// ErrQueueNotFound: there is no such queue.
	ErrQueueNotFound error = reasonError("QUEUE_NOT_FOUND")
	// ErrGroupNotFound: there is no such group.
	ErrGroupNotFound error = reasonError("GROUP_NOT_FOUND")
	// ErrPolicyExists: the id is taken, maybe by a deleted policy.
	ErrPolicyExists error = reasonError("POLICY_EXISTS")
	// ErrJobExists: the id is taken.
	ErrJobExists error = reasonError("JOB_EXISTS")
	// ErrKeyReused: the idempotency key was given before with another content.
	ErrKeyReused error = reasonError("KEY_REUSED")
	// ErrPolicyDeleted: the policy is deleted and takes no new tasks.
	ErrPolicyDeleted error = reasonError("POLICY_DELETED")
	// ErrPolicyInUse: jobs refer to the policy.
	ErrPolicyInUse error = reasonError("POLICY_IN_USE")
	// ErrLeaseLost: the attempt is no longer held under this token. It is also
	// the cause with which the context of a handler is cancelled then.
	ErrLeaseLost error = reasonError("LEASE_LOST")
	// ErrLeaseRequired: a worker holds the task, and the report has no token.
	ErrLeaseRequired error = reasonError("LEASE_REQUIRED")
	// ErrAttemptOutOfOrder: the attempt is ahead of the one in turn.
	ErrAttemptOutOfOrder error = reasonError("ATTEMPT_OUT_OF_ORDER")
	// ErrWrongState: the task takes no such report; the metadata tells its
	// "state".
	ErrWrongState error = reasonError("WRONG_STATE")
	// ErrETagMismatch: the resource was changed meanwhile.
	ErrETagMismatch error = reasonError("ETAG_MISMATCH")
	// ErrUnauthenticated: the call has no credential, or none that is good; see
	// [WithToken].
	ErrUnauthenticated error = reasonError("UNAUTHENTICATED")
	// ErrPermissionDenied: the caller has no role for the call in the namespace.
	ErrPermissionDenied error = reasonError("PERMISSION_DENIED")
	// ErrStoreUnavailable: the server's store is away for now.
	ErrStoreUnavailable error = reasonError("STORE_UNAVAILABLE")
	// ErrDurabilityNotReached: what was written is not yet as safe as asked.
	ErrDurabilityNotReached error = reasonError("DURABILITY_NOT_REACHED")
	// ErrStoreFull: the server's store has no room for more.
	ErrStoreFull error = reasonError("STORE_FULL")
	// ErrQuotaExceeded: the namespace may have no more.
	ErrQuotaExceeded error = reasonError("QUOTA_EXCEEDED")
)

// reasonError is a reason as a value to compare errors with.
type reasonError string

func (e reasonError) Error() string { return "retryd: " + string(e) }

// Error is what a server, or the way to it, answered instead of a result.
type Error struct {
	// Code is the gRPC status code.
	Code codes.Code
	// Reason is the server's own, such as "LEASE_LOST". Empty when the error
	// does not come from a retryd server but from the way to it.
	Reason string
	// Message is for people.
	Message string
	// Metadata holds further facts, such as "state" with WRONG_STATE.
	Metadata map[string]string
	// Violations are all the faults of the request, with INVALID_REQUEST.
	Violations []Violation
	// RetryDelay is how long the server asks to wait before a repeat. Zero means
	// that it did not ask.
	RetryDelay time.Duration

	status *status.Status
	cause  error
}

// Violation is what is wrong with one field of a request.
type Violation struct {
	// Field is its path, such as "task.id".
	Field string
	// Description says what is wrong and what is allowed.
	Description string
}

// Error gives the reason, the message and the first violation.
func (e *Error) Error() string {
	kind := e.Reason
	if kind == "" {
		kind = e.Code.String()
	}
	text := "retryd: " + kind + ": " + e.Message
	if len(e.Violations) > 0 {
		text += ": " + e.Violations[0].Field + ": " + e.Violations[0].Description
	}
	return text
}

// Is tells whether target is the reason of this error, such as [ErrLeaseLost].
func (e *Error) Is(target error) bool {
	reason, ok := target.(reasonError)
	return ok && string(reason) == e.Reason
}

// Unwrap gives context.Canceled with codes.Canceled, and
// context.DeadlineExceeded with codes.DeadlineExceeded.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus lets status.FromError and status.Code read the error.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// ReasonOf is the server's reason for an error, such as "LEASE_LOST": of an
// [*Error] or of any gRPC status from a stub. It is empty when there is none.
func ReasonOf(err error) string {
	if e := asError(err); e != nil {
		return e.Reason
	}
	return ""
}

// asError reads an error that is, or wraps, an answer of a server; nil for any
// other.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return nil
	}
	return errorOf(s.GRPCStatus())
}

// callError is the error of a call, as its caller gets it.
func callError(err error) error {
	if e := asError(err); e != nil {
		return e
	}
	return err
}

func errorOf(s *status.Status) *Error {
	if s.Code() == codes.OK {
		return nil
	}
	e := &Error{Code: s.Code(), Message: s.Message(), status: s}
	switch s.Code() {
	case codes.Canceled:
		e.cause = context.Canceled
	case codes.DeadlineExceeded:
		e.cause = context.DeadlineExceeded
	}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain {
				e.Reason, e.Metadata = d.GetReason(), d.GetMetadata()
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Violations = append(e.Violations, Violation{v.GetField(), v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			e.RetryDelay = max(0, d.GetRetryDelay().AsDuration())
		}
	}
	return e
}

const errorDomain = "retryd"

// itemError is the error of one item where several travel together, as the
// error of a call with that item alone.
func itemError(r *retryv1.ReportError) *Error {
	code := codes.Code(max(0, r.GetCode())) //nolint:gosec // a negative code is caught by max
	if code == codes.OK {
		code = codes.Unknown
	}
	s := status.New(code, r.GetMessage())
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason: r.GetReason(), Domain: errorDomain, Metadata: r.GetMetadata(),
	}}
	if vs := r.GetViolations(); len(vs) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range vs {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: v.GetField(), Description: v.GetDescription(),
			})
		}
		details = append(details, bad)
	}
	if d := r.GetRetryDelay().AsDuration(); d > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
	}
	if with, err := s.WithDetails(details...); err == nil {
		s = with
	}
	return errorOf(s)
}
