package scheduler

import (
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// namespaceUse is what is known of a namespace's use of its quota.
type namespaceUse struct {
	name string
	// limiter holds this replica's share of the reports.
	limiter *rate.Limiter
	// offered counts the reports that came since the last look.
	offered atomic.Int64
	// pending, bytes and leases are counted in the store.
	pending, bytes, leases gauge

	// Guarded by the keeper's mutex: the quota, the reports that came a second of late,
	// here and over all replicas, and how many streams are open here.
	quota           Quota
	rate, rateOfAll float64
	streams         int64
	// own says that the quota is the namespace's own, and not the default.
	own bool
	// idle is for how many looks nothing has come.
	idle int
}

func newNamespaceUse(name string) *namespaceUse {
	// Its bucket is full once it has a size.
	return &namespaceUse{name: name, limiter: rate.NewLimiter(rate.Inf, math.MaxInt)}
}

// setRate sets this replica's share of the reports.
func (u *namespaceUse) setRate(share float64) {
	if u.quota[QuotaReports] == 0 {
		u.limiter.SetLimit(rate.Inf)
		return
	}
	u.limiter.SetBurst(max(1, int(math.Ceil(share))))
	u.limiter.SetLimit(rate.Limit(share))
}

// admitReports takes as many of n reports as there is room for.
func (u *namespaceUse) admitReports(n int) int {
	u.offered.Add(int64(n))
	now := time.Now()
	for left := n; left > 0; {
		if u.limiter.AllowN(now, left) {
			return left
		}
		// Somebody else may be faster, and have what there is.
		left = min(left-1, int(u.limiter.TokensAt(now)))
	}
	return 0
}

// reportDelay is how long to wait until a report is taken.
func (u *namespaceUse) reportDelay() time.Duration {
	missing := 1 - u.limiter.Tokens()
	seconds := missing / float64(u.limiter.Limit())
	if !(seconds < mostReportDelay.Seconds()) {
		return mostReportDelay
	}
	return max(leastReportDelay, time.Duration(seconds*float64(time.Second)))
}

// gauge is how much there is of something that is counted in the store: as much as was
// counted last, and what this replica has added since.
type gauge struct {
	// limit is 0 for none.
	limit atomic.Int64
	// counted is how much there was, room how much of what was left then is this
	// replica's to use, added how much it has added.
	counted, room, added atomic.Int64
	// reserved is how much it is about to add: it need not be in the store yet.
	reserved atomic.Int64
	// known is set once it was counted.
	known atomic.Bool
}

// limited says whether there is a limit.
func (g *gauge) limited() bool { return g.limit.Load() != 0 }

// used is how much there is.
func (g *gauge) used() int64 { return max(0, g.counted.Load()+g.added.Load()+g.reserved.Load()) }

// left is how much more there is room for here: nothing while it is not known.
func (g *gauge) left() int64 {
	if !g.limited() {
		return math.MaxInt64
	}
	if !g.known.Load() {
		return 0
	}
	return max(0, g.room.Load()-g.added.Load()-g.reserved.Load())
}

// reserve makes room for n, if there is any, or it is not known whether there is.
func (g *gauge) reserve(n int64) bool {
	reserved := g.reserved.Add(n)
	if g.limited() && g.known.Load() && g.added.Load()+reserved > g.room.Load() {
		g.reserved.Add(-n)
		return false
	}
	return true
}

// count takes note of how much was counted, when addedBefore was added already, and of
// this replica's part of what is left.
func (g *gauge) count(n, addedBefore int64, own float64, others []float64) {
	g.counted.Store(n)
	g.added.Add(-addedBefore)
	g.room.Store(roomShare(g.limit.Load()-n, own, others))
	g.known.Store(true)
}
