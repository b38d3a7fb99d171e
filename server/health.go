package server

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// healthService is gRPC's own, but that its watches end when the server drains:
// they would last as long as their clients wish, and every stop would take the
// whole of DrainTimeout.
type healthService struct {
	*health.Server
	draining <-chan struct{}
}

// Watch tells a service's health and every change of it.
func (h *healthService) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-h.draining:
			cancel()
		case <-ended:
		}
	}()
	err := h.Server.Watch(req, &watchStream{ServerStreamingServer: stream, ctx: ctx})
	select {
	case <-h.draining:
		// The change may have been overtaken by the end: say it once more.
		_ = stream.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING})
		return goingAway()
	default:
		return err
	}
}

// watchStream is a watch with an end of its own.
type watchStream struct {
	grpc.ServerStreamingServer[healthpb.HealthCheckResponse]
	ctx context.Context
}

// Context ends when the watch does.
func (w *watchStream) Context() context.Context { return w.ctx }
