package main

import (
	"context"
	"fmt"
	"slices"
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

// mostSpike is how many times the hand-outs of the seconds around it a second may have
// once the destination has healed. Without jitter those that failed at once stay
// together, and the second in which they come back stands out; what falls off evenly, as
// the number of those that wait does, has no such second.
const mostSpike = 2.0

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
	healing := h.perSecond[:min(len(h.perSecond), from+int(o.settles/time.Second))]
	spike, at := sharpest(healing, from)
	if spike > mostSpike {
		w.Broken("a spike: second %d, after the destination had healed in second %d, had %.1f times the hand-outs of those around it, want at most %.1f: %d", at, from, spike, mostSpike, h.perSecond)
	}
	var f Figures
	f.Add("tasks", n)
	f.Add("hand-outs", h.handouts)
	f.Add("peak/mean in the outage", fmt.Sprintf("%.1f", peakOverMean(h.perSecond[:from])))
	f.Add("once healed", fmt.Sprintf("%.1f", peakOverMean(healing[from:])))
	f.Add("sharpest second", fmt.Sprintf("%.1f times those around it", spike))
	f.Add("at most", fmt.Sprintf("%d/s", slices.Max(healing[from:])))
	return f, nil
}

// peakOverMean is how many times the mean of all seconds the fullest has.
func peakOverMean(perSecond []int) float64 {
	if mean := meanOf(perSecond); mean > 0 {
		return float64(slices.Max(perSecond)) / mean
	}
	return 0
}

const (
	// around is how many seconds on either side a second is held against.
	around = 3
	// beside is how many between are left out: a herd may come in two of them.
	beside = 1
)

// sharpest returns the second from the given one on that stands out most, and how many
// times the fuller of its two sides it has. Those with fewer than the mean do not count:
// of a few, one second soon has twice as many as the next.
func sharpest(perSecond []int, from int) (times float64, at int) {
	least := meanOf(perSecond[from:])
	for i := from; i < len(perSecond); i++ {
		n := float64(perSecond[i])
		if n < least {
			continue
		}
		before := perSecond[max(0, i-beside-around):max(0, i-beside)]
		after := perSecond[min(len(perSecond), i+beside+1):min(len(perSecond), i+beside+1+around)]
		if sides := max(meanOf(before), meanOf(after), 1); n/sides > times {
			times, at = n/sides, i
		}
	}
	return times, at
}

func meanOf(perSecond []int) float64 {
	sum := 0
	for _, n := range perSecond {
		sum += n
	}
	return float64(sum) / float64(max(1, len(perSecond)))
}
