package main

import (
	"context"
	"time"

	"github.com/retryd/retryd/internal/respproxy"
)

// loseReplies has each script done, and the answer to one of ten of them lost.
var loseReplies = Fault{
	ID: "F8", Name: "the answer to 10 % of all scripts is lost once they are done", Topologies: []Topology{Standalone}, Short: true,
	Setup:   func(s *Setup) { s.Proxied = true },
	Audited: executions,
	Run: func(ctx context.Context, w *World) (Figures, error) {
		if err := w.StartLoad(ctx, Load{}); err != nil {
			return nil, err
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		began := time.Now()
		w.Redis.Proxy.Set(respproxy.Rules{LoseReply: 0.1, Only: respproxy.Scripts})
		if err := w.Pause(ctx, w.Between(40*time.Second, 10*time.Second)); err != nil {
			return nil, err
		}
		w.Redis.Proxy.Set(respproxy.Rules{})
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		lost := w.Redis.Proxy.Counts().Lost
		if lost < 50 {
			w.Broken("only %d answers were lost, which shows nothing", lost)
		}
		// What a claim has taken whose answer was lost is asked for again. Else it would
		// come to its first worker when a lease has ended that nobody knows of.
		forgotten := 0
		for _, late := range w.Ledger.FirstLateness(began) {
			if late >= lease {
				forgotten++
			}
		}
		if forgotten > int(lost)/20 {
			w.Broken("%d attempts came to their first worker a lease late: claims were forgotten", forgotten)
		}
		var f Figures
		f.Add("answers lost", lost)
		w.lateness(&f, began)
		return f, nil
	},
}
