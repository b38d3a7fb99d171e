package tracing

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/retryd/retryd/scheduler"
)

// Where the parts of a traceparent are, which was checked when it came.
const (
	traceAt, traceEnd = 3, 35
	spanAt, spanEnd   = 36, 52
	flagsAt, flagsEnd = 53, 55
)

// spanContextOf reads a trace context; it is not valid where there is none.
func spanContextOf(c scheduler.TraceContext) trace.SpanContext {
	if len(c.Parent) < flagsEnd {
		return trace.SpanContext{}
	}
	var cfg trace.SpanContextConfig
	var err error
	if cfg.TraceID, err = trace.TraceIDFromHex(c.Parent[traceAt:traceEnd]); err != nil {
		return trace.SpanContext{}
	}
	if cfg.SpanID, err = trace.SpanIDFromHex(c.Parent[spanAt:spanEnd]); err != nil {
		return trace.SpanContext{}
	}
	// The lowest bit of the flags says that the trace is sampled.
	switch c.Parent[flagsEnd-1] {
	case '1', '3', '5', '7', '9', 'b', 'd', 'f':
		cfg.TraceFlags = trace.FlagsSampled
	}
	// One that cannot be read is another vendor's to mind, and left out.
	cfg.TraceState, _ = trace.ParseTraceState(c.State)
	cfg.Remote = true
	return trace.NewSpanContext(cfg)
}

// contextOf writes a span's context as it travels.
func contextOf(sc trace.SpanContext) scheduler.TraceContext {
	return scheduler.TraceContext{
		Parent: "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + sc.TraceFlags().String(),
		State:  sc.TraceState().String(),
	}
}

// under is ctx with a span of another process, under which spans are made.
func under(ctx context.Context, sc trace.SpanContext) context.Context {
	return trace.ContextWithRemoteSpanContext(ctx, sc)
}
