package main

import (
	"context"
	"fmt"
	"time"
)

// killWorker kills workers that hold a hundred leases each, and wants another to have
// each attempt within a lease and a second, as the same attempt.
var killWorker = Fault{
	ID: "F2", Name: "kill -9 a worker with 100 leases", Topologies: everywhere, Short: true,
	Run: func(ctx context.Context, w *World) (Figures, error) {
		const leases = 100
		if err := w.StartLoad(ctx, Load{NoWorkers: true}); err != nil {
			return nil, err
		}
		victims := make([]*Worker, 5)
		if w.Short {
			victims = victims[:1]
		}
		for i := range victims {
			var err error
			if victims[i], err = w.StartWorker(WorkerConfig{Via: fmt.Sprintf("victim-%d", i), MaxInFlight: leases, Kind: KindHold}); err != nil {
				return nil, err
			}
			if err := w.Ledger.AwaitHeld(ctx, victims[i].Via, leases); err != nil {
				return nil, err
			}
		}
		if err := w.startWorkers(); err != nil {
			return nil, err
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		var after []time.Duration
		for _, victim := range victims {
			// It renews its leases, and dies at some moment between two renewals.
			if err := w.Pause(ctx, time.Duration(w.Rand.Int64N(int64(lease)))); err != nil {
				return nil, err
			}
			killed := time.Now()
			if err := victim.Kill(); err != nil {
				return nil, err
			}
			if err := w.Ledger.AwaitRedelivered(ctx, victim.Via); err != nil {
				return nil, err
			}
			came, _ := w.Ledger.Redeliveries(victim.Via)
			for _, r := range came {
				after = append(after, r.At.Sub(killed))
			}
		}
		last := worst(after)
		if limit := lease + time.Second; last > limit {
			w.Broken("an attempt of a killed worker came again after %s, want at most %s", last, limit)
		}
		var f Figures
		f.Add("leases", len(after))
		f.Add("again p50", percentile(after, 50))
		f.Add("p99", percentile(after, 99))
		f.Add("worst", last)
		return f, nil
	},
}
