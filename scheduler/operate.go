package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/retryd/retryd/policy"
)

// Task returns a task, or KindTaskNotFound. One whose deadline has passed is dead,
// and the attempt of one that is due while its policy pauses is due at the pause's
// end: the first who asks finds that out, and it is written. The operations on a
// task find it so as well.
func (s *Scheduler) Task(ctx context.Context, key TaskKey) (*Task, error) {
	return s.current(ctx, key)
}

// Cancel ends a SCHEDULED, LEASED or HELD task for good; in any other state but
// CANCELLED, where it is left as it is, it returns KindWrongState. Whoever holds
// its lease has lost it.
func (s *Scheduler) Cancel(ctx context.Context, key TaskKey) (*Task, error) {
	return s.operate(ctx, key, s.cancelJob)
}

// RetryNow makes a SCHEDULED task's attempt due at once, or at the end of the
// pause window that is open. One that is due no later is left as it is. In any
// other state it returns KindWrongState.
func (s *Scheduler) RetryNow(ctx context.Context, key TaskKey) (*Task, error) {
	return s.operate(ctx, key, s.retryNowJob)
}

// Reschedule makes a SCHEDULED task's attempt due at timeMS (a past one: now), or
// at the end of the pause window that is open then. It returns KindInvalid for a
// time after the deadline that binds the task, and KindWrongState in any other
// state.
func (s *Scheduler) Reschedule(ctx context.Context, key TaskKey, timeMS int64) (*Task, error) {
	return s.operate(ctx, key, func(t *Task) *commitJob { return s.rescheduleJob(t, timeMS) })
}

// Replay schedules a DEAD task anew, in its next generation, due at once or at the
// end of the pause window that is open. In any other state it returns
// KindWrongState.
func (s *Scheduler) Replay(ctx context.Context, key TaskKey) (*Task, error) {
	return s.operate(ctx, key, func(t *Task) *commitJob {
		return s.replayJob(t, func(nowMS int64) int64 { return nowMS })
	})
}

// Discard ends a HELD or DEAD task for good; in any other state but DISCARDED,
// where it is left as it is, it returns KindWrongState.
func (s *Scheduler) Discard(ctx context.Context, key TaskKey) (*Task, error) {
	return s.operate(ctx, key, s.discardJob)
}

// operate carries out an operation on one task, on the state in which Task tells
// it to be.
func (s *Scheduler) operate(ctx context.Context, key TaskKey, jobOn func(t *Task) *commitJob) (*Task, error) {
	t, err := s.current(ctx, key)
	if err != nil {
		return nil, err
	}
	job := jobOn(t)
	s.commit(ctx, []*commitJob{job})
	if job.err != nil {
		return nil, job.err
	}
	return job.current(), nil
}

// operation is what an operator may have done to a task.
type operation struct {
	// from are the states that it takes; takes says so in words.
	from  []State
	takes string
	// done is the state in which nothing is left to do, StateUnknown for none.
	done State
	// apply returns what the task becomes, nil where it stays as it is. With both a
	// task and an error the one is written and the other told.
	apply func(ctx context.Context, t *Task, pol *ruling, nowMS int64) (*Task, error)
}

// operationJob carries out an operation on the state believed in, and where that
// has changed since, on the one that the task is then in.
func (s *Scheduler) operationJob(believed *Task, o operation) *commitJob {
	op := s.newOp()
	key := believed.Key
	return &commitJob{key: key, believed: believed, decide: func(ctx context.Context, t *Task, nowMS int64) (*Task, error) {
		switch {
		case t == nil:
			return nil, taskNotFound(key)
		case t.Op == op, t.State == o.done:
			return nil, nil
		case !slices.Contains(o.from, t.State):
			return nil, notTaken(t, o.takes)
		}
		pol, err := s.policyUnderWay(ctx, t)
		if err != nil {
			return nil, err
		}
		next, err := o.apply(ctx, t, pol, nowMS)
		if next != nil {
			next.Op = op
		}
		return next, err
	}}
}

// endJob ends a task for good.
func (s *Scheduler) endJob(t *Task, state State, takes string, from ...State) *commitJob {
	return s.operationJob(t, operation{
		from: from, takes: takes, done: state,
		apply: func(_ context.Context, t *Task, pol *ruling, nowMS int64) (*Task, error) {
			next := *t
			next.end(state, nowMS, pol.retentionMS)
			return &next, nil
		},
	})
}

