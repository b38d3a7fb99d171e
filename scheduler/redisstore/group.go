package redisstore

import (
	"context"
	"slices"
	"sync"

	"github.com/retryd/retryd/scheduler"
)

// group gathers the commits of many callers: what comes while others are on
// their way to Redis goes together in the next script, which costs a fraction of
// as many scripts. Nothing waits for company: a commit that finds room goes at
// once, alone.
//
// On a Cluster there is one for each shard, so that a node that is away holds up
// its own shards only.
type group struct {
	mu sync.Mutex
	// sending is how many scripts are on their way.
	sending int
	waiting []*grouped
}

// maxSending is how many scripts of a group may be on their way. With one, all
// that come would wait for its way back before they begin theirs; with many, each
// would go alone.
const maxSending = 2

// grouped is a commit that waits for others on their way.
type grouped struct {
	write *write
	// got is its answer, once done is closed.
	got  scheduler.Committed
	done chan struct{}
}

func (s *Store) groupOf(shard int) *group {
	if s.cluster {
		return &s.groups[shard]
	}
	return &s.groups[0]
}

// commitOne writes one change, together with those of other callers where there
// are some.
func (s *Store) commitOne(ctx context.Context, w *write) scheduler.Committed {
	g := s.groupOf(w.shard)
	g.mu.Lock()
	if g.sending < maxSending {
		g.sending++
		g.mu.Unlock()
		s.write(ctx, []*write{w})
		s.next(ctx, g)
		return *w.to
	}
	m := &grouped{write: w, done: make(chan struct{})}
	// A caller that leaves takes its slices with it.
	change := *w.change
	w.change, w.to = &change, &m.got
	g.waiting = append(g.waiting, m)
	g.mu.Unlock()
	select {
	case <-m.done:
		return m.got
	case <-ctx.Done():
	}
	// Whether it has gone already or not, this caller has no time for it.
	g.mu.Lock()
	g.waiting = slices.DeleteFunc(g.waiting, func(other *grouped) bool { return other == m })
	g.mu.Unlock()
	return scheduler.Committed{Err: s.failure("commit", ctx.Err())}
}

// next sends what has gathered meanwhile, if anything has. Its callers have
// deadlines of their own, none of which is for all: so it is sent without one,
// by a goroutine that none of them has to wait for, and which Close waits for.
func (s *Store) next(ctx context.Context, g *group) {
	batch := g.take()
	if batch == nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	s.senders.Go(func() {
		for batch != nil {
			writes := make([]*write, len(batch))
			for i, m := range batch {
				writes[i] = m.write
			}
			s.write(ctx, writes)
			for _, m := range batch {
				close(m.done)
			}
			batch = g.take()
		}
	})
}

// take returns what is to go next; if nothing is, its caller's turn is over.
func (g *group) take() []*grouped {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.sending--
		return nil
	}
	// Two changes of one task go one after the other.
	taken := make(map[string]bool, min(len(g.waiting), maxPerScript))
	var batch, rest []*grouped
	for _, m := range g.waiting {
		if len(batch) == maxPerScript || taken[m.write.key] {
			rest = append(rest, m)
			continue
		}
		taken[m.write.key] = true
		batch = append(batch, m)
	}
	g.waiting = rest
	return batch
}
