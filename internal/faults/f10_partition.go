package main

import (
	"context"
	"time"
)

// unconfirmed is the reason of those who are told that replicas have not confirmed.
const unconfirmed = "DURABILITY_NOT_REACHED"

// partition cuts the primary off from all replicas and Sentinels, with the servers and
// their clients on its side, at a level of durability. The others make one of them
// the primary meanwhile, and what only the old one has is lost.
func partition(level string) Fault {
	return Fault{
		ID: "F10 " + level, Name: "the primary and its clients are cut off, durability " + level, Topologies: []Topology{Sentinel},
		Setup: func(s *Setup) {
			switch level {
			case "memory":
				s.Redis = []string{"--appendonly", "no"}
			case "always":
				s.Redis = []string{"--appendonly", "yes", "--appendfsync", "always"}
			default:
				s.Redis = []string{"--appendonly", "yes", "--appendfsync", "everysec"}
			}
			s.Serve = []string{"--durability=" + level}
			s.Apart = true
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
			old := w.Redis.Sentinels.Master
			before := w.Ledger.Refusals()
			cut := time.Now()
			if err := w.Redis.Link.cut(ctx); err != nil {
				return nil, err
			}
			if _, err := w.Redis.Sentinels.AwaitOther(ctx, old); err != nil {
				return nil, err
			}
			if err := w.Pause(ctx, time.Until(cut.Add(w.Between(8*time.Second, 6*time.Second)))); err != nil {
				return nil, err
			}
			taken := 0
			for _, via := range append(probes, viaAll) {
				taken += w.Ledger.AckedSince(via, cut)
			}
			healed := time.Now()
			if err := w.Redis.Link.heal(ctx); err != nil {
				return nil, err
			}
			if _, err := w.awaitOnePrimary(ctx); err != nil {
				return nil, err
			}
			one := time.Now()
			after, err := w.awaitServing(ctx, probes, one)
			if err != nil {
				return nil, err
			}
			if after > time.Second {
				w.Broken("a server took the first report %s after the old primary was a replica, want at most 1 s", after)
			}
			if err := w.Steady(ctx); err != nil {
				return nil, err
			}
			if err := w.Pause(ctx, 2*time.Second); err != nil {
				return nil, err
			}
			if level != replicatedLevel {
				w.MayLose(cut.Add(-time.Second), one.Add(answering))
			}
			var f Figures
			f.Add("cut for", healed.Sub(cut).Round(time.Millisecond))
			f.Add("one primary again after", one.Sub(healed).Round(time.Millisecond))
			f.Add("reports acknowledged while cut off", taken)
			f.Add("unconfirmed", w.Ledger.Refusals()[unconfirmed]-before[unconfirmed])
			f.Add("serving after", after.Round(time.Millisecond))
			f.Add("refused", refusals(w.Ledger.Refusals()))
			return f, nil
		},
	}
}
