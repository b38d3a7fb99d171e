package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

const aTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// propagator moves the values of traceKey, and what must not go anywhere.
type propagator struct{}

type traceKey string

func (propagator) Inject(ctx context.Context, set func(key, value string)) {
	for _, key := range []string{"traceparent", "tracestate", "baggage"} {
		if v, ok := ctx.Value(traceKey(key)).(string); ok {
			set(key, v)
		}
	}
}

func (propagator) Extract(ctx context.Context, get func(key string) string) context.Context {
	for _, key := range []string{"traceparent", "tracestate", "baggage"} {
		ctx = context.WithValue(ctx, traceKey(key), get(key)) //nolint:fatcontext // three of them
	}
	return ctx
}

func traced(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, traceKey("traceparent"), aTrace)
	ctx = context.WithValue(ctx, traceKey("tracestate"), "a=1")
	return context.WithValue(ctx, traceKey("baggage"), "secret=1")
}

// headers notes those of each call in turn.
func headers(to *[]metadata.MD) client.Option {
	return client.WithDialOptions(grpc.WithChainUnaryInterceptor(func(
		ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		md, _ := metadata.FromOutgoingContext(ctx)
		*to = append(*to, md)
		return invoke(ctx, method, req, reply, cc, opts...)
	}))
}

func TestCallsCarryTheTraceContext(t *testing.T) {
	t.Parallel()
	tries := 0
	f := (&fake{failure: func(*retryv1.ReportFailureRequest) (*retryv1.ReportFailureResponse, error) {
		if tries++; tries == 1 {
			return nil, refusal(codes.Unavailable, "STORE_UNAVAILABLE", time.Millisecond)
		}
		return &retryv1.ReportFailureResponse{Decision: &retryv1.Decision{}}, nil
	}}).serve(t)
	var sent []metadata.MD
	c := f.client(t, client.WithPropagator(propagator{}), headers(&sent))
	if _, err := c.ReportFailure(traced(t.Context()), client.Task{ID: "a"}, errors.New("no luck")); err != nil {
		t.Fatal(err)
	}
	if len(sent) != 2 {
		t.Fatalf("%d tries were made, want 2", len(sent))
	}
	for _, md := range sent {
		if got := md.Get("traceparent"); len(got) != 1 || got[0] != aTrace {
			t.Errorf("traceparent is %q", got)
		}
		if got := md.Get("tracestate"); len(got) != 1 || got[0] != "a=1" {
			t.Errorf("tracestate is %q", got)
		}
		if got := md.Get("baggage"); got != nil {
			t.Errorf("baggage %q was sent", got)
		}
	}
	sent = nil
	for _, c := range []*client.Client{f.client(t, headers(&sent)), c} {
		ctx := t.Context()
		if _, err := c.ReportFailure(ctx, client.Task{ID: "a"}, errors.New("no luck")); err != nil {
			t.Fatal(err)
		}
	}
	for _, md := range sent {
		if got := md.Get("traceparent"); got != nil {
			t.Errorf("traceparent %q was sent where there was none", got)
		}
	}
}

func TestHandlersGoOnFromTheAttempt(t *testing.T) {
	t.Parallel()
	outcomes := make(chan *retryv1.Outcome, 1)
	f := (&fake{streams: []func(*fakeStream) error{func(s *fakeStream) error {
		if err := s.Send(&retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_Attempt{Attempt: &retryv1.Attempt{
			TaskId: "a", Attempt: 2, LeaseToken: "token", Traceparent: aTrace, Tracestate: "a=1",
		}}}); err != nil {
			return err
		}
		o, err := s.outcome()
		if err != nil {
			return err
		}
		outcomes <- o
		s.confirm(o)
		return s.mute()
	}}}).serve(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w, err := client.NewWorker(f.client(t, client.WithPropagator(propagator{})), []string{"q"}, client.WithSettled(func(client.Settled) { stop() }))
	if err != nil {
		t.Fatal(err)
	}
	err = w.Run(ctx, func(ctx context.Context, a *client.Attempt) error {
		for key, want := range map[string]string{"traceparent": aTrace, "tracestate": "a=1", "baggage": ""} {
			if got := ctx.Value(traceKey(key)); got != want {
				t.Errorf("the handler's %s is %v, want %q", key, got, want)
			}
		}
		if a.Traceparent != aTrace || a.Tracestate != "a=1" {
			t.Errorf("the attempt came with %q and %q", a.Traceparent, a.Tracestate)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if o := <-outcomes; o.GetTraceparent() != aTrace || o.GetTracestate() != "a=1" {
		t.Errorf("the outcome carries %q and %q", o.GetTraceparent(), o.GetTracestate())
	}
}
