// Tracing shows one story in one trace: an order's webhook fails, waits, and is made
// anew by a worker, whose span is below that of the first try. It needs a server and,
// to see the spans, an OTLP collector such as Jaeger:
//
//	go run ./cmd/retryd dev --otlp-endpoint http://127.0.0.1:4317
//	go run ./examples/tracing
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/retryd/retryd/client"
)

func main() {
	if err := start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "tracing:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context) (err error) {
	// By default to http://127.0.0.1:4317; OTEL_EXPORTER_OTLP_ENDPOINT says otherwise.
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithInsecure())
	if err != nil {
		return err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	defer func() {
		flush, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		err = errors.Join(err, provider.Shutdown(flush))
	}()
	c, err := client.New("localhost:7600", client.WithPropagator(propagator{}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	id, err := run(ctx, c, provider.Tracer("orders"))
	if err == nil {
		fmt.Println("delivered; the trace is", id)
	}
	return err
}

var errUnavailable = errors.New("the destination is not available")

// run makes the first try, has a worker make the second, and returns the trace.
func run(ctx context.Context, c *client.Client, tracer trace.Tracer) (trace.TraceID, error) {
	first, span := tracer.Start(ctx, "deliver webhook")
	err := deliver(1)
	if err != nil {
		// The call carries the context of the span.
		task := client.Task{ID: "order-" + span.SpanContext().TraceID().String(), Queue: "orders", Policy: "quick"}
		_, err = c.ReportFailure(first, task, err)
	}
	span.End()
	if err != nil {
		return trace.TraceID{}, err
	}

	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	var settled client.Settled
	worker, err := client.NewWorker(c, []string{"orders"}, client.WithSettled(func(s client.Settled) {
		settled = s
		stop()
	}))
	if err != nil {
		return trace.TraceID{}, err
	}
	err = worker.Run(ctx, func(ctx context.Context, a *client.Attempt) error {
		// The handler's context goes on from the hand-out.
		_, span := tracer.Start(ctx, "deliver webhook again", trace.WithSpanKind(trace.SpanKindConsumer))
		defer span.End()
		return deliver(a.Number)
	})
	if err == nil && settled.Completion == nil {
		err = errors.New("the webhook was not delivered")
	}
	return span.SpanContext().TraceID(), err
}

// deliver works the second time.
func deliver(attempt int) error {
	if attempt == 1 {
		return errUnavailable
	}
	return nil
}
