package server

import "sync/atomic"

// budget bounds the bytes that wait somewhere to maxWaiting. It is asked before the next thing
// is made, whose size nobody knows yet, so that one thing may go beyond it.
type budget struct {
	used atomic.Int64
	// conn is whose they are, nil where that is not known, and weight how many bytes of
	// memory each stands for.
	conn   *boundedConn
	weight int
	// freed wakes the one who waits.
	freed chan struct{}
}

func newBudget(conn *boundedConn, weight int) budget {
	return budget{conn: conn, weight: weight, freed: make(chan struct{}, 1)}
}

// wait returns once there is room, or with false when it is over.
func (b *budget) wait(over <-chan struct{}) bool {
	for b.used.Load() >= maxWaiting {
		select {
		case <-b.freed:
		case <-over:
			return false
		}
	}
	return true
}

func (b *budget) take(n int) {
	b.used.Add(int64(n))
	b.conn.keep(b.weight * n)
}

func (b *budget) free(n int) {
	b.used.Add(-int64(n))
	b.conn.keep(-b.weight * n)
	select {
	case b.freed <- struct{}{}:
	default:
	}
}
