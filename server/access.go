package server

import (
	"context"
	"time"

	"github.com/retryd/retryd/server/access"
)

// lapseGrace is how long a stream may go on to settle what it has begun after its
// caller's credential has expired or was taken away.
const lapseGrace = 3 * time.Second

// identify returns ctx with who calls, before anything of the call is read.
func (s *Server) identify(ctx context.Context, method string) (context.Context, error) {
	if err := refuseCompressed(ctx); err != nil {
		return nil, err
	}
	if s.cfg.Access == nil {
		return ctx, nil
	}
	with, err := s.cfg.Access.Identify(ctx, method)
	if err != nil {
		// One that fails over and over costs its client next to nothing.
		connOf(ctx).charge(freeOfCall)
		return nil, s.failures.status(ctx, err)
	}
	return with, nil
}

// permit decides whether the caller may have a request of a unary call carried out.
func (s *Server) permit(ctx context.Context, method string, req any) error {
	if s.cfg.Access == nil {
		return nil
	}
	return s.cfg.Access.Permit(ctx, method, req)
}

// beginSession returns ctx with who calls and, where that is asked for, with a
// session, which ends with end.
func (s *Server) beginSession(ctx context.Context, method string) (with context.Context, end func(), err error) {
	with, err = s.identify(ctx, method)
	if err != nil || s.cfg.Access == nil {
		return with, func() {}, err
	}
	with, end = s.cfg.Access.Begin(with, method)
	return with, end, nil
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
