package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/logbound"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/access"
	"github.com/retryd/retryd/server/wire"
)

// maxViolations is how many violations an answer names.
const maxViolations = 100

// domain is that of every ErrorInfo.
const domain = "retryd"

// outcome is what the API makes of an error: the row of the table.
type outcome struct {
	code   codes.Code
	reason string
	// retryDelay is how long to wait before the same is tried again, where the
	// error does not say it; 0 means that trying again cannot help.
	retryDelay time.Duration
	// message stands in for the error's own, which may come from a store and does
	// not concern callers.
	message string
}

// outcomeOf is the one error table. ok is false for what is not in it.
func outcomeOf(kind scheduler.Kind) (o outcome, ok bool) {
	switch kind {
	case scheduler.KindInvalid:
		return outcome{code: codes.InvalidArgument, reason: "INVALID_REQUEST"}, true
	case scheduler.KindPayloadTooLarge:
		return outcome{code: codes.InvalidArgument, reason: "PAYLOAD_TOO_LARGE"}, true
	case scheduler.KindPolicyNotFound:
		return outcome{code: codes.NotFound, reason: "POLICY_NOT_FOUND"}, true
	case scheduler.KindJobNotFound:
		return outcome{code: codes.NotFound, reason: "JOB_NOT_FOUND"}, true
	case scheduler.KindTaskNotFound:
		return outcome{code: codes.NotFound, reason: "TASK_NOT_FOUND"}, true
	case scheduler.KindQueueNotFound:
		return outcome{code: codes.NotFound, reason: "QUEUE_NOT_FOUND"}, true
	case scheduler.KindGroupNotFound:
		return outcome{code: codes.NotFound, reason: "GROUP_NOT_FOUND"}, true
	case scheduler.KindPolicyExists:
		return outcome{code: codes.AlreadyExists, reason: "POLICY_EXISTS"}, true
	case scheduler.KindJobExists:
		return outcome{code: codes.AlreadyExists, reason: "JOB_EXISTS"}, true
	case scheduler.KindKeyReused:
		return outcome{code: codes.AlreadyExists, reason: "KEY_REUSED"}, true
	case scheduler.KindPolicyDeleted:
		return outcome{code: codes.FailedPrecondition, reason: "POLICY_DELETED"}, true
	case scheduler.KindPolicyInUse:
		return outcome{code: codes.FailedPrecondition, reason: "POLICY_IN_USE"}, true
	case scheduler.KindLeaseLost:
		return outcome{code: codes.FailedPrecondition, reason: "LEASE_LOST"}, true
	case scheduler.KindLeaseRequired:
		return outcome{code: codes.FailedPrecondition, reason: "LEASE_REQUIRED"}, true
	case scheduler.KindOutOfOrder:
		return outcome{code: codes.FailedPrecondition, reason: "ATTEMPT_OUT_OF_ORDER"}, true
	case scheduler.KindWrongState:
		return outcome{code: codes.FailedPrecondition, reason: "WRONG_STATE"}, true
	case scheduler.KindEtagMismatch:
		return outcome{code: codes.Aborted, reason: "ETAG_MISMATCH"}, true
	case scheduler.KindUnavailable:
		return outcome{
			code: codes.Unavailable, reason: "STORE_UNAVAILABLE", retryDelay: time.Second,
			message: "the store cannot be reached at the moment; try again",
		}, true
	case scheduler.KindUnconfirmed:
		return outcome{
			code: codes.Unavailable, reason: "DURABILITY_NOT_REACHED", retryDelay: time.Second,
			message: "it is written, but not yet as durable as the server was told to keep it; try again with the same request",
		}, true
	case scheduler.KindFull:
		return outcome{
			code: codes.ResourceExhausted, reason: "STORE_FULL", retryDelay: 10 * time.Second,
			message: "the store has no room for more",
		}, true
	case scheduler.KindQuota:
		return outcome{code: codes.ResourceExhausted, reason: quotaExceeded, retryDelay: time.Second}, true
	default:
		return outcome{}, false
	}
}

