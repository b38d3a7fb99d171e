package scheduler

import (
	"context"
	"fmt"
	"slices"
)

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

// countedAtOnce is how many queues are counted with one call to the store.
const countedAtOnce = 100

// Queues returns a page of the namespace's queues by name, after the name given,
// and whether more follow. The queue without a name is none of them.
func (s *Scheduler) Queues(ctx context.Context, namespace, after string, limit int) (page []QueueView, more bool, err error) {
	names, more, err := s.queueNames(ctx, namespace, after, limit)
	if err != nil {
		return nil, false, err
	}
	keys := make([]QueueKey, len(names))
	for i, name := range names {
		keys[i] = QueueKey{namespace, name}
	}
	if page, err = s.viewsOf(ctx, keys); err != nil {
		return nil, false, fmt.Errorf("count the queues of namespace %s: %w", namespace, err)
	}
	return page, more, nil
}

// AllQueues returns a page of the queues of all namespaces, by namespace and name,
// after the one given (the zero QueueKey: from the first), and whether more follow.
// The queues without names, of caller-driven tasks, are among them. last is where the
// next page begins.
func (s *Scheduler) AllQueues(ctx context.Context, after QueueKey, limit int) (page []QueueView, last QueueKey, more bool, err error) {
	keys, more, err := s.queueKeys(ctx, after, limit)
	if err != nil {
		return nil, after, false, fmt.Errorf("list the queues: %w", err)
	}
	if len(keys) == 0 {
		return nil, after, false, nil
	}
	if page, err = s.viewsOf(ctx, keys); err != nil {
		return nil, after, false, fmt.Errorf("count the queues: %w", err)
	}
	return page, keys[len(keys)-1], more, nil
}

// viewsOf counts queues, and leaves out those that are not known any more.
func (s *Scheduler) viewsOf(ctx context.Context, keys []QueueKey) ([]QueueView, error) {
	var views []QueueView
	for some := range slices.Chunk(keys, countedAtOnce) {
		counts, err := s.store.CountQueues(ctx, some)
		if err != nil {
			return nil, err
		}
		for i := range counts {
			if counts[i].Known {
				views = append(views, s.viewOf(some[i], &counts[i]))
			}
		}
	}
	return views, nil
}

// Queue returns a queue, or KindQueueNotFound.
func (s *Scheduler) Queue(ctx context.Context, key QueueKey) (QueueView, error) {
	counts, err := s.store.CountQueues(ctx, []QueueKey{key})
	if err != nil {
		return QueueView{}, fmt.Errorf("count queue %s: %w", key.Name, err)
	}
	if !counts[0].Known {
		return QueueView{}, &Error{
			Kind:     KindQueueNotFound,
			Message:  fmt.Sprintf("there is no queue %q in namespace %q", key.Name, key.Namespace),
			Metadata: map[string]string{"queue": key.Name},
		}
	}
	return s.viewOf(key, &counts[0]), nil
}

// viewOf is what is shown of what was counted. The counts of a queue's shards are
// not all of one moment.
func (s *Scheduler) viewOf(key QueueKey, c *QueueCount) QueueView {
	v := QueueView{
		Key:       key,
		Scheduled: max(0, c.Waiting-c.Leased),
		Due:       c.Due,
		Leased:    c.Leased,
		Held:      c.Held,
		Dead:      c.Dead,
		Paused:    c.Paused,
		Health:    healthOf(c, s.cfg.Health),
	}
	if c.Due > 0 {
		v.OldestDueAgeMS = max(0, c.NowMS-c.HeadMS)
	}
	if c.Paused {
		v.PausedUntilMS = c.PausedUntilMS
	}
	return v
}

// PauseQueue stops the handing out of a queue's attempts until untilMS, or for
// good where that is 0, at all replicas: when it has returned, only those are
// handed out that had been claimed before. It replaces the pause that there may
// be. Queues that are not known yet may be paused too. An end that has passed is
// KindInvalid.
func (s *Scheduler) PauseQueue(ctx context.Context, key QueueKey, untilMS int64) (QueueView, error) {
	if nowMS := s.clock.nowMS(); untilMS != 0 && untilMS <= nowMS {
		return QueueView{}, Invalid(violation("until", "is %s, which has passed; it must be in the future, or left out to pause for good", clockTime(untilMS)))
	}
	if err := s.store.PauseQueue(ctx, key, untilMS); err != nil {
		return QueueView{}, fmt.Errorf("pause queue %s: %w", key.Name, err)
	}
	s.repaused(key)
	return s.Queue(ctx, key)
}

// ResumeQueue ends a queue's pause; one that is not paused is left as it is. A
// queue that is not known is KindQueueNotFound.
func (s *Scheduler) ResumeQueue(ctx context.Context, key QueueKey) (QueueView, error) {
	if err := s.store.ResumeQueue(ctx, key); err != nil {
		return QueueView{}, fmt.Errorf("resume queue %s: %w", key.Name, err)
	}
	s.repaused(key)
	return s.Queue(ctx, key)
}

// repaused tells all who wait for a queue's attempts that its pause is another, or
// over. Other replicas find that out within a second.
func (s *Scheduler) repaused(key QueueKey) {
	s.dispatcher.repaused(key)
	s.pauses.changed(key.Namespace)
}

// Group returns a group's counts, or KindGroupNotFound.
func (s *Scheduler) Group(ctx context.Context, key GroupKey) (GroupCount, error) {
	count, ok, err := s.store.Group(ctx, key)
	if err != nil {
		return GroupCount{}, fmt.Errorf("read group %s: %w", key.Name, err)
	}
	if !ok {
		return GroupCount{}, groupNotFound(key)
	}
	return count, nil
}

// DeleteGroup forgets a group's counts, or returns KindGroupNotFound. Its tasks
// stay as they are; what changes of them later is counted anew.
func (s *Scheduler) DeleteGroup(ctx context.Context, key GroupKey) error {
	ok, err := s.store.DeleteGroup(ctx, key)
	if err != nil {
		return fmt.Errorf("delete group %s: %w", key.Name, err)
	}
	if !ok {
		return groupNotFound(key)
	}
	return nil
}

func groupNotFound(key GroupKey) *Error {
	return &Error{
		Kind:     KindGroupNotFound,
		Message:  fmt.Sprintf("there is no group %q in namespace %q", key.Name, key.Namespace),
		Metadata: map[string]string{"group": key.Name},
	}
}
