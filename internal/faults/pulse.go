package main

import (
	"context"
	"sync"
	"time"
)

// pulse writes to Redis itself, past servers and proxies, to tell a Redis that is
// busy, or waits for its disk, from servers that do not serve.
type pulse struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	beats []time.Time
}

// startPulse starts one on a standalone Redis.
func (w *World) startPulse(ctx context.Context) *pulse {
	const every = 20 * time.Millisecond
	p := new(pulse)
	ctx, p.cancel = context.WithCancel(ctx)
	p.wg.Go(func() {
		for w.Pause(ctx, every) == nil {
			if _, err := w.Redis.One.Command(ctx, "SET", "pulse", "1"); err == nil {
				p.mu.Lock()
				p.beats = append(p.beats, time.Now())
				p.mu.Unlock()
			}
		}
	})
	return p
}

func (p *pulse) stop() {
	p.cancel()
	p.wg.Wait()
}

// stall is the longest that Redis itself has taken for a write in that time.
func (p *pulse) stall(from time.Time, d time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, most, to := from, time.Duration(0), from.Add(d)
	for _, beat := range p.beats {
		if beat.After(from) {
			most = max(most, beat.Sub(last))
			last = beat
			if beat.After(to) {
				return most
			}
		}
	}
	return max(most, to.Sub(last))
}
