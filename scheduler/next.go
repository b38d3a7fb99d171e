package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/retryd/retryd/policy"
)

// NextRequest asks for a task's next attempt, or for any due attempt of a
// queue. Exactly one of TaskID and Queue is set.
type NextRequest struct {
	Namespace string
	TaskID    string
	Queue     string
	// Wait is how long to wait for the attempt to fall due, and where a lease is asked
	// for and its queue is paused, for the queue to be resumed; 0 asks how things
	// stand.
	Wait time.Duration
	// Lease asks for a lease of that length. By task id, 0 asks only to be told;
	// by queue it is always set.
	Lease  time.Duration
	Worker string
}

// NextAnswer tells how things stand.
type NextAnswer struct {
	// State is StateUnknown when a queue was asked for and nothing was leased.
	State   State
	Attempt int
	// TimeMS is when the attempt falls or fell due, by queue when the earliest of
	// it does; 0 when nothing is to come.
	TimeMS int64
	// DueInMS is the time until then, at least 0.
	DueInMS int64
	Due     bool
	// Last is the record of the last failure, nil when there is none.
	Last *AttemptRecord
	// Leased is set when the caller has got a lease.
	Leased *Delivery
	// Again says that the lease was the caller's before: it is not to be given
	// back when this answer is lost, since an earlier one may have arrived.
	Again bool
}

// Next tells when the next attempt falls due, waits for it, or leases it to the
// caller. A caller that goes away before it has the answer must give the lease
// back with GiveBack.
func (s *Scheduler) Next(ctx context.Context, r NextRequest) (NextAnswer, error) {
	if r.Queue != "" {
		return s.nextOfQueue(ctx, r)
	}
	return s.nextOfTask(ctx, r)
}

// nextOfTask tells of one task, and where a lease is asked for, takes it.
func (s *Scheduler) nextOfTask(ctx context.Context, r NextRequest) (NextAnswer, error) {
	key := TaskKey{r.Namespace, r.TaskID}
	changed, stop := s.watchers.watch(key)
	defer stop()
	repaused, stopPauses := s.pauses.watch(r.Namespace)
	defer stopPauses()
	deadline := time.NewTimer(r.Wait)
	defer deadline.Stop()
	for {
		t, err := s.current(ctx, key)
		if err != nil {
			return NextAnswer{}, err
		}
		nowMS := s.clock.nowMS()
		lookMS, waiting := t.LookMS()
		due := waiting && lookMS <= nowMS
		shut := false
		if r.Lease > 0 {
			again, err := s.mayHandAgain(ctx, t, r.Worker, nowMS)
			if err != nil {
				return NextAnswer{}, err
			}
			if again {
				d, err := s.handAgain(ctx, t)
				if err != nil {
					return NextAnswer{}, err
				}
				if d == nil {
					continue
				}
				a := s.tell(d.Task, nowMS, d)
				a.Again = true
				return a, nil
			}
			if due {
				leased, openMS, err := s.claimTask(ctx, t, r)
				if err != nil {
					return NextAnswer{}, err
				}
				if leased != nil {
					return *leased, nil
				}
				// It was put back, has died, somebody else was faster, or its queue is paused.
				if t, err = s.current(ctx, key); err != nil {
					return NextAnswer{}, err
				}
				lookMS, waiting = t.LookMS()
				shut = waiting && openMS != 0
				switch {
				case shut:
					lookMS = openMS
				case waiting && lookMS <= s.clock.nowMS():
					continue
				}
				due = false
			}
		}
		if r.Wait <= 0 || due || (t.State != StateScheduled && !shut) {
			return s.tell(t, s.clock.nowMS(), nil), nil
		}
		// Another replica's change is seen by looking again, at least once a second.
		again := time.NewTimer(min(fallbackInterval, max(0, s.clock.until(lookMS))))
		select {
		case <-ctx.Done():
			again.Stop()
			return NextAnswer{}, ctx.Err()
		case <-s.draining:
			r.Wait = 0
		case <-deadline.C:
			r.Wait = 0
		case <-changed:
		case <-repaused:
		case <-again.C:
		}
		again.Stop()
	}
}

