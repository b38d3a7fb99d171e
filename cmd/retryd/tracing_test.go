package main

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// collector takes spans as an OTLP collector does, and keeps their names.
type collector struct {
	coltracepb.UnimplementedTraceServiceServer
	mu    sync.Mutex
	names []string
}

func (c *collector) Export(_ context.Context, r *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, from := range r.GetResourceSpans() {
		for _, scope := range from.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.names = append(c.names, span.GetName())
			}
		}
	}
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

func TestTracesAreExportedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{}
	srv := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(srv, c)
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(lis) })
	t.Cleanup(func() {
		srv.Stop()
		served.Wait()
	})
	s := startServer(t, "--policies", policyFile(t, soonPolicy), "--otlp-endpoint", "http://"+lis.Addr().String())
	reportTraced(t, retryv1.NewRetryServiceClient(dial(t, s.Addr)))
	s.Signal(syscall.SIGTERM)
	if status := s.Wait(); status != 0 {
		t.Errorf("exit status %d, want 0:\n%s", status, s.Stderr())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.names)
	if got, want := strings.Join(c.names, ", "), "decide, retry.v1.RetryService/ReportFailure"; got != want {
		t.Errorf("the collector got %q, want %q", got, want)
	}
}

// A collector that is away costs a warning, and neither calls nor the end.
func TestACollectorThatIsAwayIsInNobodysWay(t *testing.T) {
	t.Parallel()
	const drain = 2 * time.Second
	s := startServer(t, "--policies", policyFile(t, soonPolicy), "--drain-timeout", drain.String(), "--otlp-endpoint", "http://127.0.0.1:1")
	reportTraced(t, retryv1.NewRetryServiceClient(dial(t, s.Addr)))
	if metrics := get(t, s.Admin, "/metrics"); !strings.Contains(metrics, `retryd_trace_spans_total{result="dropped"} 0`) {
		t.Error("the metrics do not tell of spans")
	}
	begin := time.Now()
	s.Signal(syscall.SIGTERM)
	if status := s.Wait(); status != 0 {
		t.Errorf("exit status %d, want 0:\n%s", status, s.Stderr())
	}
	if took := time.Since(begin); took > drain+3*time.Second {
		t.Errorf("it took %s to end, with a drain timeout of %s", took, drain)
	}
	if log := s.Stderr(); !strings.Contains(log, "spans") || strings.Count(log, "level=WARN") > 2 {
		t.Errorf("the log says of it\n%s", log)
	}
}

func reportTraced(t *testing.T, retry retryv1.RetryServiceClient) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	_, err := retry.ReportFailure(ctx, &retryv1.ReportFailureRequest{
		Task:    &retryv1.TaskSpec{Id: "traced", Queue: "work", Policy: "soon"},
		Failure: &retryv1.Failure{Cause: &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
}