func (s *Scheduler) cancelJob(t *Task) *commitJob {
	return s.endJob(t, StateCancelled, "a SCHEDULED, LEASED or HELD task can be cancelled",
		StateScheduled, StateLeased, StateHeld)
}

func (s *Scheduler) discardJob(t *Task) *commitJob {
	return s.endJob(t, StateDiscarded, "a HELD or DEAD task can be discarded", StateHeld, StateDead)
}

func (s *Scheduler) retryNowJob(t *Task) *commitJob {
	return s.operationJob(t, operation{
		from: []State{StateScheduled}, takes: "a SCHEDULED task can be retried now",
		apply: func(_ context.Context, t *Task, pol *ruling, nowMS int64) (*Task, error) {
			dueMS := nowMS
			if until, paused := pol.pausedUntil(t, nowMS); paused {
				dueMS = until
			}
			// In a window's spread the time drawn now may be later than the one drawn
			// before: whoever is in a hurry is not put off.
			if dueMS >= t.DueMS {
				return nil, nil
			}
			next := *t
			next.Trigger, next.DueMS = TriggerRetryNow, dueMS
			return &next, nil
		},
	})
}

func (s *Scheduler) rescheduleJob(t *Task, timeMS int64) *commitJob {
	return s.operationJob(t, operation{
		from: []State{StateScheduled}, takes: "a SCHEDULED task can be rescheduled",
		apply: func(_ context.Context, t *Task, pol *ruling, nowMS int64) (*Task, error) {
			dueMS, why := max(timeMS, nowMS), ""
			if until, paused := pol.pausedUntil(t, dueMS); paused {
				dueMS, why = until, ", to which a pause window puts it off,"
			}
			if deadlineMS := t.deadlineMS(); deadlineMS != 0 && dueMS > deadlineMS {
				return nil, Invalid(violation("time", "%s%s is after the task's deadline, %s; allowed: up to the deadline", clockTime(dueMS), why, clockTime(deadlineMS)))
			}
			if dueMS == t.DueMS {
				return nil, nil
			}
			next := *t
			next.DueMS = dueMS
			return &next, nil
		},
	})
}

// replayJob schedules a dead letter in its next generation, due when dueMS says.
// A task of a job that had no policy for it takes the one that it has now.
func (s *Scheduler) replayJob(t *Task, dueMS func(nowMS int64) int64) *commitJob {
	return s.operationJob(t, operation{
		from: []State{StateDead}, takes: "a DEAD task can be replayed",
		apply: func(ctx context.Context, t *Task, pol *ruling, nowMS int64) (*Task, error) {
			next := t.replayed(dueMS(nowMS))
			if t.Spec.Policy == "" {
				if err := s.resolveAgain(ctx, next); err != nil {
					return nil, err
				}
				var err error
				if pol, err = s.policyUnderWay(ctx, next); err != nil {
					return nil, err
				}
			}
			pol.place(next)
			return next, nil
		},
	})
}

// releaseJob schedules a held task's next attempt, due when dueMS says. One whose
// deadline has passed dies of it instead, and is told to be in the wrong state.
func (s *Scheduler) releaseJob(t *Task, dueMS func(nowMS int64) int64) *commitJob {
	const takes = "a HELD task can be released"
	return s.operationJob(t, operation{
		from: []State{StateHeld}, takes: takes,
		apply: func(_ context.Context, t *Task, pol *ruling, nowMS int64) (*Task, error) {
			if pastDeadline(t, nowMS) {
				dead := *t
				dead.die(policy.ReasonDeadline, nowMS, pol.deadLetterRetentionMS)
				return &dead, notTaken(&dead, takes)
			}
			next := t.releasedAt(dueMS(nowMS))
			pol.place(next)
			return next, nil
		},
	})
}

// notTaken refuses an operation in the state that the task is in.
func notTaken(t *Task, takes string) *Error {
	return &Error{
		Kind:     KindWrongState,
		Message:  fmt.Sprintf("task %q is %s; only %s", t.Key.ID, t.State, takes),
		Metadata: map[string]string{"task_id": t.Key.ID, "state": t.State.String()},
	}
}

// clockTime is a moment as messages spell it.
func clockTime(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}
