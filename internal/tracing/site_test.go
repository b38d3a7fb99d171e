package tracing_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/internal/tracing"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/server"
)

const (
	callerTrace = "0af7651916cd43dd8448eb211c80319c"
	callerSpan  = "b7ad6b7169203331"
	sampled     = "00-" + callerTrace + "-" + callerSpan + "-01"
	unsampled   = "00-" + callerTrace + "-" + callerSpan + "-00"
)

// site are servers over one Redis, each with spans of its own.
type site struct {
	t       *testing.T
	servers []*replica
}

type replica struct {
	name     string
	tracing  *tracing.Tracing
	exporter *tracetest.InMemoryExporter
	retry    retryv1.RetryServiceClient
	tasks    retryv1.TaskServiceClient
}

// setup starts so many servers, and a policy "quick".
func setup(t *testing.T, servers int, sample float64) *site {
	t.Helper()
	redis := redistest.Start(t)
	s := &site{t: t}
	for i := range servers {
		s.servers = append(s.servers, s.serve(redis.URL(), fmt.Sprint("server ", i+1), sample))
	}
	return s
}

func (s *site) serve(redisURL, name string, sample float64) *replica {
	t := s.t
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	r := &replica{name: name, exporter: tracetest.NewInMemoryExporter()}
	var err error
	if r.tracing, err = tracing.New(t.Context(), tracing.Config{Sample: sample, Version: "test", Log: log, Exporter: r.exporter}); err != nil {
		t.Fatal(err)
	}
	store, err := redisstore.New(redisstore.Config{URL: redisURL, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	sched, err := scheduler.New(store, scheduler.Config{Log: log, Observer: r.tracing})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{Log: log, DrainTimeout: 5 * time.Second, Tracer: r.tracing}, sched)
	if err != nil {
		t.Fatal(err)
	}
	lis := bufconn.Listen(1 << 20)
	serving, stopServing := context.WithCancel(t.Context())
	running, stopRunning := context.WithCancel(context.WithoutCancel(t.Context()))
	var scheduled, served sync.WaitGroup
	scheduled.Go(func() { _ = sched.Run(running) })
	served.Go(func() { _ = srv.Run(serving, lis) })
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		stopServing()
		served.Wait()
		stopRunning()
		scheduled.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if err := r.tracing.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	r.retry, r.tasks = retryv1.NewRetryServiceClient(conn), retryv1.NewTaskServiceClient(conn)
	_, err = retryv1.NewPolicyServiceClient(conn).CreatePolicy(t.Context(), &retryv1.CreatePolicyRequest{Policy: &retryv1.Policy{
		Id: "quick", DisplayName: "quick", MaxRetries: 5, DefaultAction: retryv1.Action_ACTION_RETRY,
		Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(time.Millisecond)}},
	}})
	if err != nil && len(s.servers) == 0 {
		t.Fatal(err)
	}
	return r
}

// ctx is that of calls in a trace, or in none.
func (s *site) ctx(traceparent string) context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	s.t.Cleanup(cancel)
	if traceparent != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", traceparent)
	}
	return ctx
}

const secret = "hunter2"

// fail reports the first failure of a task, full of what is nobody's business.
func (s *site) fail(at *replica, traceparent string) {
	s.t.Helper()
	_, err := at.retry.ReportFailure(s.ctx(traceparent), &retryv1.ReportFailureRequest{
		Task: &retryv1.TaskSpec{
			Id: "a", Queue: "q", Policy: "quick", Payload: []byte("payload " + secret), Attributes: map[string]string{"attribute": secret},
		},
		Failure: failure(), IdempotencyKey: "key " + secret,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func failure() *retryv1.Failure {
	return &retryv1.Failure{Cause: &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: 503}}, Message: "message " + secret}
}

// worker is a stream on the queue.
type worker struct {
	t      *testing.T
	stream retryv1.RetryService_SubscribeClient
	// early are attempts that came before the answer to an outcome.
	early []*retryv1.Attempt
}

func (s *site) worker(at *replica) *worker {
	s.t.Helper()
	stream, err := at.retry.Subscribe(s.ctx(""))
	if err != nil {
		s.t.Fatal(err)
	}
	w := &worker{t: s.t, stream: stream}
	w.send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: &retryv1.Open{Queues: []string{"q"}}}})
	return w
}

func (w *worker) send(msg *retryv1.SubscribeRequest) {
	w.t.Helper()
	if err := w.stream.Send(msg); err != nil {
		w.t.Fatal(err)
	}
}

func (w *worker) attempt() *retryv1.Attempt {
	w.t.Helper()
	if len(w.early) > 0 {
		a := w.early[0]
		w.early = w.early[1:]
		return a
	}
	msg, err := w.stream.Recv()
	if err != nil || msg.GetAttempt() == nil {
		w.t.Fatalf("got %v, %v, want an attempt", msg, err)
	}
	return msg.GetAttempt()
}

// settle sends an outcome in a trace, or in none, and waits for its answer.
func (w *worker) settle(a *retryv1.Attempt, ok bool, traceparent string) {
	w.t.Helper()
	o := &retryv1.Outcome{LeaseToken: a.GetLeaseToken(), Traceparent: traceparent}
	if ok {
		o.Result = &retryv1.Outcome_Success{Success: &retryv1.Success{Message: "message " + secret}}
	} else {
		o.Result = &retryv1.Outcome_Failure{Failure: failure()}
	}
	w.send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Outcome{Outcome: o}})
	msg, err := w.stream.Recv()
	for ; err == nil && msg.GetAttempt() != nil; msg, err = w.stream.Recv() {
		// The next one may fall due before the answer is on its way.
		w.early = append(w.early, msg.GetAttempt())
	}
	if err != nil || msg.GetOutcomeResult() == nil || msg.GetOutcomeResult().GetError() != nil {
		w.t.Fatalf("got %v, %v, want the outcome taken", msg, err)
	}
}

// madeSpan is a span and who made it.
type madeSpan struct {
	tracetest.SpanStub
	by string
}

// spans are those made up to now.
func (s *site) spans() []madeSpan {
	s.t.Helper()
	var all []madeSpan
	for _, r := range s.servers {
		if err := r.tracing.Flush(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		for _, span := range r.exporter.GetSpans() {
			all = append(all, madeSpan{span, r.name})
		}
	}
	slices.SortStableFunc(all, func(a, b madeSpan) int { return cmp.Or(cmp.Compare(a.Name, b.Name), a.StartTime.Compare(b.StartTime)) })
	return all
}

// tree draws the spans below one.
func tree(spans []madeSpan, trace trace.TraceID, parent trace.SpanID, depth int) string {
	var b strings.Builder
	for _, span := range spans {
		if span.SpanContext.TraceID() == trace && span.Parent.SpanID() == parent {
			fmt.Fprintf(&b, "%s%s by %s\n", strings.Repeat("  ", depth), span.Name, span.by)
			b.WriteString(tree(spans, trace, span.SpanContext.SpanID(), depth+1))
		}
	}
	return b.String()
}

// wantStory holds the spans below the caller's to what they should be.
func (s *site) wantStory(want string) []madeSpan {
	s.t.Helper()
	id, err := trace.TraceIDFromHex(callerTrace)
	if err != nil {
		s.t.Fatal(err)
	}
	parent, err := trace.SpanIDFromHex(callerSpan)
	if err != nil {
		s.t.Fatal(err)
	}
	spans := s.spans()
	if got := tree(spans, id, parent, 0); got != want {
		s.t.Errorf("the story is\n%s\nwant\n%s", got, want)
	}
	return spans
}
