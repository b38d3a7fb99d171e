package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/server/access"
)

// unary is the one interceptor of unary calls, since a chain costs each call a
// closure for every link. From the outside in: a call is logged with the status
// that its client gets, also after a panic; errors get their place in the table;
// and nothing passes before the server is open.
//
// As most calls are not logged, the library, which gathers its fields first, is
// called for the others only.
func (s *Server) unary() grpc.UnaryServerInterceptor {
	log := logging.UnaryServerInterceptor(s.callLogger(), logOptions()...)
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
		if !s.logs(ctx, err) {
			return resp, err
		}
		return log(startedAt(ctx, start), req, info, func(context.Context, any) (any, error) { return resp, err })
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
	log := logging.StreamServerInterceptor(s.callLogger(), logOptions()...)
	guard := recovery.StreamServerInterceptor(s.recovery())
	inner := func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		start := time.Now()
		err := guard(srv, stream, info, func(srv any, stream grpc.ServerStream) error {
			return s.failures.status(stream.Context(), s.serveStream(srv, stream, info, handler))
		})
		if !s.logs(stream.Context(), err) {
			return err
		}
		return log(srv, &startedStream{stream, startedAt(stream.Context(), start)}, info, func(any, grpc.ServerStream) error { return err })
	}
	look := s.cfg.Streams
	if look == nil {
		return inner
	}
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return look(srv, stream, info, func(srv any, stream grpc.ServerStream) error { return inner(srv, stream, info, handler) })
	}
}

// serveStream calls the handler, if the server is open, knows the caller, and has
// room.
func (s *Server) serveStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := s.gate(info.FullMethod); err != nil {
		return err
	}
	ctx, end, err := s.beginSession(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer end()
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	counted := begin(stream, !info.IsClientStream)
	defer counted.end(stream.Context())
	if session := access.SessionOf(ctx); session != nil {
		return handler(srv, &permittedStream{startedStream{counted, ctx}, session})
	}
	return handler(srv, counted)
}

func logOptions() []logging.Option {
	return []logging.Option{
		logging.WithLogOnEvents(logging.FinishCall),
		logging.WithLevels(levelOf),
		logging.WithErrorFields(func(err error) logging.Fields { return logging.Fields{"reason", reasonOf(err)} }),
	}
}

// logs says whether the end of a call is logged.
func (s *Server) logs(ctx context.Context, err error) bool {
	return s.log.Enabled(ctx, slog.Level(levelOf(status.Code(err))))
}

type startKey struct{}

// startedAt is ctx with the time when its call began.
func startedAt(ctx context.Context, start time.Time) context.Context {
	return context.WithValue(ctx, startKey{}, start)
}

// startedStream is a stream with a context of its own.
type startedStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // as every stream's
}

// Context returns it.
func (s *startedStream) Context() context.Context { return s.ctx }

// levelOf is the level at which a finished call is logged. What went wrong inside
// the server is logged as an error where it is found.
func levelOf(code codes.Code) logging.Level {
	switch code {
	case codes.OK, codes.Canceled:
		return logging.LevelDebug
	case codes.Unauthenticated, codes.PermissionDenied:
		// Denials have lines of their own, of which no flood makes too many.
		return logging.LevelDebug
	default:
		return logging.LevelInfo
	}
}

// reasonOf is the reason that an error tells its caller.
func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// callLogger takes from a finished call what a line holds. The error's text is
// not in it: it may repeat what the caller has sent.
func (s *Server) callLogger() logging.Logger {
	return logging.LoggerFunc(func(ctx context.Context, level logging.Level, _ string, fields ...any) {
		var service string
		at := slog.Level(level)
		attrs := make([]slog.Attr, 0, 5)
		for i := logging.Fields(fields).Iterator(); i.Next(); {
			switch key, value := i.At(); key {
			case "grpc.service":
				service, _ = value.(string)
			case "grpc.method":
				method, _ := value.(string)
				attrs = append(attrs, slog.String("method", service+"/"+method))
			case "grpc.code":
				attrs = append(attrs, slog.Any("code", value))
			case "reason":
				attrs = append(attrs, slog.Any("reason", value))
				if value == quotaExceeded {
					// As denials have, it has lines of its own.
					at = slog.LevelDebug
				}
			case "peer.address":
				attrs = append(attrs, slog.Any("peer", value))
			}
		}
		if start, ok := ctx.Value(startKey{}).(time.Time); ok {
			attrs = append(attrs, slog.Duration("duration", time.Since(start)))
		}
		s.log.LogAttrs(ctx, at, "finished call", attrs...)
	})
}

// recovery has a panic answered.
func (s *Server) recovery() recovery.Option {
	return recovery.WithRecoveryHandlerContext(s.panicked)
}
