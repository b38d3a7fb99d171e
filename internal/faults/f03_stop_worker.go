package main

import (
	"context"
	"syscall"
	"time"
)

// stopWorker stops a worker for two leases, while others make all of its attempts,
// and then has it do all that a lease allows.
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
		if err := w.Ledger.AwaitRedelivered(ctx, stale.Via); err != nil {
			return nil, err
		}
		if err := w.Pause(ctx, time.Until(stopped.Add(2*lease))); err != nil {
			return nil, err
		}
		if err := stale.Signal(syscall.SIGCONT); err != nil {
			return nil, err
		}
		want := held * rounds * 5
		if err := w.Ledger.AwaitTrials(ctx, want); err != nil {
			return nil, err
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		var f Figures
		f.Add("held", held)
		f.Add("tried by calls", w.Ledger.Trials())
		return f, nil
	},
}
