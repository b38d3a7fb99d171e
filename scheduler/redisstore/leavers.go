package redisstore

import (
	"maps"
	"sync"
	"time"
)

// leavers knows the replicas that a primary has to have when all of them are to
// confirm. One that has left is counted on for a while: a replica that becomes the
// primary leaves the old one first, which takes writes and has its other replicas
// confirm them until they and it are told, and then all that is lost. Each primary has
// replicas of its own, since connections to the old one and to the new one are in use
// side by side meanwhile.
type leavers struct {
	mu sync.Mutex
	// of has the replicas by each primary's own name for what it writes: its history.
	of map[string]*counted
	// last is the one that was heard of last; nil before any was.
	last *counted
}

// counted are the replicas that a primary has to have.
type counted struct {
	// seen is when each was there last, by heardFor: each leaves at a time of its own,
	// and the one that is the primary by now may be the last of several.
	seen map[replica]time.Duration
	// heardFor is for how long the primary has been heard of, heardAt when it was last.
	heardFor time.Duration
	heardAt  time.Time
}

// replica is one of a primary's replicas. Several may bear one name, as behind a NAT,
// and are told apart by how many the primary names before.
type replica struct {
	name string
	nth  int
}

const (
	// leavePause is for how long one that has left is counted on. Sentinels take about
	// a second to tell the other replicas, more when those need a full copy.
	leavePause = 10 * time.Second
	// heardPause is how much of the time between two words of a primary counts as time
	// in which it was heard of. In what is longer, replicas may have come and left
	// unseen: who was cut off for a minute does not know that one has been away for a
	// minute. It is as long as a healthy server goes unchecked, and it is not nothing,
	// so that a primary that is seldom heard of waits for none for ever.
	heardPause = time.Second
	// forgetPause is for how long a primary is known that is heard of no more: longer
	// than a connection to it is kept that nobody uses.
	forgetPause = time.Hour
)

// heard takes note of the replicas that have loaded what a primary of that history has,
// and returns how many there should be.
func (l *leavers) heard(history string, loaded []string, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.of[history]
	if c == nil {
		if l.of == nil {
			l.of = make(map[string]*counted)
		}
		maps.DeleteFunc(l.of, func(_ string, c *counted) bool { return now.Sub(c.heardAt) >= forgetPause })
		c = &counted{seen: make(map[replica]time.Duration), heardAt: now}
		l.of[history] = c
	}
	l.last = c
	// Answers that come at once are taken note of in any order.
	if gap := now.Sub(c.heardAt); gap > 0 {
		c.heardFor += min(gap, heardPause)
		c.heardAt = now
	}
	for i, name := range loaded {
		r := replica{name: name}
		for _, before := range loaded[:i] {
			if before == name {
				r.nth++
			}
		}
		c.seen[r] = c.heardFor
	}
	maps.DeleteFunc(c.seen, func(_ replica, at time.Duration) bool { return c.heardFor-at >= leavePause })
	return len(c.seen)
}

// count is how many the one that was heard of last should have, if any was.
func (l *leavers) count() (n int, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		return 0, false
	}
	return len(l.last.seen), true
}
