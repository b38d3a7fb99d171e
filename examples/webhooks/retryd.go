package main

import (
	"context"
	"log/slog"
	"net"

	"golang.org/x/sync/errgroup"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/server"
)

// retryd is a server in this process that keeps everything in memory, like
// `retryd dev`.
type retryd struct {
	addr string
	stop func() error
}

func startRetryd(ctx context.Context) (*retryd, error) {
	log := slog.New(slog.DiscardHandler)
	sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: log})
	if err != nil {
		return nil, err
	}
	srv, err := server.New(server.Config{Log: log}, sched)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}

	// The scheduler is stopped last: it takes outcomes to the end.
	scheduling, unschedule := context.WithCancel(context.WithoutCancel(ctx))
	serving, unserve := context.WithCancel(scheduling)
	var served, scheduled errgroup.Group
	scheduled.Go(func() error { return sched.Run(scheduling) })
	served.Go(func() error { return srv.Run(serving, lis) })
	return &retryd{
		addr: lis.Addr().String(),
		stop: func() error {
			unserve()
			err := served.Wait()
			unschedule()
			if serr := scheduled.Wait(); err == nil {
				err = serr
			}
			return err
		},
	}, nil
}
