package scheduler

import (
	"context"

	"github.com/retryd/retryd/policy"
)

// admit looks at tasks that were just claimed, before they are sent: an attempt
// whose task's deadline has passed, or whose leases have expired too often, is
// dead, and one in whose policy a pause window is open goes back to the window's
// end. It says of each task whether it may be sent. Where the store cannot be
// asked, the attempt is not sent: its lease expires and it comes again.
func (s *Scheduler) admit(ctx context.Context, tasks []*Task) []bool {
	ok := make([]bool, len(tasks))
	var jobs []*commitJob
	for i, t := range tasks {
		next, err := s.admission(ctx, t, s.clock.nowMS())
		switch {
		case err != nil:
			s.log.WarnContext(ctx, "an attempt is not handed out: its policy cannot be read",
				"namespace", t.Key.Namespace, "task", t.Key.ID, "error", err)
		case next == nil:
			ok[i] = true
			s.leases.put(t)
		default:
			jobs = append(jobs, s.admissionJob(t))
		}
	}
	s.commit(ctx, jobs)
	for _, j := range jobs {
		if j.err != nil {
			s.log.WarnContext(ctx, "an attempt that may not be handed out could not be put back; its lease will expire",
				"namespace", j.key.Namespace, "task", j.key.ID, "error", j.err)
		}
	}
	return ok
}

// admissionJob carries out what admission says of a claimed task, on the state
// that it is then in.
func (s *Scheduler) admissionJob(t *Task) *commitJob {
	op := s.newOp()
	return &commitJob{key: t.Key, believed: t, reads: true, decide: func(ctx context.Context, now *Task, nowMS int64) (*Task, error) {
		if now == nil || now.State != StateLeased || now.Fence != t.Fence || now.Version != t.Version {
			// It was handed to another call of the same worker, which has looked for itself.
			return nil, nil
		}
		next, err := s.admission(ctx, now, nowMS)
		if next != nil {
			next.Op = op
		}
		return next, err
	}}
}

// admission says what becomes of a task that has just been claimed, nil when it
// may be sent.
func (s *Scheduler) admission(ctx context.Context, t *Task, nowMS int64) (*Task, error) {
	pol, err := s.policyUnderWay(ctx, t)
	if err != nil {
		return nil, err
	}
	next := *t
	next.Delivery--
	switch {
	case pastDeadline(t, nowMS):
		next.die(policy.ReasonDeadline, nowMS, pol.deadLetterRetentionMS)
		return &next, nil
	case t.Expiries >= pol.maxLeaseExpiries:
		next.die(policy.ReasonLeasesExpired, nowMS, pol.deadLetterRetentionMS)
		return &next, nil
	}
	until, paused := pol.pausedUntil(t, nowMS)
	if !paused {
		return nil, nil
	}
	next.unlease(until)
	return &next, nil
}

// pausedUntil says whether one of the policy's windows keeps the task's attempt
// from being made at a moment, and until when.
func (r *ruling) pausedUntil(t *Task, atMS int64) (untilMS int64, paused bool) {
	return r.compiled.PausedUntil(t.policyState(t.Attempt), atMS)
}

// place says when the attempt in turn of a task that has been scheduled anew is
// made: when it is due, or where one of the policy's windows is open then, at its
// end; and how many retries are left after it.
func (r *ruling) place(t *Task) {
	if until, paused := r.pausedUntil(t, t.DueMS); paused {
		t.DueMS = until
	}
	t.RetriesLeft = r.compiled.RetriesLeft(t.policyState(t.Attempt), t.DueMS)
}

// pastDeadline says whether no attempt of the task may be made any more. One
// made at the deadline itself still may.
func pastDeadline(t *Task, nowMS int64) bool {
	deadline := t.deadlineMS()
	return deadline != 0 && nowMS > deadline
}
