package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

const (
	// defaultDeadline is that of a unary call which brings none, and what
	// NextAttempt gets beyond its wait.
	defaultDeadline = 5 * time.Second
	// maxDeadline is the longest that any unary call may take.
	maxDeadline = 65 * time.Second
)

// registrar registers services whose unary calls are served as what they are to
// gRPC, streams of one message each way: so it is seen when a message has come,
// and whether an answer was written, without gRPC's stats, which cost each call a
// dozen allocations.
type registrar struct{ s *Server }

// RegisterService registers a service.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	own := *desc
	own.Methods, own.Streams = nil, slices.Clone(desc.Streams)
	unary := r.s.unary()
	for _, m := range desc.Methods {
		own.Streams = append(own.Streams, grpc.StreamDesc{StreamName: m.MethodName, Handler: r.s.unaryHandler("/"+desc.ServiceName+"/"+m.MethodName, m.Handler, unary)})
	}
	r.s.grpc.RegisterService(&own, impl)
}

func (s *Server) unaryHandler(method string, handle grpc.MethodHandler, unary grpc.UnaryServerInterceptor) grpc.StreamHandler {
	info := &grpc.StreamServerInfo{FullMethod: method}
	serve := func(srv any, stream grpc.ServerStream) error {
		reply, err := handle(srv, stream.Context(), stream.RecvMsg, unary)
		if err == nil {
			err = stream.SendMsg(reply)
		}
		if err != nil {
			s.takeBack(stream.Context())
		}
		return err //nolint:wrapcheck // it has been given its place in the table, or is gRPC's own
	}
	return func(srv any, stream grpc.ServerStream) (err error) {
		ctx := stream.Context()
		call := begin(stream, true)
		defer func() {
			// Of what is outside the interceptor, which recovers for itself.
			if p := recover(); p != nil {
				err = s.panicked(ctx, p)
				s.takeBack(ctx)
			}
			call.end(ctx)
		}()
		if err := refuseCompressed(ctx); err != nil {
			return err
		}
		return s.authenticate(srv, call, info, serve)
	}
}

// boundArrival gives a unary call that has no deadline, or a far one, an end
// before its message is there, which may never come.
func (s *Server) boundArrival(ctx context.Context, info *tap.Info) (context.Context, error) {
	if s.streaming[info.FullMethodName] {
		return ctx, nil
	}
	at, given := ctx.Deadline()
	most := defaultDeadline
	if info.FullMethodName == retryv1.RetryService_NextAttempt_FullMethodName {
		ctx = context.WithValue(ctx, answerKey{}, &answer{unbounded: !given})
		most = maxDeadline
	}
	if given {
		if time.Until(at) <= maxDeadline {
			return ctx, nil
		}
		most = maxDeadline
	}
	bound, cancel := context.WithTimeout(ctx, most)
	_ = cancel // gRPC ends ctx with the call, which ends this one
	return bound, nil
}

// answerKey is that of the answer under way in the context of NextAttempt.
type answerKey struct{}

// answer is that of a call which may lease an attempt: as long as it is not
// written, the attempt is nobody's.
type answer struct {
	// unbounded says that the call came without a deadline.
	unbounded bool

	mu    sync.Mutex
	lease *scheduler.Delivery
}

// withWait bounds a call that may wait, and has no deadline, by its wait.
func withWait(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	if a, ok := ctx.Value(answerKey{}).(*answer); ok && a.unbounded {
		return context.WithTimeout(ctx, defaultDeadline+wait)
	}
	return ctx, func() {}
}

// handOver puts the lease into the answer under way.
func handOver(ctx context.Context, lease *scheduler.Delivery) {
	if a, ok := ctx.Value(answerKey{}).(*answer); ok {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.lease = lease
	}
}

// takeBack gives the lease back that was in an answer which was not written, if
// there was one.
func (s *Server) takeBack(ctx context.Context) {
	a, ok := ctx.Value(answerKey{}).(*answer)
	if !ok {
		return
	}
	a.mu.Lock()
	lease := a.lease
	a.mu.Unlock()
	if lease != nil {
		s.giveBack(ctx, *lease)
	}
}

// giveBack takes deliveries back that nobody has got.
func (s *Server) giveBack(ctx context.Context, deliveries ...scheduler.Delivery) {
	ctx, cancel := detached(ctx)
	defer cancel()
	err := s.guarded(ctx, func() error { return s.sched.GiveBack(ctx, deliveries) })
	if err != nil {
		s.log.WarnContext(ctx, "attempts that were not sent could not be given back; their leases will expire",
			"attempts", len(deliveries), "error", err)
	}
}
