package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// fillRedis makes Redis full under load, and gives it room again.
var fillRedis = Fault{
	ID: "F19", Name: "maxmemory just below use, then raised", Topologies: []Topology{Standalone},
	Setup: func(s *Setup) {
		// There is a backlog of attempts to come when Redis gets full.
		s.Policies = strings.Replace(soonPolicy, "delay: 200ms", "delay: 4s", 1)
	},
	Run: func(ctx context.Context, w *World) (Figures, error) {
		const full = "STORE_FULL"
		if err := w.StartLoad(ctx, Load{Impatient: true}); err != nil {
			return nil, err
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		refused, settled := 0, 0
		times := 3
		if w.Short {
			times = 1
		}
		for range times {
			used, err := w.usedMemory(ctx)
			if err != nil {
				return nil, err
			}
			if _, err := w.Redis.One.Command(ctx, "CONFIG", "SET", "maxmemory", strconv.FormatInt(used*95/100, 10)); err != nil {
				return nil, err
			}
			if err := w.Ledger.AwaitRefusals(ctx, full, 50); err != nil {
				return nil, err
			}
			// What is there goes on: each has two attempts before it.
			before := w.Ledger.Outcomes()
			if err := w.Pause(ctx, 3*time.Second); err != nil {
				return nil, err
			}
			if n := w.Ledger.Outcomes() - before; n < 50 {
				w.Broken("only %d outcomes were taken in 3 s while Redis was full", n)
			} else {
				settled += n
			}
			if _, err := w.Redis.One.Command(ctx, "CONFIG", "SET", "maxmemory", "0"); err != nil {
				return nil, err
			}
			raised := time.Now()
			if err := w.Steady(ctx); err != nil {
				return nil, err
			}
			if after, ok := w.Ledger.FirstAck(viaAll, raised); !ok || after > time.Second {
				w.Broken("the first report was taken %s after there was room again, want at most 1 s", after)
			}
			if err := w.Pause(ctx, 4*time.Second); err != nil {
				return nil, err
			}
		}
		w.StopReports()
		for reason, n := range w.Ledger.Refusals() {
			if reason != full {
				w.Broken("%d reports were refused with %s, want only %s", n, reason, full)
			}
			refused += n
		}
		var f Figures
		f.Add("reports refused as "+full, refused)
		f.Add("outcomes taken while full", settled)
		return f, nil
	},
}

// usedMemory is what Redis counts against maxmemory.
func (w *World) usedMemory(ctx context.Context) (int64, error) {
	info, err := w.Redis.One.Command(ctx, "INFO", "memory")
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(info, "\r\n") {
		if v, ok := strings.CutPrefix(line, "used_memory:"); ok {
			return strconv.ParseInt(v, 10, 64)
		}
	}
	return 0, fmt.Errorf("redis does not tell its used memory: %s", info)
}
