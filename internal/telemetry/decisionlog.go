package telemetry

import (
	"context"
	"log/slog"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

// DecisionLog writes a line for every decision, for every task that dies without one,
// and for every report that is refused. It is a [scheduler.Observer]. No line holds a
// payload, a message, a key or a token.
type DecisionLog struct{ to slog.Handler }

var _ scheduler.Observer = (*DecisionLog)(nil)

// NewDecisionLog returns one that writes to a handler, or nil where the handler takes
// nothing at level info, at which decisions are.
func NewDecisionLog(to slog.Handler) scheduler.Observer {
	if !to.Enabled(context.Background(), slog.LevelInfo) { //nolint:forbidigo // no handler of slog asks for more
		return nil
	}
	return &DecisionLog{to}
}

// Reported implements [scheduler.Observer].
func (l *DecisionLog) Reported(ctx context.Context, e scheduler.ReportEvent) {
	if e.Report.Failure != nil && e.Effective() {
		l.decided(ctx, &e)
	}
	if e.Err != nil {
		l.refused(ctx, &e)
	}
}

func (l *DecisionLog) decided(ctx context.Context, e *scheduler.ReportEvent) {
	rec := &e.Answer.Record
	d := &rec.Decision
	var attrs [14]slog.Attr
	a := append(attrs[:0],
		slog.String("namespace", e.Report.Namespace),
		slog.String("task", e.Answer.TaskID),
		slog.Int("attempt", rec.Attempt),
		slog.String("action", d.Action.String()),
		slog.String("reason", d.Reason.String()),
	)
	if d.Action == policy.ActionRetry {
		a = append(a, slog.Int64("delay_ms", d.DelayMS))
	}
	if d.HoldCondition != "" {
		a = append(a, slog.String("condition", d.HoldCondition))
	}
	a = appendError(a, &rec.Failure)
	if rec.Policy != "" {
		a = append(a, slog.String("policy", rec.Policy))
	}
	if d.Rule != "" {
		a = append(a, slog.String("rule", d.Rule))
	}
	if e.Task != nil && e.Task.Spec.Queue != "" {
		a = append(a, slog.String("queue", e.Task.Spec.Queue))
	}
	l.write(ctx, "decision", a)
}

// appendError adds what a failure is told apart by.
func appendError(a []slog.Attr, f *policy.Failure) []slog.Attr {
	a = append(a, slog.String("cause", f.Cause.String()))
	switch f.Cause {
	case policy.CauseHTTP:
		a = append(a, slog.Int("http_status", f.HTTPStatus))
	case policy.CauseGRPC:
		a = append(a, slog.Int("grpc_code", f.GRPCCode))
	case policy.CauseConnection:
		a = append(a, slog.String("connection", f.ConnectionKind.String()))
	case policy.CauseOutcome:
		a = append(a, slog.String("outcome", f.Outcome))
	default:
	}
	if f.Code != "" {
		a = append(a, slog.String("code", f.Code))
	}
	return a
}

func (l *DecisionLog) refused(ctx context.Context, e *scheduler.ReportEvent) {
	kind := "success"
	if e.Report.Failure != nil {
		kind = "failure"
	}
	l.write(ctx, "report refused", []slog.Attr{
		slog.String("namespace", cut(e.Report.Namespace)),
		slog.String("task", cut(e.Report.ID)),
		slog.Int("attempt", e.Report.Attempt),
		slog.String("kind", kind),
		slog.String("reason", server.Reason(e.Err)),
	})
}

// maxName is how much of a name is logged that has not been checked.
const maxName = 255

func cut(name string) string { return name[:min(len(name), maxName)] }

// HandedOut implements [scheduler.Observer].
func (l *DecisionLog) HandedOut(*scheduler.Task, int64) {}

// LeaseExpired implements [scheduler.Observer].
func (l *DecisionLog) LeaseExpired(*scheduler.Task) {}

// Died implements [scheduler.Observer].
func (l *DecisionLog) Died(t *scheduler.Task) {
	//nolint:forbidigo // it is told of no call
	l.write(context.Background(), "task died", []slog.Attr{
		slog.String("namespace", t.Key.Namespace),
		slog.String("task", t.Key.ID),
		slog.Int("attempt", t.Attempt),
		slog.String("action", policy.ActionDeadLetter.String()),
		slog.String("reason", t.DeadReason.String()),
		slog.Int("lease_expiries", t.Expiries),
		slog.String("policy", t.Spec.Policy),
		slog.String("queue", t.Spec.Queue),
	})
}

// write writes a line, without looking up where in the code it comes from.
func (l *DecisionLog) write(ctx context.Context, msg string, attrs []slog.Attr) {
	r := slog.NewRecord(time.Now(), slog.LevelInfo, msg, 0)
	r.AddAttrs(attrs...)
	_ = l.to.Handle(ctx, r) // it writes to a LogBuffer, which does not fail
}
