package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const (
	// scope is what the spans say that they were made by.
	scope = "github.com/retryd/retryd"
	// queueSize is how many spans wait to be exported at most; the rest is dropped, and
	// counted. A span takes 1 to 2 KB.
	queueSize = 4096
	// exportDelay is how long a span waits for others to go with it.
	exportDelay = time.Second
	// exportTimeout is how long an export may take, with its repeats.
	exportTimeout = 10 * time.Second
)

// DefaultSample is the share of the reports without a trace context that begin a
// trace, unless told otherwise.
const DefaultSample = 0.01

// Config says where spans go.
type Config struct {
	// Endpoint is the URL of an OTLP collector that takes gRPC: http for clear text,
	// https for TLS.
	Endpoint string
	// Sample is the share, 0 to 1, of reports without a trace context that begin a
	// trace. Of the others, the caller has decided.
	Sample float64
	// Version is what the spans say that this process is.
	Version string
	// Log is told when spans cannot be exported.
	Log *slog.Logger
	// Exporter, where it is set, gets the spans in place of a collector.
	Exporter sdktrace.SpanExporter
}

// CheckEndpoint says what is wrong with an endpoint.
func CheckEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return errors.New("it must be the URL of an OTLP collector that takes gRPC, such as http://127.0.0.1:4317, or https:// for TLS")
	case u.User != nil:
		return errors.New("it must not hold a password: give headers by OTEL_EXPORTER_OTLP_HEADERS")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("it must be scheme, host and port alone: OTLP by gRPC has no path")
	}
	return nil
}

// CheckSample says what is wrong with a share.
func CheckSample(sample float64) error {
	if !(sample >= 0 && sample <= 1) { // so that it is no NaN either
		return errors.New("it must be 0 to 1")
	}
	return nil
}

// Tracing makes spans and exports them. It is a server.Tracer and a
// scheduler.Observer.
type Tracing struct {
	// ctx is that of what no call has led to.
	ctx      context.Context //nolint:containedctx // the observer's methods have none
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
	out      *outlet
}

// New returns a Tracing whose spans are exported until Shutdown. It does not wait for
// the collector to be there.
func New(ctx context.Context, cfg Config) (*Tracing, error) {
	if err := CheckSample(cfg.Sample); err != nil {
		return nil, fmt.Errorf("sample is %g: %w", cfg.Sample, err)
	}
	exporter := cfg.Exporter
	if exporter == nil {
		if err := CheckEndpoint(cfg.Endpoint); err != nil {
			return nil, fmt.Errorf("endpoint: %w", err)
		}
		var err error
		exporter, err = otlptracegrpc.New(ctx,
			otlptracegrpc.WithEndpointURL(cfg.Endpoint),
			otlptracegrpc.WithTimeout(exportTimeout),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{
				Enabled: true, InitialInterval: time.Second, MaxInterval: exportTimeout / 2, MaxElapsedTime: exportTimeout,
			}))
		if err != nil {
			return nil, fmt.Errorf("exporter of traces: %w", err)
		}
	}
	from, err := resource.New(ctx,
		resource.WithAttributes(
			semconv.ServiceName("retryd"), semconv.ServiceVersion(cfg.Version), semconv.ServiceInstanceID(uuid.NewString())),
		resource.WithTelemetrySDK(),
		// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word.
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	ctx = context.WithoutCancel(ctx)
	out := newOutlet(ctx, exporter, cfg.Log)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(from),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.Sample))),
		sdktrace.WithSpanProcessor(out))
	return &Tracing{
		ctx:      ctx,
		tracer:   provider.Tracer(scope, trace.WithInstrumentationVersion(cfg.Version), trace.WithSchemaURL(semconv.SchemaURL)),
		provider: provider,
		out:      out,
	}, nil
}

// Shutdown exports what waits, and ends the exporting; what is not exported when ctx
// ends is lost.
func (t *Tracing) Shutdown(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// Results are the counts by the names that they have in metrics.
func (t *Tracing) Results() map[string]func() uint64 {
	return map[string]func() uint64{"exported": t.out.exported.Load, "dropped": t.out.dropped.Load, "failed": t.out.failed.Load}
}

// Counts is what has become of spans since the start.
type Counts struct {
	// Exported were taken by the collector, Dropped found too many waiting, and Failed
	// were in an export that did not succeed.
	Exported, Dropped, Failed uint64
}

// Counts tells what has become of spans.
func (t *Tracing) Counts() Counts {
	return Counts{Exported: t.out.exported.Load(), Dropped: t.out.dropped.Load(), Failed: t.out.failed.Load()}
}
