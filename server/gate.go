package server

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// gateUnary refuses calls until the server is open.
func (s *Server) gateUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := s.gate(info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

// gateStream refuses streams until the server is open, and those it has no room
// for.
func (s *Server) gateStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := s.gate(info.FullMethod); err != nil {
		return err
	}
	leave, err := s.enter(stream.Context())
	if err != nil {
		return err
	}
	defer leave()
	return handler(srv, stream)
}

// gate lets everything pass once the server is open, and before that what needs
// no store: health, reflection, and what the server is.
func (s *Server) gate(method string) error {
	if s.opened.Load() || !strings.HasPrefix(method, "/"+apiPackage) || method == retryv1.ServerService_GetServerInfo_FullMethodName {
		return nil
	}
	return &scheduler.Error{Kind: scheduler.KindUnavailable, Message: "the store has not been reached yet"}
}
