package scheduler

import (
	"cmp"
	"context"
	"time"
)

// Extended is the answer to one token of Extend.
type Extended struct {
	// LeaseEndMS is when the lease now ends.
	LeaseEndMS int64
	Err        error
}

// Extend makes leases end d from now (0: each lease's own length), each alone,
// and answers in order. A lease that has ended is extended too, unless a later
// claim has taken its attempt.
func (s *Scheduler) Extend(ctx context.Context, namespace string, tokens []string, d time.Duration) []Extended {
	out := make([]Extended, len(tokens))
	jobs := make([]*commitJob, len(tokens))
	for i, token := range tokens {
		lease, err := leaseOf(namespace, token)
		if err != nil {
			out[i].Err = err
			continue
		}
		op := s.newOp()
		jobs[i] = s.leaseJob(lease, func(t *Task, nowMS int64) (*Task, error) {
			if t != nil && t.Op == op {
				return nil, nil
			}
			if !holds(t, lease) {
				return nil, leaseLost(lease.Key.ID)
			}
			next := *t
			length := d.Milliseconds()
			if length == 0 {
				length = t.LeaseMS
			}
			next.LeaseEndMS, next.Op = nowMS+length, op
			return &next, nil
		})
	}
	s.commit(ctx, jobs)
	for i, job := range jobs {
		switch {
		case job == nil:
		case job.err != nil:
			out[i].Err = job.err
		default:
			out[i].LeaseEndMS = job.current().LeaseEndMS
		}
	}
	return out
}

// Release hands a leased attempt back unfinished, due again after delay. It
// burns no retry and counts as no expiry. A repeat with the token released last
// succeeds until the next hand-out.
func (s *Scheduler) Release(ctx context.Context, namespace, token string, delay time.Duration) error {
	lease, err := leaseOf(namespace, token)
	if err != nil {
		return err
	}
	op := s.newOp()
	job := s.leaseJob(lease, func(t *Task, nowMS int64) (*Task, error) {
		if t != nil && t.State == StateScheduled && t.Released == lease.Fence {
			return nil, nil
		}
		if !holds(t, lease) {
			return nil, leaseLost(lease.Key.ID)
		}
		next := *t
		next.unlease(nowMS + delay.Milliseconds())
		next.Released, next.Op = lease.Fence, op
		return &next, nil
	})
	s.commit(ctx, []*commitJob{job})
	return job.err
}

// GiveBack takes back deliveries that were never sent: as if they had not been
// handed out, they count neither as a delivery nor as an expiry. Those whose
// task has changed in any way since are left alone: somebody has a use for them.
func (s *Scheduler) GiveBack(ctx context.Context, deliveries []Delivery) error {
	return cmp.Or(s.giveBack(ctx, deliveries)...)
}

// giveBack is GiveBack, and returns an error, or nil, for each.
func (s *Scheduler) giveBack(ctx context.Context, deliveries []Delivery) []error {
	jobs := make([]*commitJob, 0, len(deliveries))
	for _, d := range deliveries {
		lease := d.Task.Lease(s.shards)
		op := s.newOp()
		job := s.leaseJob(lease, func(t *Task, _ int64) (*Task, error) {
			if !holds(t, lease) || t.Version != d.Task.Version {
				return nil, nil
			}
			next := *t
			next.unlease(t.DueMS)
			next.Delivery--
			next.Op = op
			return &next, nil
		})
		job.reads = true
		if job.believed == nil {
			job.believed = d.Task
		}
		jobs = append(jobs, job)
	}
	s.commit(ctx, jobs)
	errs := make([]error, len(jobs))
	for i, j := range jobs {
		// Nobody was promised anything: should it be lost, the lease expires.
		if !IsUnconfirmed(j.err) {
			errs[i] = j.err
		}
	}
	return errs
}

// undelivered are tasks that were claimed and cannot be handed out, to be given back.
func undelivered(tasks []*Task) []Delivery {
	deliveries := make([]Delivery, len(tasks))
	for i, t := range tasks {
		deliveries[i].Task = t
	}
	return deliveries
}

// leaseJob is a change of a leased task, decided on what is cached of it.
func (s *Scheduler) leaseJob(lease LeaseToken, decide func(t *Task, nowMS int64) (*Task, error)) *commitJob {
	job := &commitJob{key: lease.Key}
	job.decide = func(_ context.Context, t *Task, nowMS int64) (*Task, error) { return decide(t, nowMS) }
	if t := s.leases.get(lease.Key); t != nil && t.Fence == lease.Fence {
		job.believed = t
	}
	return job
}

func holds(t *Task, lease LeaseToken) bool {
	return t != nil && t.State == StateLeased && t.Fence == lease.Fence
}

func leaseOf(namespace, token string) (LeaseToken, error) {
	lease, err := ParseLeaseToken(token)
	if err != nil {
		return LeaseToken{}, Invalid(violation("lease_token", "is not a token that this service has issued"))
	}
	if lease.Key.Namespace != namespace {
		return LeaseToken{}, Invalid(violation("lease_token", "is of another namespace than %q", namespace))
	}
	return lease, nil
}
