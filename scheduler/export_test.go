package scheduler

import "context"

// ReleaseOne releases a task that is believed to be as t, as ReleaseHeld does with
// many.
func (s *Scheduler) ReleaseOne(ctx context.Context, t *Task, dueMS int64) (*Task, error) {
	job := s.releaseJob(t, func(int64) int64 { return dueMS })
	s.commit(ctx, []*commitJob{job})
	return job.current(), job.err
}
