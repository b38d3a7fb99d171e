package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// Call begins the span of a unary call, in the trace that it came with or, as far as
// sampled, in one of its own.
func (t *Tracing) Call(
	ctx context.Context, method string, came scheduler.TraceContext, begins bool,
) (_ context.Context, kept scheduler.TraceContext, end func(error)) {
	parent := spanContextOf(came)
	if parent.IsValid() {
		if !parent.IsSampled() {
			return ctx, came, nil
		}
		ctx = under(ctx, parent)
	} else if !begins {
		return ctx, came, nil
	}
	name := method[1:]
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(semconv.RPCSystemNameGRPC, semconv.RPCMethod(name)))
	if !span.SpanContext().IsSampled() {
		return ctx, came, nil
	}
	return ctx, contextOf(span.SpanContext()), func(err error) {
		code := status.Code(err)
		span.SetAttributes(semconv.RPCResponseStatusCode(statusCodes[code]))
		if serverFault(code) {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// serverFault says whether a call that ended so counts as failed, by OpenTelemetry's
// conventions: the server's fault, and not its caller's.
func serverFault(code grpccodes.Code) bool {
	switch code {
	case grpccodes.Unknown, grpccodes.DeadlineExceeded, grpccodes.Unimplemented, grpccodes.Internal, grpccodes.Unavailable, grpccodes.DataLoss:
		return true
	}
	return false
}

// statusCodes are the names of gRPC's codes, as OpenTelemetry has them.
var statusCodes = map[grpccodes.Code]string{
	grpccodes.OK: "OK", grpccodes.Canceled: "CANCELLED", grpccodes.Unknown: "UNKNOWN",
	grpccodes.InvalidArgument: "INVALID_ARGUMENT", grpccodes.DeadlineExceeded: "DEADLINE_EXCEEDED",
	grpccodes.NotFound: "NOT_FOUND", grpccodes.AlreadyExists: "ALREADY_EXISTS",
	grpccodes.PermissionDenied: "PERMISSION_DENIED", grpccodes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	grpccodes.FailedPrecondition: "FAILED_PRECONDITION", grpccodes.Aborted: "ABORTED", grpccodes.OutOfRange: "OUT_OF_RANGE",
	grpccodes.Unimplemented: "UNIMPLEMENTED", grpccodes.Internal: "INTERNAL", grpccodes.Unavailable: "UNAVAILABLE",
	grpccodes.DataLoss: "DATA_LOSS", grpccodes.Unauthenticated: "UNAUTHENTICATED",
}

// The attributes for which OpenTelemetry has no name.
const (
	namespaceKey  = attribute.Key("retryd.namespace")
	attemptKey    = attribute.Key("retryd.attempt")
	deliveryKey   = attribute.Key("retryd.delivery")
	triggerKey    = attribute.Key("retryd.trigger")
	latenessKey   = attribute.Key("retryd.lateness_ms")
	actionKey     = attribute.Key("retryd.action")
	reasonKey     = attribute.Key("retryd.reason")
	delayKey      = attribute.Key("retryd.delay_ms")
	policyKey     = attribute.Key("retryd.policy")
	revisionKey   = attribute.Key("retryd.policy_revision")
	ruleKey       = attribute.Key("retryd.rule")
	conditionKey  = attribute.Key("retryd.hold_condition")
	causeKey      = attribute.Key("retryd.cause")
	succeededKey  = attribute.Key("retryd.succeeded")
	expiriesKey   = attribute.Key("retryd.expiries")
	messageSystem = "retryd"
)

// attributesOf are those of every span of a task.
func attributesOf(key scheduler.TaskKey, queue string, attempt int, more ...attribute.KeyValue) trace.SpanStartEventOption {
	list := append(make([]attribute.KeyValue, 0, 5+len(more)),
		semconv.MessagingSystemKey.String(messageSystem), namespaceKey.String(key.Namespace),
		semconv.MessagingMessageID(key.ID), attemptKey.Int(attempt))
	if queue != "" {
		list = append(list, semconv.MessagingDestinationName(queue))
	}
	return trace.WithAttributes(append(list, more...)...)
}

// named is a span's name by OpenTelemetry's conventions: what is done, and where.
func named(operation, queue string) string {
	if queue == "" {
		return operation
	}
	return operation + " " + queue
}

// Reported makes the spans of a report that had its effect: of its decision, and
// before it of the outcome where that came without a call's span.
func (t *Tracing) Reported(ctx context.Context, e scheduler.ReportEvent) {
	if !e.Effective() {
		return
	}
	key, queue := scheduler.TaskKey{Namespace: e.Report.Namespace, ID: e.Answer.TaskID}, ""
	if e.Task != nil {
		queue = e.Task.Spec.Queue
	}
	rec := &e.Answer.Record
	held := spanContextOf(e.Answer.Trace)
	began := trace.WithTimestamp(e.Began)
	now := time.Now()
	link := trace.WithLinks()
	if call := trace.SpanContextFromContext(ctx); call.IsSampled() {
		if held.IsValid() && held.TraceID() != call.TraceID() {
			// The caller's trace is another one than that of the reports before.
			link = trace.WithLinks(trace.Link{SpanContext: held})
		}
	} else {
		parent := spanContextOf(e.Report.Trace)
		switch {
		case !parent.IsValid():
			parent = held
		case held.IsValid() && held.TraceID() != parent.TraceID():
			link = trace.WithLinks(trace.Link{SpanContext: held})
		}
		if !parent.IsSampled() {
			return
		}
		outcome, span := t.tracer.Start(under(ctx, parent), named("outcome", queue), trace.WithSpanKind(trace.SpanKindServer), began, link,
			attributesOf(key, queue, rec.Attempt,
				semconv.MessagingOperationName("outcome"), semconv.MessagingOperationTypeSettle, succeededKey.Bool(rec.Success)))
		defer span.End(trace.WithTimestamp(now))
		ctx, link = outcome, trace.WithLinks()
	}
	if rec.Success {
		return
	}
	d := &rec.Decision
	_, span := t.tracer.Start(ctx, "decide", began, link, attributesOf(key, queue, rec.Attempt, decided(rec)...))
	if d.Action == policy.ActionDeadLetter {
		span.SetStatus(codes.Error, d.Reason.String())
	}
	span.End(trace.WithTimestamp(now))
}

// decided are the attributes of a decision.
func decided(rec *scheduler.AttemptRecord) []attribute.KeyValue {
	d, f := &rec.Decision, &rec.Failure
	list := append(make([]attribute.KeyValue, 0, 8),
		actionKey.String(d.Action.String()), reasonKey.String(d.Reason.String()), causeKey.String(f.Cause.String()),
		policyKey.String(rec.Policy), revisionKey.Int64(rec.PolicyRevision))
	if d.Action == policy.ActionRetry {
		list = append(list, delayKey.Int64(d.DelayMS))
	}
	if d.Rule != "" {
		list = append(list, ruleKey.String(d.Rule))
	}
	if d.HoldCondition != "" {
		list = append(list, conditionKey.String(d.HoldCondition))
	}
	if f.Cause == policy.CauseHTTP {
		list = append(list, semconv.HTTPResponseStatusCode(f.HTTPStatus))
	}
	return list
}

// HandOut makes the spans of a hand-out and, the first time that an attempt is handed
// out, of the wait before it. What it returns is the hand-out's own.
func (t *Tracing) HandOut(ctx context.Context, task *scheduler.Task, nowMS int64) scheduler.TraceContext {
	held := spanContextOf(task.Trace())
	if !held.IsSampled() {
		return scheduler.TraceContext{}
	}
	ctx = under(ctx, held)
	queue, now := task.Spec.Queue, time.Now()
	late := latenessKey.Int64(max(0, nowMS-task.DueMS))
	trigger := triggerKey.String(task.Trigger.String())
	if last := task.LastRecord(); last != nil && task.Delivery == 1 {
		// By the clock of this machine, as all spans are: the store's may be another.
		since := now.Add(-time.Duration(max(0, nowMS-last.TimeMS)) * time.Millisecond)
		_, span := t.tracer.Start(ctx, named("wait", queue), trace.WithTimestamp(since),
			attributesOf(task.Key, queue, task.Attempt, trigger, late))
		span.End(trace.WithTimestamp(now))
	}
	_, span := t.tracer.Start(ctx, named("hand out", queue), trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(now),
		attributesOf(task.Key, queue, task.Attempt, trigger, late, deliveryKey.Int(task.Delivery),
			semconv.MessagingOperationName("hand out"), semconv.MessagingOperationTypeSend))
	span.End()
	return contextOf(span.SpanContext())
}

// HandedOut has nothing to do: the server, which knows what goes out, calls HandOut.
func (*Tracing) HandedOut(*scheduler.Task, int64) {}

// LeaseExpired makes a span of a lease that ended without a word.
func (t *Tracing) LeaseExpired(task *scheduler.Task) {
	t.mark(task, named("lease expired", task.Spec.Queue), expiriesKey.Int(task.Expiries))
}

// Died makes a span of a task that became a dead letter by no report.
func (t *Tracing) Died(task *scheduler.Task) {
	t.mark(task, "dead letter", reasonKey.String(task.DeadReason.String()))
}

// mark makes a span of something that went wrong at this moment.
func (t *Tracing) mark(task *scheduler.Task, name string, what attribute.KeyValue) {
	held := spanContextOf(task.Trace())
	if !held.IsSampled() {
		return
	}
	_, span := t.tracer.Start(under(t.ctx, held), name, attributesOf(task.Key, task.Spec.Queue, task.Attempt, what))
	span.SetStatus(codes.Error, "")
	span.End()
}
