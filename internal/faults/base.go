package main

import (
	"context"
	"fmt"
	"time"
)

// base is what the servers hold without load: the line to which I9 has them return.
type base struct {
	servers []held
	clients int
}

// held is what one server holds.
type held struct {
	Goroutines int `json:"goroutines"`
	Files      int `json:"files"`
	// Live is what is left of memory once garbage is collected; Resident is what the
	// process takes, which follows the collector and comes back in its own time.
	Live     int64 `json:"live_bytes"`
	Resident int64 `json:"resident_bytes"`
}

// How much more than at the start they may hold. A pool of connections to Redis keeps
// those that the load has needed, ten for each core and node, each a file here and a
// client there. Of memory they keep the buffers of those, what the dispatcher knows of
// its queues, and the stacks of workers.
const (
	moreGoroutines = 30
	moreFiles      = 80
	moreClients    = 60 // of each server, at each node
	moreLive       = 32 << 20
)

// takeBase measures the servers.
func (w *World) takeBase(ctx context.Context) (*base, error) {
	b := new(base)
	for _, s := range w.Servers {
		var h held
		var err error
		if h.Goroutines, err = s.goroutines(ctx); err != nil {
			return nil, err
		}
		if h.Files, err = files(s.PID()); err != nil {
			return nil, fmt.Errorf("count the files of %s: %w", s.name, err)
		}
		if h.Live, err = s.live(ctx); err != nil {
			return nil, err
		}
		if h.Resident, err = resident(s.PID()); err != nil {
			return nil, fmt.Errorf("memory of %s: %w", s.name, err)
		}
		b.servers = append(b.servers, h)
	}
	b.clients = w.Redis.clients(ctx)
	return b, nil
}

// awaitBase waits until all is back where it was, and returns what the servers hold
// at most, and what has not come back.
func (w *World) awaitBase(ctx context.Context) (most held, clients int, found []string, err error) {
	for deadline := time.Now().Add(patience); ; {
		now, err := w.takeBase(ctx)
		if err != nil {
			return held{}, 0, nil, err
		}
		most, found = held{}, nil
		for i, h := range now.servers {
			most = held{max(most.Goroutines, h.Goroutines), max(most.Files, h.Files), max(most.Live, h.Live), max(most.Resident, h.Resident)}
			was := w.base.servers[i]
			if h.Goroutines > was.Goroutines+moreGoroutines || h.Files > was.Files+moreFiles || h.Live > was.Live+moreLive {
				found = append(found, fmt.Sprintf("I9: without load %s held %+v at first, and %+v in the end", w.Servers[i].name, was, h))
			}
		}
		if limit := w.base.clients + len(w.Servers)*moreClients*len(w.Redis.Nodes()); now.clients > limit {
			found = append(found, fmt.Sprintf("I9: Redis had %d clients at first, and %d in the end", w.base.clients, now.clients))
		}
		if len(found) == 0 || time.Now().After(deadline) {
			return most, now.clients, found, nil
		}
		if err := w.Pause(ctx, 200*time.Millisecond); err != nil {
			return most, now.clients, found, err
		}
	}
}
