package redisstore

import (
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// Calls share a node's patience while they are few and small, and those that were not
// answered before get more of it.
func TestPatience(t *testing.T) {
	t.Parallel()
	of := func(n, bytes, repeats int) (calls []*call) {
		for range n {
			calls = append(calls, &call{bytes: bytes, repeats: repeats})
		}
		return calls
	}
	for name, row := range map[string]struct {
		calls    []*call
		together int
		patience time.Duration
	}{
		"few":            {of(3, 100, 0), 3, nodePatience},
		"many":           {of(1000, 100, 0), maxPatiently, nodePatience},
		"large":          {of(100, 1<<20, 0), 4, nodePatience},
		"too large":      {of(2, 8<<20, 0), 1, nodePatience},
		"repeated":       {of(2, 100, 10), 2, nodePatience + 10*repeatPatience},
		"one repeated":   {append(of(2, 100, 0), of(1, 100, 4)...), 3, nodePatience + 4*repeatPatience},
		"often repeated": {of(2, 100, 1000), 2, maxPatience},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for confirmed, more := range map[scheduler.Durability]time.Duration{
				scheduler.DurabilityEverySecond: 0, scheduler.DurabilityReplicated: confirmTime,
			} {
				s := &Store{cfg: Config{Durability: confirmed}}
				some, patience := s.patiently(row.calls)
				if len(some) != row.together || patience != row.patience+more {
					t.Errorf("%d calls for %s, want %d for %s", len(some), patience, row.together, row.patience+more)
				}
			}
		})
	}
}
