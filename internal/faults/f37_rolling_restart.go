package main

import (
	"context"
	"time"
)

// rollingRestart stops and starts the servers in turn, as an operator with a new
// version does: each as soon as the one before it serves again.
var rollingRestart = Fault{
	ID: "F37", Name: "rolling restart of 3 servers", Topologies: []Topology{Standalone}, Short: true,
	Run: func(ctx context.Context, w *World) (Figures, error) {
		if err := w.StartLoad(ctx, Load{}); err != nil {
			return nil, err
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		began := time.Now()
		rounds := 5
		if w.Short {
			rounds = 1
		}
		var longest time.Duration
		for range rounds {
			round := time.Now()
			for _, s := range w.Servers {
				if err := s.Stop(); err != nil {
					return nil, err
				}
				if err := s.Start(ctx); err != nil {
					return nil, err
				}
			}
			longest = max(longest, time.Since(round))
			if err := w.Steady(ctx); err != nil {
				return nil, err
			}
		}
		// What a worker was given it may hold; what nobody was given may not be late.
		late := worst(w.Ledger.FirstLateness(began))
		if late > 2*time.Second {
			w.Broken("an attempt was handed out %s after it fell due, want at most 2 s", late)
		}
		w.StopReports()
		failed := 0
		for reason, n := range w.Ledger.Refusals() {
			failed += n
			w.Broken("%d calls failed with %s after all repeats", n, reason)
		}
		var f Figures
		f.Add("restarts", rounds*len(w.Servers))
		f.Add("longest round", longest.Round(time.Millisecond))
		f.Add("failed calls", failed)
		f.Add("longest wait of reporters", w.Ledger.Gap(viaAll, began))
		f.Add("worst lateness", late)
		return f, nil
	},
}
