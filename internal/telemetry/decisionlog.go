package telemetry

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/retryd/retryd/internal/logbound"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
	"github.com/retryd/retryd/server/access"
)

// DecisionLog writes a line at level info for every decision, for every task that dies
// without one, and for reports that are refused, of each reason so many that no disk is
// filled; but for lack of quota, of which package server logs. It is a
// [scheduler.Observer]. No line holds a payload, a message, a key or a token.
type DecisionLog struct {
	to   *LogBuffer
	json bool
	// lines are those that have been written, whose room is used again.
	lines sync.Pool
	// refusals bound the lines of each reason for which reports are refused. Reasons are
	// those of the table of errors, so that there are few.
	refusals logbound.Each[string]
}

var _ scheduler.Observer = (*DecisionLog)(nil)

// NewDecisionLog returns one that writes text, or JSON.
func NewDecisionLog(to *LogBuffer, json bool) *DecisionLog { return &DecisionLog{to: to, json: json} }

// Reported implements [scheduler.Observer].
func (l *DecisionLog) Reported(ctx context.Context, e scheduler.ReportEvent) {
	if e.Report.Failure != nil && e.Effective() {
		l.decided(&e)
	}
	if e.Err != nil && !overQuota(e.Err) {
		l.refused(ctx, &e)
	}
}

func overQuota(err error) bool {
	e, ok := errors.AsType[*scheduler.Error](err)
	return ok && e.Kind == scheduler.KindQuota
}

// begin begins a line, which write writes.
func (l *DecisionLog) begin(msg string) *line {
	to, ok := l.lines.Get().(*line)
	if !ok {
		to = &line{json: l.json}
	}
	to.buf = to.buf[:0]
	to.begin(time.Now(), msg)
	return to
}

func (l *DecisionLog) write(to *line) {
	l.to.add(to.end())
	l.lines.Put(to)
}

func (l *DecisionLog) decided(e *scheduler.ReportEvent) {
	rec := &e.Answer.Record
	d := &rec.Decision
	to := l.begin("decision")
	to.str("namespace", e.Report.Namespace)
	to.str("task", e.Answer.TaskID)
	to.num("attempt", int64(rec.Attempt))
	to.str("action", d.Action.String())
	to.str("reason", d.Reason.String())
	if d.Action == policy.ActionRetry {
		to.num("delay_ms", d.DelayMS)
	}
	to.optional("condition", d.HoldCondition)
	to.failure(&rec.Failure)
	to.optional("policy", rec.Policy)
	to.optional("rule", d.Rule)
	if e.Task != nil {
		to.optional("queue", e.Task.Spec.Queue)
	}
	l.write(to)
}

// optional adds a text where there is one.
func (l *line) optional(key, value string) {
	if value != "" {
		l.str(key, value)
	}
}

// failure adds what a failure is told apart by.
func (l *line) failure(f *policy.Failure) {
	l.str("cause", f.Cause.String())
	switch f.Cause {
	case policy.CauseHTTP:
		l.num("http_status", int64(f.HTTPStatus))
	case policy.CauseGRPC:
		l.num("grpc_code", int64(f.GRPCCode))
	case policy.CauseConnection:
		l.str("connection", f.ConnectionKind.String())
	case policy.CauseOutcome:
		l.str("outcome", f.Outcome)
	default:
	}
	l.optional("code", f.Code)
}

// refused writes a line where there is room. A decision leaves a task behind, which costs
// its caller and the store far more than a line; what is refused leaves nothing, and a
// message has room for a thousand.
func (l *DecisionLog) refused(ctx context.Context, e *scheduler.ReportEvent) {
	reason := server.Reason(e.Err)
	bound := l.refusals.Of(reason)
	if !bound.Allow() {
		return
	}
	kind := "success"
	if e.Report.Failure != nil {
		kind = "failure"
	}
	to := l.begin("report refused")
	if server.ValidNamespace(e.Report.Namespace) {
		to.str("namespace", e.Report.Namespace)
	}
	if checked(e.Err) {
		to.optional("task", e.Report.ID)
	}
	if e.Report.Attempt != 0 {
		to.num("attempt", int64(e.Report.Attempt))
	}
	to.str("kind", kind)
	to.str("reason", reason)
	if caller := access.CallerOf(ctx); caller != nil {
		to.str("identity", caller.Name)
	}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		to.str("peer", p.Addr.String())
	}
	for _, attr := range bound.Append(nil) {
		to.num(attr.Key, attr.Value.Int64())
	}
	l.write(to)
}

// checked says that the texts of a report which was refused are what they should be. In
// one that is invalid, what stands for a task may be anything, also what no log should
// hold.
func checked(err error) bool {
	e, ok := errors.AsType[*scheduler.Error](err)
	if !ok {
		return true
	}
	// A payload that is too large may be one violation among others.
	return e.Kind != scheduler.KindInvalid && (e.Kind != scheduler.KindPayloadTooLarge || len(e.Violations) <= 1)
}

// HandedOut implements [scheduler.Observer].
func (l *DecisionLog) HandedOut(*scheduler.Task, int64) {}

// LeaseExpired implements [scheduler.Observer].
func (l *DecisionLog) LeaseExpired(*scheduler.Task) {}

// Died implements [scheduler.Observer].
func (l *DecisionLog) Died(t *scheduler.Task) {
	to := l.begin("task died")
	to.str("namespace", t.Key.Namespace)
	to.str("task", t.Key.ID)
	to.num("attempt", int64(t.Attempt))
	to.str("action", policy.ActionDeadLetter.String())
	to.str("reason", t.DeadReason.String())
	to.num("lease_expiries", int64(t.Expiries))
	to.optional("policy", t.Spec.Policy)
	to.optional("queue", t.Spec.Queue)
	l.write(to)
}
