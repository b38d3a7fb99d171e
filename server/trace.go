package server

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// traceOf is the trace context that a call came with, as W3C Trace Context has it in
// the headers.
func traceOf(ctx context.Context) scheduler.TraceContext {
	parent := metadata.ValueFromIncomingContext(ctx, "traceparent")
	if len(parent) != 1 {
		return scheduler.TraceContext{}
	}
	// A tracestate may come in several headers, which are one list.
	return wire.TraceContext(parent[0], strings.Join(metadata.ValueFromIncomingContext(ctx, "tracestate"), ","))
}
