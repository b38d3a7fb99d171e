package server

import (
	"context"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	"google.golang.org/grpc"

	"github.com/retryd/retryd/server/access"
)

// lapseGrace is how long a stream may go on to settle what it has begun after its
// caller's credential has expired or was taken away.
const lapseGrace = 3 * time.Second

// authentication has calls and streams prove who makes them, before anything of a message
// is read: as unary calls are streams to gRPC, they pass it as such. The rules say which
// need no credential; what has no rule is not among them.
func (s *Server) authentication() grpc.StreamServerInterceptor {
	if s.cfg.Access == nil {
		return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return handler(srv, stream)
		}
	}
	asks := selector.MatchFunc(func(ctx context.Context, _ interceptors.CallMeta) bool { return s.cfg.Access.Asks(methodOf(ctx)) })
	return selector.StreamServerInterceptor(auth.StreamServerInterceptor(s.identify), asks)
}

// identify returns ctx with who calls.
func (s *Server) identify(ctx context.Context) (context.Context, error) {
	with, err := s.cfg.Access.Identify(ctx, methodOf(ctx))
	if err != nil {
		// One that fails over and over costs its client next to nothing.
		connOf(ctx).charge(freeOfCall)
		return nil, s.failures.status(ctx, err)
	}
	return with, nil
}

// methodOf is the full name of the method that is called. Where there is none it is
// empty, for which there is no rule.
func methodOf(ctx context.Context) string {
	method, _ := grpc.Method(ctx)
	return method
}

// permit decides whether the caller may have a request of a unary call carried out.
func (s *Server) permit(ctx context.Context, method string, req any) error {
	if s.cfg.Access == nil {
		return nil
	}
	return s.cfg.Access.Permit(ctx, method, req)
}

// beginSession returns ctx with a session, where it is asked who calls, which ends with
// end.
func (s *Server) beginSession(ctx context.Context, method string) (with context.Context, end func()) {
	if s.cfg.Access == nil {
		return ctx, func() {}
	}
	return s.cfg.Access.Begin(ctx, method)
}

// permittedStream takes no message that its caller may not send.
type permittedStream struct {
	streamWithContext
	session *access.Session
}

// RecvMsg receives a message.
func (s *permittedStream) RecvMsg(m any) error {
	if err := s.streamWithContext.RecvMsg(m); err != nil {
		return err //nolint:wrapcheck // it is gRPC's own status
	}
	return s.session.Permit(s.Context(), m)
}

// Denials is how many calls and streams were turned away for one of
// [access.Reasons].
func (s *Server) Denials(reason string) int64 {
	if s.cfg.Access == nil {
		return 0
	}
	return s.cfg.Access.Denials(reason)
}
