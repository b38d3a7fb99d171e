package server

import "sync/atomic"

// budget bounds the bytes that wait somewhere. It is asked before the next thing
// is made, whose size nobody knows yet, so that one thing may go beyond it.
type budget struct {
	most int64
	used atomic.Int64
	// freed wakes the one who waits.
	freed chan struct{}
}

func newBudget(most int64) budget { return budget{most: most, freed: make(chan struct{}, 1)} }

// wait returns once there is room, or with false when it is over.
func (b *budget) wait(over <-chan struct{}) bool {
	for b.used.Load() >= b.most {
		select {
		case <-b.freed:
		case <-over:
			return false
		}
	}
	return true
}

func (b *budget) take(n int) { b.used.Add(int64(n)) }

func (b *budget) free(n int) {
	b.used.Add(-int64(n))
	select {
	case b.freed <- struct{}{}:
	default:
	}
}
