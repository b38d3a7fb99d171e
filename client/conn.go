package client

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

const (
	defaultRetryTimeout = 30 * time.Second
	// tryTimeout bounds one try of a call, so that a server that hangs does not
	// use up all of the caller's time.
	tryTimeout = 10 * time.Second
)

// conn is a connection whose unary calls are repeated where that is safe, and
// end in an [*Error].
type conn struct {
	over      grpc.ClientConnInterface
	namespace string
	budget    time.Duration
	log       *slog.Logger
	// propagator is nil where trace contexts are left alone.
	propagator Propagator
}

// NewStream opens a stream of the connection below; streams are never repeated.
func (c *conn) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return c.over.NewStream(ctx, desc, method, opts...)
}

// Invoke makes a unary call.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	args = c.withNamespace(args)
	ctx = c.traced(ctx)
	class := repeatable(method, args)
	if class == repeatNever {
		return callError(c.over.Invoke(ctx, method, args, reply, opts...))
	}
	if class == repeatRefused {
		// Without a connection nothing was sent, so nothing can be lost: wait
		// for one, since the failure to connect could not be told from the loss
		// of an answer.
		opts = append([]grpc.CallOption{grpc.WaitForReady(true)}, opts...)
	}
	limit := tryTimeout
	if r, ok := args.(*retryv1.NextAttemptRequest); ok {
		limit += max(0, r.GetWait().AsDuration())
	}
	pace := c.pace(ctx)
	for {
		try, cancel := context.WithTimeout(ctx, limit)
		err := callError(c.over.Invoke(try, method, args, reply, opts...))
		cancel()
		e := asError(err)
		if e == nil || !passing(e, class) || !pace.wait(ctx, e.RetryDelay) {
			return err
		}
		c.log.DebugContext(ctx, "call repeated", "method", method, "code", e.Code.String(), "reason", e.Reason)
	}
}

// passing tells whether an error may be gone at the next try, for a call of
// that class.
func passing(e *Error, class repeat) bool {
	if class == repeatRefused {
		// Written, if not safely: a lease may have been given.
		return e.RetryDelay > 0 && !e.Is(ErrDurabilityNotReached)
	}
	switch e.Code {
	case codes.Unavailable:
		return true
	case codes.ResourceExhausted:
		// Without a delay it is a message over its limit, which no wait mends.
		return e.RetryDelay > 0
	case codes.DeadlineExceeded, codes.Canceled:
		// Not the caller's own time, which pace.wait looks after, but that of
		// this try, or a server or proxy that went away.
		return e.Reason == ""
	default:
		return false
	}
}

// withNamespace fills in an empty namespace, on a copy: the request is the
// caller's.
func (c *conn) withNamespace(args any) any {
	msg, ok := args.(proto.Message)
	if c.namespace == "" || !ok {
		return args
	}
	m := msg.ProtoReflect()
	field := m.Descriptor().Fields().ByName("namespace")
	if field == nil || field.Kind() != protoreflect.StringKind || m.Get(field).String() != "" {
		return args
	}
	filled := proto.Clone(msg)
	filled.ProtoReflect().Set(field, protoreflect.ValueOfString(c.namespace))
	return filled
}

func (c *conn) pace(ctx context.Context) *pace {
	p := &pace{budget: c.budget}
	p.deadline, p.bounded = ctx.Deadline()
	return p
}
