package memstore

import (
	"context"
	"sync"

	"github.com/retryd/retryd/scheduler"
)

// hub carries hints between the schedulers of one process, as Pub/Sub does
// between replicas: whoever is slow misses some.
type hub struct {
	mu        sync.Mutex
	listeners map[chan scheduler.Hint]struct{}
}

// hubBuffer is how many hints may wait for a listener before it misses some.
const hubBuffer = 256

func (h *hub) send(hint scheduler.Hint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.listeners {
		select {
		case c <- hint:
		default:
		}
	}
}

func (h *hub) listen(ctx context.Context, hint func(scheduler.Hint)) error {
	c := make(chan scheduler.Hint, hubBuffer)
	h.mu.Lock()
	if h.listeners == nil {
		h.listeners = make(map[chan scheduler.Hint]struct{})
	}
	h.listeners[c] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, c)
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case got := <-c:
			hint(got)
		}
	}
}
