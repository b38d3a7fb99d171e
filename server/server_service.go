package server

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server/wire"
)

// serverService tells how the server is set up. It embeds the Unsafe type, so that a
// new RPC breaks the build and not the caller.
type serverService struct {
	retryv1.UnsafeServerServiceServer
	s *Server
}

// GetServerInfo answers from what is known, so that it helps also where the store
// cannot be reached.
func (h *serverService) GetServerInfo(context.Context, *retryv1.GetServerInfoRequest) (*retryv1.GetServerInfoResponse, error) {
	info := h.s.sched.Info()
	return &retryv1.GetServerInfoResponse{
		Version:     h.s.cfg.Version,
		Store:       wire.StoreInfo(&info),
		ClockOffset: durationpb.New(time.Duration(info.ClockOffsetMS) * time.Millisecond),
	}, nil
}