// Reason is what the API calls the reason of an error, by the one error table.
func Reason(err error) string {
	if e, ok := errors.AsType[*scheduler.Error](err); ok {
		if o, ok := outcomeOf(e.Kind); ok {
			return o.reason
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "DEADLINE_EXCEEDED"
	case errors.Is(err, context.Canceled):
		return "CANCELLED"
	}
	if reason := reasonOf(err); reason != "" {
		return reason
	}
	return "INTERNAL"
}

// refusal is an error as the API tells it, whether as a call's status or as one
// item's ReportError.
type refusal struct {
	outcome
	metadata   map[string]string
	violations []policy.Violation
}

// failures turns errors into refusals. What it does not know is a bug: it is
// logged with its cause under an id, and its caller is told the id alone.
type failures struct {
	log      *slog.Logger
	internal atomic.Int64
	// quotas bound the lines of what is refused for lack of each.
	quotas [scheduler.NumQuotas]*logbound.Bound
}

func newFailures(log *slog.Logger) *failures {
	f := &failures{log: log}
	for kind := range f.quotas {
		f.quotas[kind] = logbound.New()
	}
	return f
}

func (f *failures) refusal(ctx context.Context, err error) refusal {
	if e, ok := errors.AsType[*scheduler.Error](err); ok {
		if o, ok := outcomeOf(e.Kind); ok {
			if o.message == "" {
				o.message = e.Message
			} else {
				f.log.DebugContext(ctx, "the store has refused", "reason", o.reason, "error", err)
			}
			if e.Kind == scheduler.KindQuota {
				f.overQuota(ctx, e)
			}
			if e.RetryDelay > 0 && o.retryDelay > 0 {
				o.retryDelay = e.RetryDelay
			}
			o.message = wire.CutMessage(o.message)
			return refusal{outcome: o, metadata: e.Metadata, violations: bounded(e.Violations)}
		}
	}
	if d, ok := errors.AsType[*access.DeniedError](err); ok {
		return denied(d)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return refusal{outcome: outcome{code: codes.DeadlineExceeded, reason: "DEADLINE_EXCEEDED", message: "the call's deadline passed before there was an answer"}}
	case errors.Is(err, context.Canceled):
		return refusal{outcome: outcome{code: codes.Canceled, reason: "CANCELLED", message: "the call was cancelled before there was an answer"}}
	}
	return f.bug(ctx, "error", err)
}

// overQuota logs what is refused for lack of quota. It is the one line of it: a caller that
// goes on without regard for its quota must not fill the disk.
func (f *failures) overQuota(ctx context.Context, e *scheduler.Error) {
	lines := f.quotas[e.Quota]
	if !lines.Allow() {
		return
	}
	attrs := make([]slog.Attr, 0, 7)
	for _, key := range []string{"namespace", "quota", "limit", "use"} {
		attrs = append(attrs, slog.String(key, e.Metadata[key]))
	}
	if method, ok := grpc.Method(ctx); ok {
		attrs = append(attrs, slog.String("method", method))
	}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		attrs = append(attrs, slog.String("peer", p.Addr.String()))
	}
	f.log.LogAttrs(ctx, slog.LevelInfo, "quota exceeded", lines.Append(attrs)...)
}

// denied is a denial as the API tells it.
func denied(d *access.DeniedError) refusal {
	r := refusal{outcome: outcome{code: codes.Unauthenticated, reason: "UNAUTHENTICATED", message: d.Message}}
	if d.Authenticated() {
		r.outcome = outcome{code: codes.PermissionDenied, reason: "PERMISSION_DENIED", message: d.Message}
	}
	if d.Identity != "" {
		r.metadata = map[string]string{"identity": d.Identity}
	}
	return r
}

// bounded keeps as many violations as an answer holds, and ends with how many
// there are besides.
func bounded(violations []policy.Violation) []policy.Violation {
	more := len(violations) - maxViolations
	if more <= 1 {
		// One more takes no more room than saying so.
		return violations
	}
	last := policy.Violation{Description: fmt.Sprintf("and %d more violations", more)}
	return append(slices.Clone(violations[:maxViolations]), last)
}

// bug counts and logs what should not have happened.
func (f *failures) bug(ctx context.Context, attrs ...any) refusal {
	f.internal.Add(1)
	id := fmt.Sprintf("%016x", rand.Uint64())
	f.log.ErrorContext(ctx, "internal error", append([]any{"error_id", id}, attrs...)...)
	return refusal{
		outcome: outcome{
			code: codes.Internal, reason: "INTERNAL",
			message: fmt.Sprintf("something went wrong inside the server; its log tells more under the id %s", id),
		},
		metadata: map[string]string{"error_id": id},
	}
}

