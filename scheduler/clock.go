package scheduler

import (
	"sync"
	"time"
)

// clock estimates the store's: the local clock and an offset. Decisions are
// made at its time, and the store refuses those for which it is too far off.
//
// Each reply of the store tells what its clock showed a moment before, so that
// the reply that was fastest, and puts the clock furthest ahead, tells best. The
// best of the last two windows counts, lest one lucky reply outlive a change.
type clock struct {
	// local is the clock of this machine.
	local func() time.Time

	mu                sync.Mutex
	offsetMS          int64
	newestMS, olderMS int64
	windowEnd         time.Time
}

const (
	clockWindow = 10 * time.Second
	noOffsetMS  = -never
)

// nowMS is the store's time as far as is known, in whole milliseconds, rounded
// down as the store's own is.
func (c *clock) nowMS() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local().UnixMilli() + c.offsetMS
}

// heard takes note of what the store's clock showed in a reply that has just
// come.
func (c *clock) heard(storeNowMS int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.local()
	sampleMS := storeNowMS - now.UnixMilli()
	if now.After(c.windowEnd) {
		c.olderMS, c.newestMS = c.newestMS, noOffsetMS
		if c.windowEnd.IsZero() {
			c.olderMS = noOffsetMS
		}
		c.windowEnd = now.Add(clockWindow)
	}
	c.newestMS = max(c.newestMS, sampleMS)
	c.offsetMS = max(c.newestMS, c.olderMS)
}

// correct takes the store's word for what time it is, now that ours has been
// refused.
func (c *clock) correct(storeNowMS int64) {
	c.mu.Lock()
	c.newestMS, c.olderMS = noOffsetMS, noOffsetMS
	c.mu.Unlock()
	c.heard(storeNowMS)
}

// aheadMS is how far the store's clock is ahead of ours.
func (c *clock) aheadMS() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offsetMS
}

// until is how long it is until the store's clock shows ms.
func (c *clock) until(ms int64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.UnixMilli(ms - c.offsetMS).Sub(c.local())
}
