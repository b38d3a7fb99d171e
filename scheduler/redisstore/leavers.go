package redisstore

import (
	"sync"
	"time"
)

// leavers counts the replicas that a primary has to have when all of them are to
// confirm. One that has left is counted on for a while: a replica that becomes the
// primary leaves the old one first, which takes writes and has its other replicas
// confirm them until they and it are told, and then all that is lost.
type leavers struct {
	mu sync.Mutex
	// history is the primary's own name for what it writes: another has another.
	history string
	counted int
	// left is when fewer were heard of first; zero when there are all that count.
	left time.Time
	// heardAt is when they were counted last.
	heardAt time.Time
}

const (
	// leavePause is for how long one that has left is counted on. Sentinels take about
	// a second to tell the other replicas, more when those need a full copy.
	leavePause = 10 * time.Second
	// countPause is how old a count may be that an answer rests on: a replica may have
	// come since that must confirm too, because it may become the primary.
	countPause = time.Second
)

// heard takes note of how many have loaded what a primary of that history has.
func (l *leavers) heard(history string, loaded int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heardAt = now
	switch {
	case history != l.history, loaded >= l.counted:
		l.history, l.counted, l.left = history, loaded, time.Time{}
	case l.left.IsZero():
		l.left = now
	case now.Sub(l.left) >= leavePause:
		l.counted, l.left = loaded, time.Time{}
	}
}

// count is how many there should be.
func (l *leavers) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counted
}

// primary names the one that they were counted of; empty before any was.
func (l *leavers) primary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.history
}

// stale says whether it is time to count anew.
func (l *leavers) stale(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.heardAt) >= countPause
}