// current returns the task as it is to be told: dead if its deadline has passed,
// and put off if it is due while its policy pauses.
func (s *Scheduler) current(ctx context.Context, key TaskKey) (*Task, error) {
	job := &commitJob{key: key, reads: true}
	op := s.newOp()
	job.decide = func(ctx context.Context, t *Task, nowMS int64) (*Task, error) {
		if t == nil {
			return nil, taskNotFound(key)
		}
		late := pastDeadline(t, nowMS) && (t.State == StateScheduled || t.State == StateHeld)
		due := t.State == StateScheduled && t.DueMS <= nowMS
		if !late && !due {
			return nil, nil
		}
		pol, err := s.policyUnderWay(ctx, t)
		if err != nil {
			return nil, err
		}
		next := *t
		next.Op = op
		if late {
			next.die(policy.ReasonDeadline, nowMS, pol.deadLetterRetentionMS)
			return &next, nil
		}
		until, paused := pol.pausedUntil(t, nowMS)
		if !paused {
			return nil, nil
		}
		next.unlease(until)
		return &next, nil
	}
	s.commit(ctx, []*commitJob{job})
	return job.current(), job.err
}

// claimTask leases one due task to the caller; nil when it may not be handed
// out after all. openMS is when to ask again because its queue is paused, 0 when
// it is not.
func (s *Scheduler) claimTask(ctx context.Context, t *Task, r NextRequest) (leased *NextAnswer, openMS int64, err error) {
	claim := Claim{
		ID: rand.Uint64(), Queue: t.Queue(), Shard: ShardOf(t.Key, s.shards), Task: t.Key,
		Slots:  []Slot{{Count: 1, LeaseMS: r.Lease.Milliseconds(), Worker: r.Worker}},
		Nonces: nonces(1),
	}
	if err := s.quotas.refuseLease(ctx, t.Key.Namespace); err != nil {
		return nil, 0, err
	}
	got := s.store.Claim(ctx, []Claim{claim})[0]
	s.observeClaim(&got)
	s.quotas.leased(t.Key.Namespace, len(got.Tasks)-len(got.Expired))
	if got.Paused {
		openMS = got.NextMS
		if openMS == 0 {
			openMS = got.NowMS + fallbackInterval.Milliseconds()
		}
	}
	if IsUnconfirmed(got.Err) && len(got.Tasks) > 0 {
		return nil, 0, errors.Join(got.Err, s.GiveBack(ctx, undelivered(got.Tasks)))
	}
	lookMS, _ := t.LookMS()
	if lookMS = max(lookMS, openMS); got.Err == nil && lookMS > got.NowMS && lookMS <= s.clock.nowMS() {
		// Our clock runs ahead of the store's: asking again at once would only spin.
		s.clock.correct(got.NowMS)
	}
	again := false
	if len(got.Tasks) == 0 {
		// It may have been carried out all the same, by this call or by a first try of
		// it whose answer was lost: then the lease bears our nonce.
		now, err := s.current(ctx, t.Key)
		if err != nil || now.State != StateLeased || now.Fence.Nonce != claim.Nonces[0] {
			return nil, openMS, got.Err
		}
		// It was only read: it is handed out no more than a claim that is not confirmed.
		sure := s.store.Confirm(ctx, []TaskKey{t.Key})[0]
		switch {
		case IsUnconfirmed(sure.Err):
			return nil, 0, errors.Join(sure.Err, s.GiveBack(ctx, undelivered([]*Task{now})))
		case sure.Err != nil:
			return nil, 0, sure.Err
		case sure.Task == nil || sure.Task.State != StateLeased || sure.Task.Fence != now.Fence:
			return nil, openMS, got.Err
		}
		got.Tasks = []*Task{sure.Task}
		// What has been written since is that it was handed to another call of the same
		// worker, which has a use for it.
		again = sure.Task.Op != t.Op
	}
	for i, ok := range s.admit(ctx, got.Tasks) {
		if ok {
			now := got.Tasks[i]
			s.observeHandOut(now)
			a := s.tell(now, s.clock.nowMS(), &Delivery{Task: now, Token: now.Lease(s.shards).String()})
			a.Again = again
			return &a, 0, nil
		}
	}
	return nil, 0, nil
}

// heldBy says whether a worker of that name holds the task's lease: one that asks
// again has lost the answer.
func (t *Task) heldBy(worker string, nowMS int64) bool {
	return worker != "" && t.State == StateLeased && t.Worker == worker && t.LeaseEndMS > nowMS
}

