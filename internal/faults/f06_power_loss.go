package main

import (
	"context"
	"time"
)

// syncsCommand makes this program the start of another, whose syncs it has listened to:
// the path of a socket follows, and the other's command.
const syncsCommand = "syncs"

// losePower ends Redis as a loss of power does, at an appendfsync of "everysec" or
// "always": what it has written and not synced is gone.
func losePower(sync string) Fault {
	return Fault{
		ID: "F6 " + sync, Name: "power loss, appendfsync " + sync, Topologies: []Topology{Standalone},
		Setup: func(s *Setup) {
			s.Redis = []string{"--appendonly", "yes", "--appendfsync", sync}
			s.Synced = true
		},
		Run: func(ctx context.Context, w *World) (Figures, error) {
			if err := w.StartLoad(ctx, Load{}); err != nil {
				return nil, err
			}
			probes, err := w.startProbes(ctx)
			if err != nil {
				return nil, err
			}
			if err := w.Steady(ctx); err != nil {
				return nil, err
			}
			losses := 5
			if w.Short {
				losses = 1
			}
			var bytes int64
			var window time.Duration
			for range losses {
				if err := w.Pause(ctx, time.Duration(w.Rand.Int64N(int64(2*time.Second)))); err != nil {
					return nil, err
				}
				if err := w.Redis.One.Kill(); err != nil {
					return nil, err
				}
				gone := time.Now()
				lost, last, err := w.Redis.Syncs.cut(w.Redis.One.Dir())
				if err != nil {
					return nil, err
				}
				bytes += lost
				if err := w.Redis.One.Restart(ctx); err != nil {
					return nil, err
				}
				answers := time.Now()
				if sync == "everysec" {
					window = max(window, gone.Sub(last))
					// While a sync is under way, what is acknowledged may wait for two seconds
					// before it is written.
					w.MayLose(last.Add(-2*time.Second), answers)
				}
				if _, err := w.awaitServing(ctx, probes, answers); err != nil {
					return nil, err
				}
				if err := w.Steady(ctx); err != nil {
					return nil, err
				}
				if sync == "everysec" {
					// Before the next time comes in which something may be lost, nothing may be.
					if err := w.Pause(ctx, 5*time.Second); err != nil {
						return nil, err
					}
				}
			}
			var f Figures
			f.Add("losses", losses)
			f.Add("bytes not synced", bytes)
			if sync == "everysec" {
				if bytes == 0 {
					w.Broken("all had been synced each time, which shows nothing")
				}
				f.Add("window at most", window.Round(time.Millisecond))
			}
			return f, nil
		},
	}
}
