package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/internal/logbound"
)

// callLog logs calls and streams that have ended. Those that ended with an error are
// bounded for each kind of end, so that a caller which is refused over and over neither
// fills the disk nor hides what fails besides.
//
// As most calls are not logged, the library, which gathers its fields first, is called
// for the others only.
type callLog struct {
	log        *slog.Logger
	logsUnary  grpc.UnaryServerInterceptor
	logsStream grpc.StreamServerInterceptor
	bounds     logbound.Each[callEnd]
}

func newCallLog(log *slog.Logger) *callLog {
	l := &callLog{log: log}
	options := []logging.Option{
		logging.WithLogOnEvents(logging.FinishCall),
		logging.WithErrorFields(func(err error) logging.Fields { return logging.Fields{"reason", reasonOf(err)} }),
	}
	l.logsUnary = logging.UnaryServerInterceptor(logging.LoggerFunc(l.line), options...)
	l.logsStream = logging.StreamServerInterceptor(logging.LoggerFunc(l.line), options...)
	return l
}

// call logs a unary call that has ended with err.
func (l *callLog) call(ctx context.Context, began time.Time, req any, info *grpc.UnaryServerInfo, err error) {
	if of, ok := l.admit(ctx, began, err); ok {
		ctx = context.WithValue(ctx, finishedCallKey{}, of)
		_, _ = l.logsUnary(ctx, req, info, func(context.Context, any) (any, error) { return nil, err })
	}
}

// stream logs a stream that has ended with err.
func (l *callLog) stream(stream grpc.ServerStream, began time.Time, info *grpc.StreamServerInfo, err error) {
	if of, ok := l.admit(stream.Context(), began, err); ok {
		ctx := context.WithValue(stream.Context(), finishedCallKey{}, of)
		_ = l.logsStream(nil, &streamWithContext{stream, ctx}, info, func(any, grpc.ServerStream) error { return err })
	}
}

// finishedCall is what the library does not know of a call that it logs.
type finishedCall struct {
	began time.Time
	level slog.Level
	// bound is nil where there may be any number of lines.
	bound *logbound.Bound
}

type finishedCallKey struct{}

// admit says whether the end of a call is logged.
func (l *callLog) admit(ctx context.Context, began time.Time, err error) (of finishedCall, ok bool) {
	end := callEnd{status.Code(err), reasonOf(err)}
	of = finishedCall{began: began, level: end.level()}
	if !l.log.Enabled(ctx, of.level) {
		return of, false
	}
	if of.level == slog.LevelDebug {
		// Whoever asks for these wants to see every call.
		return of, true
	}
	of.bound = l.bounds.Of(end)
	return of, of.bound.Allow()
}

// line takes from a finished call what a line holds. The error's text is not in it: it
// may repeat what the caller has sent.
func (l *callLog) line(ctx context.Context, _ logging.Level, _ string, fields ...any) {
	of, _ := ctx.Value(finishedCallKey{}).(finishedCall)
	var service string
	attrs := make([]slog.Attr, 0, 6)
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
	attrs = append(attrs, slog.Any("duration_ms", millis(time.Since(of.began))))
	if of.bound != nil {
		attrs = of.bound.Append(attrs)
	}
	l.log.LogAttrs(ctx, of.level, "finished call", attrs...)
}

// millis is a duration in milliseconds, with three decimals: slog would write that of a
// stream which was open for long with an exponent, and one that is a duration in
// nanoseconds or with a unit, as its format is.
func millis(d time.Duration) json.Number {
	return json.Number(strconv.FormatFloat(float64(d.Microseconds())/1e3, 'f', 3, 64))
}

// callEnd is how a call has ended. What gRPC itself refuses has no reason.
type callEnd struct {
	code   codes.Code
	reason string
}

// level is the level at which it is logged. What went wrong inside the server is logged
// as an error where it is found.
func (e callEnd) level() slog.Level {
	switch e.code {
	case codes.OK, codes.Canceled:
		return slog.LevelDebug
	case codes.Unauthenticated, codes.PermissionDenied:
		// Denials have lines of their own.
		return slog.LevelDebug
	}
	if e.reason == quotaExceeded {
		// So has this.
		return slog.LevelDebug
	}
	return slog.LevelInfo
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
