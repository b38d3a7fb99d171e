package scheduler

import "context"

// QueueView is what operators see of a queue.
type QueueView struct {
	Key QueueKey
	// Scheduled, Leased, Held and Dead count its tasks by state. Due are those that
	// wait for a worker: SCHEDULED and due, or LEASED with a lease that has ended.
	Scheduled, Due, Leased, Held, Dead int64
	// OldestDueAgeMS is for how long the oldest of Due has been due.
	OldestDueAgeMS int64
	Paused         bool
	PausedUntilMS  int64
	Health         []HealthMetric
}

// Queues returns a page of the namespace's queues by name, after the name given,
// and whether more follow.
func (s *Scheduler) Queues(ctx context.Context, namespace, after string, limit int) (page []QueueView, more bool, err error) {
	panic("unfinished")
}

// Queue returns a queue, or KindQueueNotFound.
func (s *Scheduler) Queue(ctx context.Context, key QueueKey) (QueueView, error) { panic("unfinished") }

// PauseQueue stops the handing out of a queue's attempts until untilMS, or for
// good where that is 0. Queues that are not known yet may be paused too.
func (s *Scheduler) PauseQueue(ctx context.Context, key QueueKey, untilMS int64) (QueueView, error) {
	panic("unfinished")
}

// ResumeQueue ends a queue's pause; one that is not paused is left as it is.
func (s *Scheduler) ResumeQueue(ctx context.Context, key QueueKey) (QueueView, error) {
	panic("unfinished")
}

// Group returns a group's counts, or KindGroupNotFound.
func (s *Scheduler) Group(ctx context.Context, key GroupKey) (GroupCount, error) { panic("unfinished") }

// DeleteGroup forgets a group's counts, or returns KindGroupNotFound.
func (s *Scheduler) DeleteGroup(ctx context.Context, key GroupKey) error { panic("unfinished") }
