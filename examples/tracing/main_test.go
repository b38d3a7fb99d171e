package main

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/tracing"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The program's spans and the server's are one tree.
func TestItIsOneStory(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(kept{spans}))
	tr, err := tracing.New(t.Context(), tracing.Config{Log: log, Exporter: kept{spans}})
	if err != nil {
		t.Fatal(err)
	}
	sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: log, Observer: tr})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{Log: log, Tracer: tr}, sched)
	if err != nil {
		t.Fatal(err)
	}
	lis := bufconn.Listen(1 << 20)
	serving, stopServing := context.WithCancel(t.Context())
	running, stopRunning := context.WithCancel(context.WithoutCancel(t.Context()))
	var scheduled, served sync.WaitGroup
	scheduled.Go(func() { _ = sched.Run(running) })
	served.Go(func() { _ = srv.Run(serving, lis) })
	c, err := client.New("passthrough:///bufconn", client.WithInsecure(), client.WithLogger(log), client.WithPropagator(propagator{}),
		client.WithDialOptions(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) })))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Policies().CreatePolicy(t.Context(), &retryv1.CreatePolicyRequest{Policy: &retryv1.Policy{
		Id: "quick", DisplayName: "Quick", MaxRetries: 1, DefaultAction: retryv1.Action_ACTION_RETRY,
		Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(time.Millisecond)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := run(t.Context(), c, provider.Tracer("test"))
	if err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	stopServing()
	served.Wait()
	stopRunning()
	scheduled.Wait()
	if err := tr.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}

	byID := make(map[string]tracetest.SpanStub)
	for _, s := range spans.GetSpans() {
		byID[s.SpanContext.SpanID().String()] = s
	}
	var paths []string
	for _, s := range byID {
		if s.SpanContext.TraceID() != id {
			t.Errorf("%s is of another trace", s.Name)
		}
		path := s.Name
		for up, ok := byID[s.Parent.SpanID().String()]; ok; up, ok = byID[up.Parent.SpanID().String()] {
			path = up.Name + " > " + path
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	const report = "deliver webhook > retry.v1.RetryService/ReportFailure"
	want := []string{
		"deliver webhook",
		report,
		report + " > decide",
		report + " > hand out orders",
		report + " > hand out orders > deliver webhook again",
		report + " > hand out orders > outcome orders",
		report + " > wait orders",
	}
	if !slices.Equal(paths, want) {
		t.Errorf("the spans are\n%s\nwant\n%s", strings.Join(paths, "\n"), strings.Join(want, "\n"))
	}
}

// kept is an exporter that forgets nothing when it is shut down.
type kept struct{ *tracetest.InMemoryExporter }

func (kept) Shutdown(context.Context) error { return nil }