// status returns err as the status of a call; one that is a status already, as
// gRPC's own are, stays what it is.
func (f *failures) status(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return err
	}
	return f.refusal(ctx, err).status()
}

// item returns err as the error of one item among several. One that is invalid counts as
// something that nothing comes of: a message has room for a thousand.
func (f *failures) item(ctx context.Context, err error) *retryv1.ReportError {
	r := f.refusal(ctx, err)
	if r.code == codes.InvalidArgument {
		connOf(ctx).charge(1)
		// Thousands may be refused at once, and nobody else is to wait for them all.
		runtime.Gosched()
	}
	return r.item()
}

func (r refusal) status() error {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: r.reason, Domain: domain, Metadata: r.metadata}}
	if len(r.violations) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range r.violations {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description})
		}
		details = append(details, bad)
	}
	if r.reason == quotaExceeded {
		details = append(details, r.quotaFailure())
	}
	if r.retryDelay > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(r.retryDelay)})
	}
	s := status.New(r.code, r.message)
	if with, err := s.WithDetails(details...); err == nil {
		s = with
	}
	return s.Err()
}

// quotaExceeded is the reason of calls that a namespace has no quota left for.
const quotaExceeded = "QUOTA_EXCEEDED"

// quotaFailure says which quota it is, from the metadata that items have as well.
func (r refusal) quotaFailure() *errdetails.QuotaFailure {
	v := &errdetails.QuotaFailure_Violation{
		Subject:     "namespace:" + r.metadata["namespace"],
		Description: r.message,
		QuotaId:     r.metadata["quota"],
	}
	if limit, err := strconv.ParseInt(r.metadata["limit"], 10, 64); err == nil {
		v.QuotaValue = limit
	}
	return &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{v}}
}

func (r refusal) item() *retryv1.ReportError {
	out := &retryv1.ReportError{
		Code:     int32(r.code),
		Reason:   r.reason,
		Message:  r.message,
		Metadata: r.metadata,
	}
	if r.retryDelay > 0 {
		out.RetryDelay = durationpb.New(r.retryDelay)
	}
	for _, v := range r.violations {
		out.Violations = append(out.Violations, &retryv1.FieldViolation{Field: v.Field, Description: v.Description})
	}
	return out
}

// slowConsumer ends a stream whose client has stopped reading.
func slowConsumer(limit time.Duration) error {
	return refusal{outcome: outcome{
		code: codes.Unavailable, reason: "SLOW_CONSUMER", retryDelay: time.Second,
		message: fmt.Sprintf("the stream was cut: nothing was read from it for %s", limit),
	}}.status()
}

// tooManyStreams refuses a stream that there is no room for here.
func tooManyStreams() error {
	return refusal{outcome: outcome{
		code: codes.Unavailable, reason: "TOO_MANY_STREAMS", retryDelay: 5 * time.Second,
		message: "the server has as many streams as it takes, of all or of this host; another replica may have room",
	}}.status()
}

// tooManyWatches refuses a watch of health that there is no room for here. It is no
// UNAVAILABLE: the server is well, and tells so by Check.
func tooManyWatches() error {
	return refusal{outcome: outcome{
		code: codes.ResourceExhausted, reason: "TOO_MANY_WATCHES", retryDelay: 5 * time.Second,
		message: fmt.Sprintf("the server has as many watches of health as it takes, %d of all or %d of this host; ask by Check", maxHealthWatches, half(maxHealthWatches)),
	}}.status()
}

// goingAway ends a call that the server has no more time for.
func goingAway() error {
	return refusal{outcome: outcome{
		code: codes.Unavailable, reason: "DRAINING", retryDelay: time.Second,
		message: "the server is going away; another replica will take the call",
	}}.status()
}

// compressed refuses a message, in the form in which gRPC refuses what it cannot read.
func compressed(by string) error {
	return status.Errorf(codes.Unimplemented, "messages must not be compressed: grpc-encoding is %q, it must be identity or none", by)
}
