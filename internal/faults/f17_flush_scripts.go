package main

import (
	"context"
	"time"
)

// flushScripts has Redis forget all scripts ten times a second.
var flushScripts = Fault{
	ID: "F17", Name: "SCRIPT FLUSH every 100 ms", Topologies: []Topology{Standalone}, Short: true,
	Run: func(ctx context.Context, w *World) (Figures, error) {
		if err := w.StartLoad(ctx, Load{}); err != nil {
			return nil, err
		}
		if _, err := w.startProbes(ctx); err != nil {
			return nil, err
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		began, flushes := time.Now(), 0
		for time.Since(began) < w.Between(30*time.Second, 5*time.Second) {
			if _, err := w.Redis.One.Command(ctx, "SCRIPT", "FLUSH"); err != nil {
				return nil, err
			}
			flushes++
			if err := w.Pause(ctx, 100*time.Millisecond); err != nil {
				return nil, err
			}
		}
		w.StopReports()
		// The probes repeat nothing, so that each failed call is one of these.
		failed := 0
		for reason, n := range w.Ledger.Refusals() {
			failed += n
			w.Broken("%d calls failed with %s", n, reason)
		}
		var f Figures
		f.Add("flushes", flushes)
		f.Add("failed calls", failed)
		w.lateness(&f, began)
		return f, nil
	},
}
