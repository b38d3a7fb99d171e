package main

import (
	"context"
	"fmt"
	"time"
)

// killRedis kills Redis under load, at an appendfsync of "everysec" or "always".
func killRedis(sync string) Fault {
	return Fault{
		ID: "F5 " + sync, Name: "kill -9 Redis, appendfsync " + sync + ", and restart", Topologies: []Topology{Standalone}, Short: sync == "always",
		Setup: func(s *Setup) { s.Redis = []string{"--appendonly", "yes", "--appendfsync", sync} },
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
			kills := 5
			if w.Short {
				kills = 1
			}
			var away, resume, stalled time.Duration
			for range kills {
				killed := time.Now()
				if err := w.Redis.One.Kill(); err != nil {
					return nil, err
				}
				if err := w.Pause(ctx, 500*time.Millisecond+time.Duration(w.Rand.Int64N(int64(2*time.Second)))); err != nil {
					return nil, err
				}
				if err := w.Redis.One.Restart(ctx); err != nil {
					return nil, err
				}
				answers := time.Now()
				away = max(away, answers.Sub(killed))
				if sync != "always" {
					// A write waits for at most two seconds for an fsync under way.
					w.MayLose(killed.Add(-2*time.Second), answers)
				}
				after, err := w.awaitServing(ctx, probes, answers)
				if err != nil {
					return nil, err
				}
				stalled = max(stalled, redis.stall(answers, after))
				if resume = max(resume, after); after > time.Second+redis.stall(answers, after) {
					w.Broken("a server took the first report %s after Redis answered again, which itself stalled for %s then, want at most 1 s more", after, redis.stall(answers, after))
				}
				if err := w.Steady(ctx); err != nil {
					return nil, err
				}
				if sync != "always" {
					// Before the next time comes in which something may be lost, nothing may be.
					if err := w.Pause(ctx, 3*time.Second); err != nil {
						return nil, err
					}
				}
			}
			var f Figures
			f.Add("kills", kills)
			f.Add("Redis away at most", away.Round(time.Millisecond))
			f.Add("serving after", resume.Round(time.Millisecond))
			f.Add("Redis itself stalled for", stalled.Round(time.Millisecond))
			return f, nil
		},
	}
}

// startProbes starts reporters of each server alone that do not repeat what fails, to
// see when it serves, and returns their names in the ledger.
func (w *World) startProbes(ctx context.Context) ([]string, error) {
	var names []string
	for i := range w.Servers {
		name := fmt.Sprintf("probe-%d", i)
		if err := w.StartLoad(ctx, Load{Rate: 40, Impatient: true, Prefix: name, Via: name, To: w.Servers[i : i+1], NoWorkers: true}); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// awaitServing waits until each server has taken a report of its probes, and returns
// how long after from the last one did.
func (w *World) awaitServing(ctx context.Context, probes []string, from time.Time) (time.Duration, error) {
	var last time.Duration
	for _, name := range probes {
		if err := w.Ledger.AwaitAckSince(ctx, name, from); err != nil {
			return 0, err
		}
		after, _ := w.Ledger.FirstAck(name, from)
		last = max(last, after)
	}
	return last, nil
}
