package redisstore

import (
	"maps"
	"sync"
	"time"
)

// leavers counts the replicas that a primary has to have when all of them are to
// confirm. One that has left is counted on for a while: a replica that becomes the
// primary leaves the old one first, which takes writes and has its other replicas
// confirm them until they and it are told, and then all that is lost. Each primary has
// a count of its own, since connections to the old one and to the new one are in use
// side by side meanwhile.
type leavers struct {
	mu sync.Mutex
	// of has a count by each primary's own name for what it writes: its history.
	of map[string]*counted
	// last is the one that was heard of last; nil before any was.
	last *counted
}

// counted is how many replicas a primary has to have.
type counted struct {
	all int
	// left is when fewer were heard of first; zero when there are all that count.
	left time.Time
	// heardAt is when they were counted last.
	heardAt time.Time
}

const (
	// leavePause is for how long one that has left is counted on. Sentinels take about
	// a second to tell the other replicas, more when those need a full copy.
	leavePause = 10 * time.Second
	// forgetPause is for how long a primary is known that is heard of no more: longer
	// than a connection to it is kept that nobody uses.
	forgetPause = time.Hour
)

// heard takes note of how many have loaded what a primary of that history has, and
// returns how many there should be.
func (l *leavers) heard(history string, loaded int, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.of[history]
	if c == nil {
		if l.of == nil {
			l.of = make(map[string]*counted)
		}
		maps.DeleteFunc(l.of, func(_ string, c *counted) bool { return now.Sub(c.heardAt) >= forgetPause })
		c = new(counted)
		l.of[history] = c
	}
	l.last, c.heardAt = c, now
	switch {
	case loaded >= c.all:
		c.all, c.left = loaded, time.Time{}
	case c.left.IsZero():
		c.left = now
	case now.Sub(c.left) >= leavePause:
		c.all, c.left = loaded, time.Time{}
	}
	return c.all
}

// count is how many the one that was heard of last should have, if any was.
func (l *leavers) count() (n int, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		return 0, false
	}
	return l.last.all, true
}
