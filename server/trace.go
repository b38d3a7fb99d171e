package server

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// Tracer makes spans of what the server does. Its methods are called concurrently
// and on the path of calls and hand-outs: they must not wait.
type Tracer interface {
	// Call begins the span of a unary call that came with a trace context, or with
	// none; begins says that it may begin a trace where it came with none. Where there
	// is a span, it returns ctx with it, the context that is kept with the tasks that
	// the call reports, and end, which is told the error that the caller gets.
	// Otherwise end is nil.
	Call(ctx context.Context, method string, came scheduler.TraceContext, begins bool) (_ context.Context, kept scheduler.TraceContext, end func(error))
	// HandOut makes the spans of a hand-out, of which t is the task as it was leased
	// and nowMS the store's time. It returns the context that goes out with the
	// attempt; none leaves it that of the task.
	HandOut(ctx context.Context, t *scheduler.Task, nowMS int64) scheduler.TraceContext
}

// traced is next with a span of each call of the API.
func (s *Server) traced(next grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	if s.cfg.Tracer == nil {
		return next
	}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !strings.HasPrefix(info.FullMethod, "/"+apiPackage) {
			return next(ctx, req, info, handler)
		}
		spanned, kept, end := s.cfg.Tracer.Call(ctx, info.FullMethod, headerTrace(ctx), beginsTrace(req))
		if end == nil {
			return next(ctx, req, info, handler)
		}
		resp, err := next(context.WithValue(spanned, traceKey{}, kept), req, info, handler)
		end(err)
		return resp, err
	}
}

// beginsTrace says whether a call may begin a trace: where a story of attempts does,
// and not where a worker tells how one of them went.
func beginsTrace(req any) bool {
	switch r := req.(type) {
	case *retryv1.ReportFailureRequest:
		return r.GetLeaseToken() == ""
	case *retryv1.BatchReportRequest:
		return true
	}
	return false
}

// traceKey is that of the context that is kept with what a call reports.
type traceKey struct{}

// traceOf is the trace context that is kept with what a call reports: that of its
// span, or else the one that it came with.
func (s *Server) traceOf(ctx context.Context) scheduler.TraceContext {
	if s.cfg.Tracer != nil {
		if kept, ok := ctx.Value(traceKey{}).(scheduler.TraceContext); ok {
			return kept
		}
	}
	return headerTrace(ctx)
}

// headerTrace is the trace context that a call came with, as W3C Trace Context has
// it in the headers.
func headerTrace(ctx context.Context) scheduler.TraceContext {
	parent := metadata.ValueFromIncomingContext(ctx, "traceparent")
	if len(parent) != 1 {
		return scheduler.TraceContext{}
	}
	// A tracestate may come in several headers, which are one list.
	return wire.TraceContext(parent[0], strings.Join(metadata.ValueFromIncomingContext(ctx, "tracestate"), ","))
}

// traceHandOut has the attempt go on from its own hand-out, where that has a span.
func (s *Server) traceHandOut(ctx context.Context, t *scheduler.Task, a *retryv1.Attempt) {
	if s.cfg.Tracer == nil {
		return
	}
	if c := s.cfg.Tracer.HandOut(ctx, t, s.sched.NowMS()); c.Parent != "" {
		a.Traceparent, a.Tracestate = c.Parent, c.State
	}
}
