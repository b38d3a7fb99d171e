package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/retryd/retryd/client"
)

// dueAtOnce has a great many attempts fall due in the same millisecond, beside a load
// that goes on.
func dueAtOnce(variant string, whole, short int) Fault {
	return Fault{
		ID: "F26 " + variant, Name: variant + " attempts due in the same millisecond", Topologies: []Topology{Standalone},
		Setup: func(s *Setup) {
			s.Policies += "  - {id: told, display_name: Told, max_retries: 1, fixed: {delay: 1s}, retry_after: {mode: OVERRIDE, cap: 1d}, default_action: RETRY}\n"
		},
		Run: func(ctx context.Context, w *World) (Figures, error) {
			n := whole
			if w.Short {
				n = short
			}
			if err := w.StartLoad(ctx, Load{Rate: 20}); err != nil {
				return nil, err
			}
			h := newHerd(w, "herd")
			// A date of HTTP is a whole second: all fall due at its first millisecond.
			due := time.Now().Add(herdTime(n)).Truncate(time.Second)
			failure := client.HTTPFailure(503, due.UTC().Format(http.TimeFormat))
			began := time.Now()
			if err := h.reportAll(ctx, n, client.Report{Task: client.Task{Policy: "told"}, Err: failure}, nil); err != nil {
				return nil, err
			}
			reported := time.Since(began)
			if left := time.Until(due); left < time.Second {
				return nil, fmt.Errorf("reporting %d tasks took %s: too long for them to fall due at once", n, reported)
			}
			stop, err := h.startWorkers(ctx, 256, func(context.Context, *client.Attempt) error { return nil })
			if err != nil {
				return nil, err
			}
			if _, err := w.Redis.One.Command(ctx, "CONFIG", "RESETSTAT"); err != nil {
				return nil, err
			}
			if err := w.Pause(ctx, time.Until(due)); err != nil {
				return nil, err
			}
			probed := make(chan []time.Duration, 1)
			probing, end := context.WithCancel(ctx)
			go func() { probed <- w.probeRedis(probing) }()
			err = h.awaitEnded(ctx, n)
			end()
			took := time.Since(due)
			pings := <-probed
			if err != nil {
				return nil, err
			}
			if err := stop(); err != nil {
				return nil, err
			}
			if err := h.check(ctx, n); err != nil {
				return nil, err
			}
			if !h.firstDue.Equal(due) || !h.lastDue.Equal(due) {
				w.Broken("the attempts fell due from %s to %s, want all at %s", h.firstDue, h.lastDue, due)
			}
			p99, err := w.scriptP99(ctx)
			if err != nil {
				return nil, err
			}
			var f Figures
			f.Add("attempts", n)
			f.Add("drain/s", int(float64(n)/took.Seconds()))
			f.Add("in", took.Round(100*time.Millisecond))
			f.Add("script p99", p99)
			if len(pings) > 0 {
				f.Add("PING beside it p99", percentile(pings, 99))
			}
			slices.Sort(h.late)
			f.Add("last after", h.late[len(h.late)-1].Round(time.Millisecond))
			w.lateness(&f, due)
			return f, nil
		},
	}
}

// herdTime is how long after now n tasks that are reported one after the other may
// fall due at once, on a busy machine.
func herdTime(n int) time.Duration {
	const perSecond = 5000
	return 10*time.Second + time.Duration(n)*time.Second/perSecond
}

// probeRedis asks Redis for something that costs nothing, again and again, and returns
// how long it took, in order.
func (w *World) probeRedis(ctx context.Context) []time.Duration {
	var took []time.Duration
	for w.Pause(ctx, 10*time.Millisecond) == nil {
		began := time.Now()
		if _, err := w.Redis.One.Command(ctx, "PING"); err == nil {
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	return took
}

// scriptP99 is what Redis tells of how long scripts ran since its figures were reset.
func (w *World) scriptP99(ctx context.Context) (time.Duration, error) {
	info, err := w.Redis.One.Command(ctx, "INFO", "latencystats")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(info, "latency_percentiles_usec_evalsha:")
	_, rest, ok2 := strings.Cut(rest, "p99=")
	us, err := strconv.ParseFloat(rest[:max(0, strings.IndexAny(rest, ",\r\n"))], 64)
	if !ok || !ok2 || err != nil {
		return 0, fmt.Errorf("redis does not tell how long scripts take: %s", info)
	}
	return time.Duration(us * float64(time.Microsecond)).Round(10 * time.Microsecond), nil
}
