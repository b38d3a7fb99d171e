package scheduler

import "sync"

// leaseCache keeps the tasks that this replica has handed out, so that their
// outcomes are decided without reading them first. It may be wrong: another
// replica may have taken the task since; then the store says so.
type leaseCache struct {
	mu    sync.Mutex
	tasks map[TaskKey]*Task
	// bytes is how long their payloads are in all.
	bytes int
}

// maxCachedBytes bounds the payloads in a leaseCache. The outcomes of what it has no room
// for are decided on what the store has, which takes a call more.
const maxCachedBytes = 32 << 20

func (c *leaseCache) get(key TaskKey) *Task {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tasks[key]
}

// put keeps t if it is leased, and forgets what was kept of it otherwise.
func (c *leaseCache) put(t *Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(t.Key, t)
}

// update takes t for what is kept of its task, if anything is.
func (c *leaseCache) update(key TaskKey, t *Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.tasks[key]; ok {
		c.set(key, t)
	}
}

// set takes t for what is kept of its task. Callers hold mu.
func (c *leaseCache) set(key TaskKey, t *Task) {
	c.drop(key)
	if t == nil || t.State != StateLeased {
		return
	}
	bytes := len(t.Spec.Payload)
	if bytes > 0 {
		// Any makes room, since those of leases that nobody settles would keep it for good.
		for other, kept := range c.tasks {
			if c.bytes+bytes <= maxCachedBytes {
				break
			}
			if len(kept.Spec.Payload) > 0 {
				c.drop(other)
			}
		}
	}
	if c.tasks == nil {
		c.tasks = make(map[TaskKey]*Task)
	}
	c.tasks[key] = t
	c.bytes += bytes
}

func (c *leaseCache) drop(key TaskKey) {
	if t := c.tasks[key]; t != nil {
		c.bytes -= len(t.Spec.Payload)
		delete(c.tasks, key)
	}
}

// endedBefore forgets the leases that ended before ms: their workers are gone
// or late, and need not be quick.
func (c *leaseCache) endedBefore(ms int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, t := range c.tasks {
		if t.LeaseEndMS < ms {
			c.drop(key)
		}
	}
}
