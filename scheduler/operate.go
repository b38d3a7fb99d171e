package scheduler

import "context"

// Task returns a task, or KindTaskNotFound.
func (s *Scheduler) Task(ctx context.Context, key TaskKey) (*Task, error) { panic("unfinished") }

// Cancel ends a SCHEDULED, LEASED or HELD task for good; in any other state but
// CANCELLED it returns KindWrongState.
func (s *Scheduler) Cancel(ctx context.Context, key TaskKey) (*Task, error) { panic("unfinished") }

// RetryNow makes a SCHEDULED task's attempt due at once, or at the end of the
// pause window that is open.
func (s *Scheduler) RetryNow(ctx context.Context, key TaskKey) (*Task, error) { panic("unfinished") }

// Reschedule makes a SCHEDULED task's attempt due at timeMS (a past one: now), or
// at the end of the pause window that is open then.
func (s *Scheduler) Reschedule(ctx context.Context, key TaskKey, timeMS int64) (*Task, error) {
	panic("unfinished")
}

// Replay schedules a DEAD task anew, in its next generation.
func (s *Scheduler) Replay(ctx context.Context, key TaskKey) (*Task, error) { panic("unfinished") }

// Discard ends a HELD or DEAD task for good.
func (s *Scheduler) Discard(ctx context.Context, key TaskKey) (*Task, error) { panic("unfinished") }
