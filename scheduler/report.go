package scheduler

import (
	"context"
	"time"

	"github.com/retryd/retryd/policy"
)

// Report is what a caller says of one attempt: that it failed, or that it
// succeeded. Its fields have been checked one by one; what it means for its
// task is decided here.
type Report struct {
	Namespace string
	// ID is the task's; it may be empty beside a token, or beside a key, from
	// which it is then derived.
	ID   string
	Spec Spec
	// Attempt is 0 when the caller does not say.
	Attempt int
	// Token is the lease's, as it came over the wire; empty for a caller that
	// holds none.
	Token string
	// Key is the idempotency key, if any.
	Key string
	// Failure is nil for a success.
	Failure *policy.Failure
	// Outcome and Message are a success's.
	Outcome, Message string
	// Trace is the trace context that the report came with. It is no part of what
	// the report says: a resend with another is the same report.
	Trace TraceContext

	op    OpID
	lease *LeaseToken
	// reserved is the room for the task, where the report makes it.
	reserved reservation
}

// Answer is what a report's caller is told.
type Answer struct {
	TaskID string
	// Duplicate says that the report had its effect before: the rest is the
	// first answer.
	Duplicate bool
	// Record is the attempt's record, with the decision on a failure.
	Record AttemptRecord
	// Attempts is how many attempts a success took.
	Attempts int
	// Trace is the trace context that the task had when the report was judged, where
	// that had an effect.
	Trace TraceContext
}

// Reported is the answer to one report of a batch.
type Reported struct {
	Answer Answer
	Err    error
}

// Report takes one report. See [Scheduler.ReportBatch].
func (s *Scheduler) Report(ctx context.Context, r Report) (Answer, error) {
	got := s.ReportBatch(ctx, []Report{r})[0]
	return got.Answer, got.Err
}

// ReportBatch takes reports and answers each, in order. One bad report spoils no
// other; of two reports of one task the later is decided after the earlier.
func (s *Scheduler) ReportBatch(ctx context.Context, reports []Report) []Reported {
	out := make([]Reported, len(reports))
	jobs := make([]*commitJob, len(reports))
	var began time.Time
	if s.cfg.Observer != nil {
		began = s.cfg.Now()
	}
	for i := range reports {
		r := &reports[i]
		if err := r.locate(); err != nil {
			out[i].Err = err
			continue
		}
		r.op = s.newOp()
		key := TaskKey{r.Namespace, r.ID}
		job := &commitJob{key: key}
		job.decide = func(ctx context.Context, t *Task, nowMS int64) (*Task, error) {
			return s.judge(ctx, t, r, nowMS, &out[i].Answer)
		}
		if t := s.leases.get(key); t != nil && r.lease != nil && t.Fence == r.lease.Fence {
			job.believed = t
		} else {
			// A report without a token may well be a new task's first, which needs no
			// look beforehand: the store says so if it is not.
			job.guess = r.lease == nil && r.firstOf()
		}
		jobs[i] = job
	}
	s.commit(ctx, jobs)
	for i, job := range jobs {
		if job != nil {
			out[i].Err = job.err
			reports[i].reserved.free()
			if job.err != nil {
				s.quotas.count(job.err)
			}
		}
		if s.cfg.Observer != nil {
			s.reported(ctx, &reports[i], job, &out[i], began)
		}
	}
	return out
}

// firstOf says whether the report says enough to be the first of its task.
func (r *Report) firstOf() bool {
	return r.Failure == nil || r.Spec.Policy != "" || r.Spec.Job != ""
}

// locate finds out which task the report is of.
func (r *Report) locate() error {
	if r.Token != "" {
		lease, err := leaseOf(r.Namespace, r.Token)
		if err != nil {
			return err
		}
		if r.ID != "" && r.ID != lease.Key.ID {
			return Invalid(violation("task.id", "%q is not the task that lease_token was issued for", r.ID))
		}
		r.ID, r.lease = lease.Key.ID, &lease
		return nil
	}
	if r.ID == "" {
		if r.Key == "" {
			return Invalid(violation("task.id", "is missing: give it, or an idempotency_key from which it is derived, or a lease_token"))
		}
		r.ID = derivedID(r.Namespace, r.Spec.Queue, r.Key)
	}
	return nil
}
