package scheduler

import (
	"context"
	"sync"
)

const (
	// maxLooks is how many looks of all observers are under way at once. They have time,
	// and what others ask of the store has not.
	maxLooks = 4
	// lookPage is how many tasks one look sees.
	lookPage = 100
)

// looker looks at what is due for observers, a few at a time. A look that waits for its
// turn is made for all who want the same meanwhile; one that is under way is not, since
// what they have been told of may have come after it.
type looker struct {
	store Store
	turns chan struct{}

	mu      sync.Mutex
	waiting map[lookAt]*sharedLook
}

// lookAt is what a look is at: what is due in a queue and shard, after a place.
type lookAt struct {
	queue QueueKey
	shard int
	after Place
}

type sharedLook struct {
	done chan struct{}
	// page and err are set before done is closed; left says that the one who was to look
	// has left, and others must.
	page Page
	err  error
	left bool
}

func newLooker(store Store) *looker {
	return &looker{store: store, turns: make(chan struct{}, maxLooks), waiting: make(map[lookAt]*sharedLook)}
}

// due returns the page of what is due there.
func (l *looker) due(ctx context.Context, at lookAt) (Page, error) {
	for {
		l.mu.Lock()
		look := l.waiting[at]
		if look == nil {
			look = &sharedLook{done: make(chan struct{})}
			l.waiting[at] = look
			l.mu.Unlock()
			l.make(ctx, at, look)
			return look.page, look.err
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return Page{}, ctx.Err()
		case <-look.done:
			if !look.left {
				return look.page, look.err
			}
		}
	}
}

// make looks once it is its turn.
func (l *looker) make(ctx context.Context, at lookAt, look *sharedLook) {
	defer close(look.done)
	select {
	case l.turns <- struct{}{}:
		defer func() { <-l.turns }()
	case <-ctx.Done():
	}
	l.mu.Lock()
	delete(l.waiting, at)
	l.mu.Unlock()
	if look.err = ctx.Err(); look.err == nil {
		look.page, look.err = l.store.Due(ctx, at.queue, at.shard, at.after, lookPage)
	}
	look.left = ctx.Err() != nil
}
