package tracing_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/retryd/retryd/internal/tracing"
	"github.com/retryd/retryd/scheduler"
)

// otlpCollector takes spans as an OTLP collector does.
type otlpCollector struct {
	coltracepb.UnimplementedTraceServiceServer
	mu       sync.Mutex
	received []*coltracepb.ExportTraceServiceRequest
}

func (c *otlpCollector) Export(_ context.Context, r *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = append(c.received, r)
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

// collect starts a collector and returns its endpoint.
func collect(t *testing.T) (*otlpCollector, string) {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &otlpCollector{}
	srv := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(srv, c)
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(lis) })
	t.Cleanup(func() {
		srv.Stop()
		served.Wait()
	})
	return c, "http://" + lis.Addr().String()
}

func TestSpansGoOutByOTLP(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	c, endpoint := collect(t)
	tr, err := tracing.New(t.Context(), tracing.Config{Endpoint: endpoint, Version: "1.2.3", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	_, kept, end := tr.Call(t.Context(), "/retry.v1.RetryService/ReportFailure", scheduler.TraceContext{Parent: sampled, State: "a=1"}, false)
	end(nil)
	if err := tr.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := tr.Counts(); got != (tracing.Counts{Exported: 1}) {
		t.Errorf("counts are %+v, want 1 exported", got)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.received) != 1 {
		t.Fatalf("the collector got %d exports, want 1", len(c.received))
	}
	from := c.received[0].GetResourceSpans()[0]
	said := make(map[string]string)
	for _, a := range from.GetResource().GetAttributes() {
		said[a.GetKey()] = a.GetValue().GetStringValue()
	}
	wantAttributes(t, said, map[string]string{"service.name": "retryd", "service.version": "1.2.3", "deployment.environment.name": "test"})
	if said["service.instance.id"] == "" {
		t.Error("there is no service.instance.id")
	}
	span := from.GetScopeSpans()[0].GetSpans()[0]
	if got := span.GetName(); got != "retry.v1.RetryService/ReportFailure" {
		t.Errorf("the span is %q", got)
	}
	if span.GetTraceState() != "a=1" || kept.State != "a=1" {
		t.Errorf("the tracestate of the span is %q, that kept %q", span.GetTraceState(), kept.State)
	}
}

func TestEndpointsAreChecked(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:4317":     "",
		"https://otel.example":      "",
		"http://[::1]:4317/":        "",
		"127.0.0.1:4317":            "must be the URL",
		"otel:4317":                 "must be the URL",
		"http://":                   "must be the URL",
		"grpc://otel:4317":          "must be the URL",
		"http://otel:4318/v1/trace": "no path",
		"https://me:hunter2@otel":   "must not hold a password",
	} {
		err := tracing.CheckEndpoint(endpoint)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%s: %v, want %q", endpoint, err, want)
		}
	}
}
