package scheduler

import "sync"

// leaseCache keeps the tasks that this replica has handed out, so that their
// outcomes are decided without reading them first. It may be wrong: another
// replica may have taken the task since; then the store says so.
type leaseCache struct {
	mu    sync.Mutex
	tasks map[TaskKey]*Task
}

func (c *leaseCache) get(key TaskKey) *Task {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tasks[key]
}

// put keeps t if it is leased, and forgets what was kept of it otherwise.
func (c *leaseCache) put(t *Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.State != StateLeased {
		delete(c.tasks, t.Key)
		return
	}
	if c.tasks == nil {
		c.tasks = make(map[TaskKey]*Task)
	}
	c.tasks[t.Key] = t
}

// update takes t for what is kept of its task, if anything is.
func (c *leaseCache) update(key TaskKey, t *Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.tasks[key]; !ok {
		return
	}
	if t == nil || t.State != StateLeased {
		delete(c.tasks, key)
		return
	}
	c.tasks[key] = t
}

// endedBefore forgets the leases that ended before ms: their workers are gone
// or late, and need not be quick.
func (c *leaseCache) endedBefore(ms int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, t := range c.tasks {
		if t.LeaseEndMS < ms {
			delete(c.tasks, key)
		}
	}
}
