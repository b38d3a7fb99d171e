package main

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
)

// propagator makes OpenTelemetry's W3C propagator the one of a retryd client.
type propagator struct{ w3c propagation.TraceContext }

func (p propagator) Inject(ctx context.Context, set func(key, value string)) {
	p.w3c.Inject(ctx, carrier{set: set})
}

func (p propagator) Extract(ctx context.Context, get func(key string) string) context.Context {
	return p.w3c.Extract(ctx, carrier{get: get})
}

// carrier is what OpenTelemetry reads and writes the headers by.
type carrier struct {
	get func(key string) string
	set func(key, value string)
}

func (c carrier) Get(key string) string { return c.get(key) }
func (c carrier) Set(key, value string) { c.set(key, value) }
func (c carrier) Keys() []string        { return propagation.TraceContext{}.Fields() }
