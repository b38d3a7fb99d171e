package scheduler

import "sync"

// watchers are told when a thing of that key changes at this replica.
type watchers[K comparable] struct {
	mu sync.Mutex
	of map[K]map[chan struct{}]struct{}
}

// watch returns a channel that is signalled at each change of the thing, until
// stop is called.
func (w *watchers[K]) watch(key K) (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = make(map[K]map[chan struct{}]struct{})
	}
	if w.of[key] == nil {
		w.of[key] = make(map[chan struct{}]struct{})
	}
	w.of[key][c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.of[key], c)
		if len(w.of[key]) == 0 {
			delete(w.of, key)
		}
	}
}

func (w *watchers[K]) changed(key K) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.of[key] {
		signal(c)
	}
}
