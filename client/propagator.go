package client

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// Propagator moves trace contexts between a program's contexts and texts, in the form
// of W3C Trace Context. Its methods may be called by several goroutines at a time.
//
// It has the shape of OpenTelemetry's propagators, of which examples/tracing makes one,
// without the package having to import them.
type Propagator interface {
	// Inject calls set with what ctx carries: "traceparent" and "tracestate". It does
	// not call it where ctx carries nothing.
	Inject(ctx context.Context, set func(key, value string))
	// Extract returns ctx with what get returns for those keys, which is empty where
	// there is nothing.
	Extract(ctx context.Context, get func(key string) string) context.Context
}

// The headers of W3C Trace Context.
const (
	traceparentKey = "traceparent"
	tracestateKey  = "tracestate"
)

// traced is ctx with its trace context in the headers of the call to be made.
func (c *conn) traced(ctx context.Context) context.Context {
	if c.propagator == nil {
		return ctx
	}
	var headers []string
	c.propagator.Inject(ctx, func(key, value string) {
		if value != "" && (key == traceparentKey || key == tracestateKey) {
			headers = append(headers, key, value)
		}
	})
	if len(headers) == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, headers...)
}

// withTrace is ctx with the attempt's trace context.
func (c *conn) withTrace(ctx context.Context, a *Attempt) context.Context {
	if c.propagator == nil || a.Traceparent == "" {
		return ctx
	}
	return c.propagator.Extract(ctx, func(key string) string {
		switch key {
		case traceparentKey:
			return a.Traceparent
		case tracestateKey:
			return a.Tracestate
		}
		return ""
	})
}
