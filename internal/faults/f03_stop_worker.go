package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// stopWorker stops a worker for two leases, while others take all of its attempts, of
// whom half make them and half hold on to them, and then has it do all that a lease
// allows: what it tries meets tasks that have ended, and tasks that are leased to
// another.
var stopWorker = Fault{
	ID: "F3", Name: "SIGSTOP a worker for two leases, SIGCONT, it reports", Topologies: everywhere, Short: true,
	Run: func(ctx context.Context, w *World) (Figures, error) {
		// Each is tried in five ways, twice.
		held := 1000
		if w.Short {
			held = 200
		}
		if err := w.StartLoad(ctx, Load{NoWorkers: true, Rate: 250}); err != nil {
			return nil, err
		}
		stale, err := w.StartWorker(WorkerConfig{Via: "stale", MaxInFlight: held, Kind: KindStale})
		if err != nil {
			return nil, err
		}
		if err := w.Ledger.AwaitHeld(ctx, stale.Via, held); err != nil {
			return nil, err
		}
		if err := stale.Signal(syscall.SIGSTOP); err != nil {
			return nil, err
		}
		stopped := time.Now()
		if err := w.startWorkers(); err != nil {
			return nil, err
		}
		var holders []*Worker
		for i := range w.Workers {
			one, err := w.StartWorker(WorkerConfig{Via: fmt.Sprintf("holder-%d", i), MaxInFlight: 1000, Kind: KindHold})
			if err != nil {
				return nil, err
			}
			holders = append(holders, one)
		}
		if err := w.Ledger.AwaitRedelivered(ctx, stale.Via); err != nil {
			return nil, err
		}
		if err := w.Pause(ctx, time.Until(stopped.Add(2*lease))); err != nil {
			return nil, err
		}
		leased := w.Ledger.InOtherHands(stale.Via)
		if leased < held/10 {
			w.Broken("only %d of the %d tasks that the worker held are leased to another when it goes on, which shows little", leased, held)
		}
		if err := stale.Signal(syscall.SIGCONT); err != nil {
			return nil, err
		}
		want := held * rounds * 5
		if err := w.Ledger.AwaitTrials(ctx, want); err != nil {
			return nil, err
		}
		for _, one := range holders {
			if err := one.Kill(); err != nil {
				return nil, err
			}
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		var f Figures
		f.Add("held", held)
		f.Add("leased to another by then", leased)
		f.Add("tried by calls", w.Ledger.Trials())
		return f, nil
	},
}
