package scheduler

import (
	"context"
	"time"
)

// Observer is told what has become of tasks, after the fact, for metrics, logs and
// traces. It hears of what this replica has done only.
//
// Its methods are called concurrently and on the path of reports and hand-outs: they
// must return at once, neither wait nor call the scheduler, and change nothing that
// they are shown. What they are shown holds payloads, messages and keys, which are not
// theirs to tell.
type Observer interface {
	// Reported is told of each report that the scheduler has answered, in the context
	// of its call.
	Reported(ctx context.Context, e ReportEvent)
	// HandedOut is told of each attempt as it goes to a worker, t being its task as it
	// was leased and nowMS the store's time as the scheduler knows it. Should the
	// worker be gone it may be given back yet, as if this had not been. A lease that
	// is given once more to the worker that holds it is not told again.
	HandedOut(t *Task, nowMS int64)
	// LeaseExpired is told of each task whose lease ended without a word from its
	// worker, once that is found: t is the task as it is since.
	LeaseExpired(t *Task)
	// Died is told of each task that became a dead letter by no report, but by its
	// deadline or by its leases.
	Died(t *Task)
}

// ReportEvent is a report and what became of it.
type ReportEvent struct {
	Report *Report
	// Answer is what its caller is told if Err is nil, and otherwise counts only if
	// Effective.
	Answer *Answer
	// Task is the task as the report has left or found it, nil where there is none or
	// where that is not known.
	Task *Task
	Err  error
	// Began is when this replica began with the report, by its machine's clock.
	Began time.Time
	// written says that this report was written.
	written bool
}

// Effective says whether the report had its effect, whose record is that of Answer: it
// was neither refused nor a duplicate. An error of KindUnconfirmed may come with it.
func (e *ReportEvent) Effective() bool {
	if e.Err != nil {
		return e.written
	}
	return !e.Answer.Duplicate
}

// Observers is one observer that tells all of list, but those that are nil; it is nil
// itself where there are none.
func Observers(list ...Observer) Observer {
	var some observers
	for _, o := range list {
		if o != nil {
			some = append(some, o)
		}
	}
	switch len(some) {
	case 0:
		return nil
	case 1:
		return some[0]
	default:
		return some
	}
}

type observers []Observer

func (all observers) Reported(ctx context.Context, e ReportEvent) {
	for _, o := range all {
		o.Reported(ctx, e)
	}
}

func (all observers) HandedOut(t *Task, nowMS int64) {
	for _, o := range all {
		o.HandedOut(t, nowMS)
	}
}

func (all observers) LeaseExpired(t *Task) {
	for _, o := range all {
		o.LeaseExpired(t)
	}
}

func (all observers) Died(t *Task) {
	for _, o := range all {
		o.Died(t)
	}
}

// reported tells the observer of a report.
func (s *Scheduler) reported(ctx context.Context, r *Report, job *commitJob, got *Reported, began time.Time) {
	e := ReportEvent{Report: r, Answer: &got.Answer, Err: got.Err, Began: began}
	if job != nil {
		e.Task, e.written = job.current(), job.written
	}
	s.cfg.Observer.Reported(ctx, e)
}

// observeMove tells the observer of a change of a task that no report has made.
func (s *Scheduler) observeMove(before, after *Task) {
	if before == nil || after == nil {
		return
	}
	if after.Expiries > before.Expiries {
		s.cfg.Observer.LeaseExpired(after)
	}
	if after.State != StateDead || before.State == StateDead {
		return
	}
	if was, is := before.LastRecord(), after.LastRecord(); was == nil || is == nil || was.Op == is.Op {
		s.cfg.Observer.Died(after)
	}
}

// observeClaim tells the observer of the leases that a claim has found to have ended.
func (s *Scheduler) observeClaim(got *Claimed) {
	if s.cfg.Observer == nil {
		return
	}
	for _, t := range got.Expired {
		s.cfg.Observer.LeaseExpired(t)
	}
}

// observeHandOut tells the observer of a delivery that goes to its worker.
func (s *Scheduler) observeHandOut(t *Task) {
	if s.cfg.Observer != nil {
		s.cfg.Observer.HandedOut(t, s.clock.nowMS())
	}
}

// Load is how much this replica's workers have, and would take.
type Load struct {
	// LeasesOut are attempts that its subscriptions have out.
	LeasesOut int
	// FreeCredit is how many more they would take, all together.
	FreeCredit int
}

// Load tells of this replica's subscriptions.
func (s *Scheduler) Load() Load {
	d := s.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	l := Load{LeasesOut: len(d.out.ends)}
	for sub := range d.subs {
		// Credit that a claim on its way may use is free yet.
		l.FreeCredit += max(0, sub.maxInFlight-sub.out)
	}
	return l
}

// Refused tells the observer of a report that was refused before it came to the
// scheduler.
func (s *Scheduler) Refused(ctx context.Context, r Report, err error) {
	if s.cfg.Observer != nil {
		s.cfg.Observer.Reported(ctx, ReportEvent{Report: &r, Answer: &Answer{}, Err: err})
	}
}