// mayHandAgain says whether a worker of that name holds the lease and may be given it again.
// What may not be sent is put back by the call that has claimed it, or expires.
func (s *Scheduler) mayHandAgain(ctx context.Context, t *Task, worker string, nowMS int64) (bool, error) {
	if !t.heldBy(worker, nowMS) {
		return false, nil
	}
	refused, err := s.admission(ctx, t, nowMS)
	return refused == nil, err
}

// handAgain gives a lease once more to the worker that holds it; nil when it has
// lost it meanwhile. It leaves a mark on the task, so that the give-back of the
// answer that was lost, which may come only now, finds that somebody has a use
// for the lease.
func (s *Scheduler) handAgain(ctx context.Context, t *Task) (*Delivery, error) {
	lease := t.Lease(s.shards)
	op := s.newOp()
	job := &commitJob{key: t.Key, believed: t, decide: func(_ context.Context, now *Task, _ int64) (*Task, error) {
		if !holds(now, lease) || now.Op == op {
			return nil, nil
		}
		next := *now
		next.Op = op
		return &next, nil
	}}
	s.commit(ctx, []*commitJob{job})
	if job.err != nil || !holds(job.current(), lease) {
		return nil, job.err
	}
	return &Delivery{Task: job.current(), Token: lease.String()}, nil
}

func (s *Scheduler) tell(t *Task, nowMS int64, leased *Delivery) NextAnswer {
	a := NextAnswer{State: t.State, Attempt: t.Attempt, Last: t.LastFailure(), Leased: leased}
	if _, waiting := t.LookMS(); waiting {
		a.TimeMS = t.DueMS
		a.DueInMS = max(0, t.DueMS-nowMS)
		a.Due = t.DueMS <= nowMS && t.State == StateScheduled || leased != nil
	}
	return a
}

// nextOfQueue leases any due attempt of a queue.
func (s *Scheduler) nextOfQueue(ctx context.Context, r NextRequest) (NextAnswer, error) {
	sub := s.newSubscription(SubscribeOptions{
		Namespace: r.Namespace, Queues: []string{r.Queue}, MaxInFlight: 1, Lease: r.Lease, Worker: r.Worker,
	})
	got, err := s.awaitOne(ctx, sub, s.dispatcher.joinLooked(sub), r)
	if closeErr := sub.Close(context.WithoutCancel(ctx)); closeErr != nil {
		s.log.WarnContext(ctx, "an attempt that its caller did not wait for could not be given back; its lease will expire", "error", closeErr)
	}
	if err != nil {
		return NextAnswer{}, err
	}
	if got != nil {
		return s.tell(got.Task, s.clock.nowMS(), got), nil
	}
	heads, err := s.store.Heads(ctx, []QueueKey{{r.Namespace, r.Queue}})
	if err != nil {
		return NextAnswer{}, fmt.Errorf("read the head of queue %s: %w", r.Queue, err)
	}
	var a NextAnswer
	for _, head := range heads[0] {
		a.TimeMS = earlier(a.TimeMS, head.OpenMS)
	}
	if a.TimeMS != 0 {
		a.DueInMS = max(0, a.TimeMS-s.clock.nowMS())
		if a.DueInMS == 0 {
			// Something is due, and may be kept back.
			if err := s.quotas.refuseLease(ctx, r.Namespace); err != nil {
				return NextAnswer{}, err
			}
		}
	}
	return a, nil
}

// awaitOne waits for a delivery, at the least until the dispatcher has looked at
// the queue once; nil when none came.
func (s *Scheduler) awaitOne(ctx context.Context, sub *Subscription, looked <-chan struct{}, r NextRequest) (*Delivery, error) {
	timer := time.NewTimer(r.Wait)
	defer timer.Stop()
	var timedOut <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-sub.Ready():
			if d, ok := sub.Next(); ok {
				return &d, nil
			}
		case <-looked:
			looked, timedOut = nil, timer.C
		case <-timedOut:
			return nil, nil
		case <-s.draining:
			return nil, nil
		}
		if looked == nil && r.Wait <= 0 {
			d, ok := sub.Next()
			if !ok {
				return nil, nil
			}
			return &d, nil
		}
	}
}

func taskNotFound(key TaskKey) *Error {
	return &Error{
		Kind:     KindTaskNotFound,
		Message:  fmt.Sprintf("there is no task %q in namespace %q", key.ID, key.Namespace),
		Metadata: map[string]string{"task_id": key.ID},
	}
}
