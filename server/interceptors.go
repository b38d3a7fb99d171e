package server

import (
	"context"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"

	"github.com/retryd/retryd/server/access"
)

// unary is the one interceptor of unary calls, since a chain costs each call a
// closure for every link. From the outside in: a call is logged with the status
// that its client gets, also after a panic; errors get their place in the table;
// and nothing passes before the server is open.
func (s *Server) unary() grpc.UnaryServerInterceptor {
	guard := recovery.UnaryServerInterceptor(s.recovery())
	inner := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		start := time.Now()
		resp, err := guard(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			resp, err := s.serve(ctx, req, info.FullMethod, handler)
			if err != nil {
				return nil, s.failures.status(ctx, err)
			}
			return resp, nil
		})
		s.finished.call(ctx, start, req, info, err)
		return resp, err
	}
	inner = s.traced(inner)
	look := s.cfg.Calls
	if look == nil {
		return inner
	}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return look(ctx, req, info, func(ctx context.Context, req any) (any, error) { return inner(ctx, req, info, handler) })
	}
}

// serve calls the handler, if the server is open and the caller may call it.
func (s *Server) serve(ctx context.Context, req any, method string, handler grpc.UnaryHandler) (any, error) {
	if err := s.gate(method); err != nil {
		return nil, err
	}
	if err := s.permit(ctx, method, req); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

// stream is the one interceptor of streams, and does the same, but for those that
// there is no room for.
func (s *Server) stream() grpc.StreamServerInterceptor {
	guard := recovery.StreamServerInterceptor(s.recovery())
	inner := func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		start := time.Now()
		err := guard(srv, stream, info, func(srv any, stream grpc.ServerStream) error {
			return s.failures.status(stream.Context(), s.serveStream(srv, stream, info, handler))
		})
		s.finished.stream(stream, start, info, err)
		return err
	}
	look := s.cfg.Streams
	if look == nil {
		return inner
	}
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return look(srv, stream, info, func(srv any, stream grpc.ServerStream) error { return inner(srv, stream, info, handler) })
	}
}

// serveStream calls the handler, if the server is open, can read what comes, and knows the
// caller.
func (s *Server) serveStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := s.gate(info.FullMethod); err != nil {
		return err
	}
	if err := refuseCompressed(stream.Context()); err != nil {
		return err
	}
	return s.authenticate(srv, stream, info, func(srv any, stream grpc.ServerStream) error {
		return s.admitStream(srv, stream, info, handler)
	})
}

// admitStream calls the handler of a stream whose caller is known, if there is room.
func (s *Server) admitStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, end := s.beginSession(stream.Context(), info.FullMethod)
	defer end()
	leave, err := s.enter(ctx, info.FullMethod)
	if err != nil {
		return err
	}
	defer leave()
	counted := begin(stream, !info.IsClientStream)
	defer counted.end(stream.Context())
	if session := access.SessionOf(ctx); session != nil {
		return handler(srv, &permittedStream{streamWithContext{counted, ctx}, session})
	}
	return handler(srv, counted)
}

// streamWithContext is a stream with a context of its own.
type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // as every stream's
}

// Context returns it.
func (s *streamWithContext) Context() context.Context { return s.ctx }

// recovery has a panic answered.
func (s *Server) recovery() recovery.Option {
	return recovery.WithRecoveryHandlerContext(s.panicked)
}
