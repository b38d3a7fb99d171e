package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// Run serves connections of lis until ctx ends. Then it says NOT_SERVING, has
// the scheduler hand out nothing more, tells every stream to leave, waits for
// calls and streams to end, but not longer than DrainTimeout, and cuts the rest.
// When it returns, nothing of it runs any more and lis is closed.
func (s *Server) Run(ctx context.Context, lis net.Listener) error {
	bounded := newBoundedListener(lis, s.cfg.MaxConnections, &s.counters, s.log)
	var g errgroup.Group
	served := make(chan struct{})
	g.Go(func() error {
		defer close(served)
		// It is told so when it was stopped before it had begun.
		if err := s.grpc.Serve(bounded); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			return fmt.Errorf("serve %s: %w", lis.Addr(), err)
		}
		return nil
	})
	following, stopFollowing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFollowing()
	if s.cfg.Access != nil {
		g.Go(func() error { return s.cfg.Access.Run(following) })
	}
	g.Go(func() error {
		// Whoever loses a right while the server drains loses it.
		defer stopFollowing()
		select {
		case <-ctx.Done():
		case <-served:
		}
		s.drain()
		return nil
	})
	err := g.Wait()
	s.streams.Wait()
	return err
}

// drain stops the server, gently for as long as it has time.
func (s *Server) drain() {
	s.log.Info("stopping: what is under way is brought to its end", "drain_timeout_ms", s.cfg.DrainTimeout.Milliseconds())
	s.health.Shutdown()
	s.sched.Drain()
	close(s.draining)
	timer := time.NewTimer(s.cfg.DrainTimeout)
	defer timer.Stop()
	var g errgroup.Group
	stopped := make(chan struct{})
	g.Go(func() error {
		defer close(stopped)
		s.grpc.GracefulStop()
		return nil
	})
	select {
	case <-stopped:
	case <-timer.C:
		s.log.Warn("calls and streams have not ended in time and are cut", "drain_timeout_ms", s.cfg.DrainTimeout.Milliseconds())
		s.grpc.Stop()
	}
	_ = g.Wait()
}
