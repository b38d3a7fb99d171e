package server

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// callStats sees what handlers cannot: how old a connection is, and whether an
// answer was written.
type callStats struct{ s *Server }

type (
	connKey      struct{}
	connStartKey struct{}
	answerKey    struct{}
)

// answer is that of a call which has leased an attempt: as long as it is not
// written, the attempt is nobody's.
type answer struct {
	mu      sync.Mutex
	lease   *scheduler.Delivery
	written bool
}

// handOver puts the lease into the answer under way. It is false when ctx is
// that of no such call.
func handOver(ctx context.Context, lease *scheduler.Delivery) bool {
	a, ok := ctx.Value(answerKey{}).(*answer)
	if !ok {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lease = lease
	return true
}

// connectionAge is how long the connection of a call has been open.
func connectionAge(ctx context.Context) time.Duration {
	start, ok := ctx.Value(connStartKey{}).(time.Time)
	if !ok {
		return 0
	}
	return time.Since(start)
}

// connOf is the connection of a call, nil where it did not come by a listener of
// ours.
func connOf(ctx context.Context) *boundedConn {
	conn, _ := ctx.Value(connKey{}).(*boundedConn)
	return conn
}

// TagConn notes when a connection begins, and which it is.
func (c *callStats) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	if addr, ok := info.RemoteAddr.(connAddr); ok {
		ctx = context.WithValue(ctx, connKey{}, addr.conn)
	}
	return context.WithValue(ctx, connStartKey{}, time.Now())
}

// HandleConn does nothing.
func (c *callStats) HandleConn(context.Context, stats.ConnStats) {}

// TagRPC makes room for a lease in the calls that may take one.
func (c *callStats) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if info.FullMethodName != retryv1.RetryService_NextAttempt_FullMethodName {
		return ctx
	}
	return context.WithValue(ctx, answerKey{}, &answer{})
}

// HandleRPC keeps the account of the connection, and gives a lease back whose
// answer was not written.
func (c *callStats) HandleRPC(ctx context.Context, event stats.RPCStats) {
	switch event := event.(type) {
	case *stats.OutPayload:
	case *stats.End:
		if conn := connOf(ctx); conn != nil {
			conn.ended(status.Code(event.Error) == codes.Canceled)
		}
	case *stats.Begin:
		if conn := connOf(ctx); conn != nil {
			conn.begun()
		}
		return
	case *stats.InPayload:
		if conn := connOf(ctx); conn != nil {
			conn.finished(event.WireLength)
		}
		return
	default:
		return
	}
	a, ok := ctx.Value(answerKey{}).(*answer)
	if !ok {
		return
	}
	a.mu.Lock()
	lease, written := a.lease, a.written
	_, ended := event.(*stats.End)
	a.written = a.written || !ended
	a.mu.Unlock()
	if ended && lease != nil && !written {
		c.s.giveBack(ctx, *lease)
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
