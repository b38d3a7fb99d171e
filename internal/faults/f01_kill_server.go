package main

import (
	"context"
	"time"
)

// killServer kills the servers in turn, under load, each while workers hold streams
// to it.
var killServer = Fault{
	ID: "F1", Name: "kill -9 one of 3 servers every 5 s", Topologies: everywhere, Short: true,
	Run: func(ctx context.Context, w *World) (Figures, error) {
		if err := w.StartLoad(ctx, Load{}); err != nil {
			return nil, err
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		began := time.Now()
		var kills []time.Time
		for time.Since(began) < w.Between(45*time.Second, 10*time.Second) {
			victim := w.Servers[len(kills)%servers]
			kills = append(kills, time.Now())
			if err := victim.Kill(); err != nil {
				return nil, err
			}
			// Two are left to carry the load for a while.
			if err := w.Pause(ctx, time.Second); err != nil {
				return nil, err
			}
			if err := victim.Start(ctx); err != nil {
				return nil, err
			}
			if err := w.Pause(ctx, 4*time.Second); err != nil {
				return nil, err
			}
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		var f Figures
		f.Add("kills", len(kills))
		f.Add("longest wait of reporters", w.Ledger.Gap(viaAll, began))
		w.firstLateness(&f, began)
		if again := sinceLast(w.Ledger.Repeats(began), kills); len(again) > 0 {
			f.Add("redelivered", len(again))
			f.Add("after the kill p99", percentile(again, 99))
		}
		return f, nil
	},
}
