package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/retryd/retryd/client"
)

// destinationFails has the destination of all tasks fail at once and for a while, and
// heal: what waits must not come back as one herd.
var destinationFails = Fault{
	ID: "F35", Name: "a destination fails for 60 s with 1,000 tasks/s, then heals", Topologies: []Topology{Standalone}, Short: true,
	Setup: func(s *Setup) {
		// With the longest delay as long as the outage.
		s.Policies += "  - {id: spread, display_name: Spread, max_retries: 100, exponential: {initial_delay: 1s, multiplier: 2, max_delay: 64s}, jitter: {equal: true}, default_action: RETRY}\n" +
			"  - {id: spread-short, display_name: Spread, max_retries: 100, exponential: {initial_delay: 1s, multiplier: 2, max_delay: 8s}, jitter: {equal: true}, default_action: RETRY}\n"
	},
	Run: func(ctx context.Context, w *World) (Figures, error) {
		o := outage{rate: 1000, lasts: 60 * time.Second, settles: 64 * time.Second, policy: "spread"}
		if w.Short {
			o = outage{rate: 100, lasts: 10 * time.Second, settles: 8 * time.Second, policy: "spread-short"}
		}
		if err := w.StartLoad(ctx, Load{Rate: 20}); err != nil {
			return nil, err
		}
		return o.run(ctx, w)
	},
}

// outage is one of a destination.
type outage struct {
	// rate is how many tasks come to it in a second.
	rate int
	// lasts is for how long it fails; settles is the longest delay of the policy, by
	// when what waits has come back.
	lasts, settles time.Duration
	policy         string
}

// atOnce is how many seconds' tasks fail in the moment in which the destination fails:
// those that were on their way to it.
const atOnce = 10

// mostSpike is how many times the mean a second may have of hand-outs once the
// destination has healed. Without jitter those that failed at once stay together, and
// one second has most of all.
const mostSpike = 3.0

func (o *outage) run(ctx context.Context, w *World) (Figures, error) {
	h := newHerd(w, "outage")
	var healed atomic.Bool
	stop, err := h.startWorkers(ctx, 256, func(context.Context, *client.Attempt) error {
		if healed.Load() {
			return nil
		}
		return client.HTTPFailure(503, "")
	})
	if err != nil {
		return nil, err
	}
	c, err := w.Dial(nil, client.WithRetryTimeout(patient))
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	report := client.Report{Task: client.Task{Policy: o.policy}, Err: client.HTTPFailure(503, "")}
	n := 0
	began := time.Now()
	// They fail ten times a second.
	for step := 0; time.Since(began) < o.lasts; step++ {
		to := n + o.rate/10
		if step == 0 {
			to = n + atOnce*o.rate
			err = h.reportAll(ctx, to, report, nil)
		} else {
			err = h.reportBatch(ctx, c, n, to, report)
		}
		if err != nil {
			return nil, err
		}
		n = to
		if err := w.Pause(ctx, time.Until(began.Add(time.Duration(step+1)*time.Second/10))); err != nil {
			return nil, err
		}
	}
	healed.Store(true)
	from := int(time.Since(h.begun)/time.Second) + 1
	if err := h.awaitEnded(ctx, n); err != nil {
		return nil, err
	}
	if err := stop(); err != nil {
		return nil, err
	}
	if err := h.check(ctx, n); err != nil {
		return nil, err
	}
	before, _ := spike(h.perSecond[:from])
	after, peak := spike(h.perSecond[from:min(len(h.perSecond), from+int(o.settles/time.Second))])
	if after > mostSpike {
		w.Broken("a spike: of the seconds after the destination had healed one had %.1f times the mean of hand-outs, want at most %.0f: %d", after, mostSpike, h.perSecond)
	}
	var f Figures
	f.Add("tasks", n)
	f.Add("hand-outs", h.handouts)
	f.Add("peak/mean in the outage", fmt.Sprintf("%.1f", before))
	f.Add("once healed", fmt.Sprintf("%.1f", after))
	f.Add("at most", fmt.Sprintf("%d/s", peak))
	return f, nil
}

// spike is how many times the mean of all seconds the fullest has, and how much that is.
func spike(perSecond []int) (times float64, peak int) {
	sum := 0
	for _, n := range perSecond {
		sum += n
		peak = max(peak, n)
	}
	if sum == 0 {
		return 0, 0
	}
	return float64(peak) * float64(len(perSecond)) / float64(sum), peak
}
