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

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

const (
	// defaultDeadline is that of a unary call which brings none, and what
	// NextAttempt gets beyond its wait.
	defaultDeadline = 5 * time.Second
	// maxDeadline is the longest that any unary call may take.
	maxDeadline = 65 * time.Second
)

// logUnary logs calls once they have ended: as most of them are not logged, the
// library, which else gathers its fields for each, is called for the others only.
func (s *Server) logUnary() grpc.UnaryServerInterceptor {
	log := logging.UnaryServerInterceptor(s.callLogger(), logOptions()...)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		start := time.Now()
		resp, err := handler(ctx, req)
		if !s.logs(ctx, err) {
			return resp, err
		}
		return log(startedAt(ctx, start), req, info, func(context.Context, any) (any, error) { return resp, err })
	}
}

// logStream does the same for streams.
func (s *Server) logStream() grpc.StreamServerInterceptor {
	log := logging.StreamServerInterceptor(s.callLogger(), logOptions()...)
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		start := time.Now()
		err := handler(srv, stream)
		if !s.logs(stream.Context(), err) {
			return err
		}
		return log(srv, &startedStream{stream, startedAt(stream.Context(), start)}, info, func(any, grpc.ServerStream) error { return err })
	}
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
	if code == codes.OK || code == codes.Canceled {
		return logging.LevelDebug
	}
	return logging.LevelInfo
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
			case "peer.address":
				attrs = append(attrs, slog.Any("peer", value))
			}
		}
		if start, ok := ctx.Value(startKey{}).(time.Time); ok {
			attrs = append(attrs, slog.Duration("duration", time.Since(start)))
		}
		s.log.LogAttrs(ctx, slog.Level(level), "finished call", attrs...)
	})
}

func (s *Server) recoverUnary() grpc.UnaryServerInterceptor {
	return recovery.UnaryServerInterceptor(recovery.WithRecoveryHandlerContext(s.panicked))
}

func (s *Server) recoverStream() grpc.StreamServerInterceptor {
	return recovery.StreamServerInterceptor(recovery.WithRecoveryHandlerContext(s.panicked))
}

// mapUnary gives errors their place in the table.
func (s *Server) mapUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	if err != nil {
		return nil, s.failures.status(ctx, err)
	}
	return resp, nil
}

func (s *Server) mapStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return s.failures.status(stream.Context(), handler(srv, stream))
}

// boundUnary gives every unary call a deadline, and none a far one: a caller
// that has gone away must not keep the server at work.
func boundUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	most := maxDeadline
	if ctx.Value(noDeadlineKey{}) != nil {
		most = defaultDeadline
		if next, ok := req.(*retryv1.NextAttemptRequest); ok {
			most = min(defaultDeadline+max(0, next.GetWait().AsDuration()), maxDeadline)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return handler(ctx, req)
}
