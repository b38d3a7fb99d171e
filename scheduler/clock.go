package scheduler

import (
	"sync/atomic"
	"time"
)

// clock estimates the store's: the local clock and an offset. Decisions are
// made at its time, and the store refuses those for which it is too far off.
type clock struct {
	offsetMS atomic.Int64
}

// nowMS is the store's time as far as is known, in whole milliseconds, rounded
// down as the store's own is.
func (c *clock) nowMS() int64 { return time.Now().UnixMilli() + c.offsetMS.Load() }

// correct takes the store's word for what time it is now.
func (c *clock) correct(storeNowMS int64) {
	c.offsetMS.Store(storeNowMS - time.Now().UnixMilli())
}

// until is how long it is until the store's clock shows ms.
func (c *clock) until(ms int64) time.Duration {
	now := time.Now()
	return time.UnixMilli(ms - c.offsetMS.Load()).Sub(now)
}
