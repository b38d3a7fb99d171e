package scheduler

import (
	"sync"

	"github.com/retryd/retryd/policy"
)

// maxRulings is how many policies are kept compiled. More than these are seldom used at
// once, and to compile one takes microseconds.
const maxRulings = 1000

// rulings keeps policies compiled, so that each revision is parsed once. Nobody tells it
// of those that are deleted or used no more: once there are too many, it begins anew with
// those that are asked for.
type rulings struct {
	mu sync.RWMutex
	of map[policyKey]*ruling
}

type policyKey struct{ namespace, id string }

// get returns rec's policy compiled.
func (c *rulings) get(rec *PolicyRecord) *ruling {
	key := policyKey{rec.Namespace, rec.Policy.ID}
	c.mu.RLock()
	r := c.of[key]
	c.mu.RUnlock()
	if r != nil && r.revision == rec.Revision {
		return r
	}
	r = &ruling{
		compiled:              policy.Compile(rec.Policy),
		revision:              rec.Revision,
		deleted:               rec.DeleteMS != 0,
		maxLeaseExpiries:      rec.Policy.MaxLeaseExpiries,
		retentionMS:           rec.Policy.Retention.Milliseconds(),
		deadLetterRetentionMS: rec.Policy.DeadLetterRetention.Milliseconds(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[policyKey]*ruling)
	}
	if len(c.of) >= maxRulings {
		clear(c.of)
	}
	c.of[key] = r
	return r
}
