package main

import (
	"context"
	"syscall"
	"time"
)

// stopRedis stops Redis for a while, over and over: what was sent to it is done when
// it goes on, though who sent it has long given up and asks again.
var stopRedis = Fault{
	ID: "F7", Name: "SIGSTOP Redis for 0.5 to 5 s", Topologies: []Topology{Standalone},
	Audited: executions,
	Run: func(ctx context.Context, w *World) (Figures, error) {
		if err := w.StartLoad(ctx, Load{}); err != nil {
			return nil, err
		}
		probes, err := w.startProbes(ctx)
		if err != nil {
			return nil, err
		}
		redis := w.startPulse(ctx)
		defer redis.stop()
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		stops := []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 3500 * time.Millisecond, 5 * time.Second}
		if w.Short {
			stops = stops[2:4]
		}
		w.Rand.Shuffle(len(stops), func(i, j int) { stops[i], stops[j] = stops[j], stops[i] })
		began := time.Now()
		var resume time.Duration
		for _, d := range stops {
			if err := w.Redis.One.Signal(syscall.SIGSTOP); err != nil {
				return nil, err
			}
			if err := w.Pause(ctx, d); err != nil {
				return nil, err
			}
			if err := w.Redis.One.Signal(syscall.SIGCONT); err != nil {
				return nil, err
			}
			goesOn := time.Now()
			after, err := w.awaitServing(ctx, probes, goesOn)
			if err != nil {
				return nil, err
			}
			if resume = max(resume, after); after > time.Second+redis.stall(goesOn, after) {
				w.Broken("a server took the first report %s after Redis went on, want at most 1 s", after)
			}
			if err := w.Steady(ctx); err != nil {
				return nil, err
			}
			if err := w.Pause(ctx, 3*time.Second); err != nil {
				return nil, err
			}
		}
		var f Figures
		f.Add("stops", len(stops))
		f.Add("serving after", resume.Round(time.Millisecond))
		w.lateness(&f, began)
		return f, nil
	},
}
