package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/retryd/retryd/policy"
)

// sweeper carries out what falls due where nobody asks: deadlines, the end of
// dead letters' retention, and attempts whose last permitted lease has expired
// in queues without a worker. Now and then it forgets what is counted of queues and
// groups in which nothing happens any more.
type sweeper struct {
	s *Scheduler
	// places are where this pass goes on with long queues, next where the pass
	// after it will.
	places, next map[sweptQueue]Place
	// forgetNext is when forgetting begins anew, by our own clock since the store's may
	// go back, and forgetting the shards that are not through with it, with the queue
	// that was looked at last.
	forgetNext time.Time
	forgetting map[int]QueueKey
}

type sweptQueue struct {
	key   QueueKey
	shard int
}

const (
	sweepInterval = 20 * time.Second
	sweepPage     = 100
	// sweepPages bounds what one pass looks at in one queue and shard: a backlog
	// without a worker may be long, and hardly any of it is of interest.
	sweepPages = 10
	// forgetInterval is how often queues and groups are looked through for those to
	// be forgotten, groupRetention for how long a group is kept without a change.
	forgetInterval = time.Hour
	groupRetention = 90 * 24 * time.Hour
)

func newSweeper(s *Scheduler) *sweeper {
	return &sweeper{s: s}
}

// run sweeps until ctx ends.
func (w *sweeper) run(ctx context.Context) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := w.runOnce(ctx); err != nil && ctx.Err() == nil {
			w.s.log.WarnContext(ctx, "the sweep is cut short and goes on at its next turn", "error", err)
		}
	}
}

// runOnce visits all that is to end and all that is due.
func (w *sweeper) runOnce(ctx context.Context) error {
	w.s.leases.endedBefore(w.s.clock.nowMS() - time.Minute.Milliseconds())
	w.places, w.next = w.next, make(map[sweptQueue]Place)
	var failed error
	for shard := range w.s.shards {
		failed = errors.Join(failed, w.sweepEnding(ctx, shard), w.sweepDue(ctx, shard))
	}
	return errors.Join(failed, w.forget(ctx))
}

// sweepEnding ends what ends by itself.
func (w *sweeper) sweepEnding(ctx context.Context, shard int) error {
	var after Place
	for {
		tasks, err := w.s.store.Ending(ctx, shard, after, sweepPage)
		if err != nil || len(tasks) == 0 {
			return err
		}
		if err := w.settle(ctx, tasks); err != nil {
			return err
		}
		last := tasks[len(tasks)-1]
		endingMS, _ := last.EndingMS()
		after = Place{endingMS, last.Key}
	}
}

// sweepDue ends the attempts whose leases have expired too often, in the queues
// for which this replica has no worker.
func (w *sweeper) sweepDue(ctx context.Context, shard int) error {
	// What is ended moves the queues behind it: so all that are due are asked for
	// before any is swept.
	var due []QueueKey
	for {
		page, err := w.s.store.DueQueues(ctx, shard, len(due), sweepPage)
		if err != nil {
			return err
		}
		due = append(due, page...)
		if len(page) < sweepPage {
			break
		}
	}
	for _, q := range due {
		if w.s.dispatcher.serves(q) {
			continue
		}
		if err := w.sweepQueue(ctx, q, shard); err != nil {
			return err
		}
	}
	return nil
}

// sweepQueue looks at some of what is due in a queue, from where the last pass
// ended.
func (w *sweeper) sweepQueue(ctx context.Context, q QueueKey, shard int) error {
	swept := sweptQueue{q, shard}
	after := w.places[swept]
	for range sweepPages {
		page, err := w.s.store.Due(ctx, q, shard, after, sweepPage)
		if err != nil {
			return err
		}
		if err := w.settle(ctx, page.Tasks); err != nil {
			return err
		}
		if len(page.Tasks) < sweepPage {
			return nil
		}
		last := page.Tasks[len(page.Tasks)-1]
		lookMS, _ := last.LookMS()
		after = Place{lookMS, last.Key}
	}
	w.next[swept] = after
	return nil
}

// forget forgets queues and groups that nobody will miss. A pass does a part of
// it, and the next one goes on.
func (w *sweeper) forget(ctx context.Context) error {
	if now := time.Now(); !now.Before(w.forgetNext) && len(w.forgetting) == 0 {
		w.forgetNext = now.Add(forgetInterval)
		w.forgetting = make(map[int]QueueKey)
		for shard := range w.s.shards {
			w.forgetting[shard] = QueueKey{}
		}
	}
	nowMS := w.s.clock.nowMS()
	var failed error
	for shard, after := range w.forgetting {
		after, err := w.forgetIn(ctx, shard, after, nowMS)
		failed = errors.Join(failed, err)
		if err == nil && after == (QueueKey{}) {
			delete(w.forgetting, shard)
		} else {
			w.forgetting[shard] = after
		}
	}
	return failed
}

// forgetIn does a part of one shard, after the queue given, and returns the one
// that it has looked at last, the zero QueueKey at the end.
func (w *sweeper) forgetIn(ctx context.Context, shard int, after QueueKey, nowMS int64) (QueueKey, error) {
	beforeMS := nowMS - groupRetention.Milliseconds()
	for range sweepPages {
		n, err := w.s.store.ForgetGroups(ctx, shard, beforeMS, sweepPage)
		if err != nil {
			return after, err
		}
		if n == 0 {
			break
		}
	}
	for range sweepPages {
		last, err := w.s.store.ForgetQueues(ctx, shard, after, sweepPage)
		if err != nil {
			return after, err
		}
		after = last
		if after == (QueueKey{}) {
			break
		}
	}
	return after, nil
}

// settle ends those of the tasks whose time is over.
func (w *sweeper) settle(ctx context.Context, tasks []*Task) error {
	if len(tasks) == 0 {
		return nil
	}
	var jobs []*commitJob
	for _, t := range tasks {
		next, gone, err := w.s.overdue(ctx, t, w.s.clock.nowMS())
		if err != nil {
			return err
		}
		if next != nil || gone {
			jobs = append(jobs, w.s.overdueJob(t))
		}
	}
	w.s.commit(ctx, jobs)
	var failed error
	for _, j := range jobs {
		failed = errors.Join(failed, j.err)
	}
	return failed
}

func (s *Scheduler) overdueJob(t *Task) *commitJob {
	job := &commitJob{key: t.Key, believed: t, reads: true}
	job.decide = func(ctx context.Context, now *Task, nowMS int64) (*Task, error) {
		if now == nil {
			return nil, nil
		}
		next, gone, err := s.overdue(ctx, now, nowMS)
		job.remove = gone
		return next, err
	}
	return job
}

// overdue says what becomes of a task that nobody has asked for: what it
// becomes, that its record goes, or neither.
func (s *Scheduler) overdue(ctx context.Context, t *Task, nowMS int64) (next *Task, gone bool, err error) {
	if t.State == StateDead {
		return nil, nowMS >= t.ExpireMS, nil
	}
	expired := t.State == StateLeased && nowMS >= t.LeaseEndMS
	late := pastDeadline(t, nowMS) && (expired || t.State == StateScheduled || t.State == StateHeld)
	if !late && !expired {
		return nil, false, nil
	}
	pol, err := s.policyUnderWay(ctx, t)
	if err != nil {
		return nil, false, err
	}
	reason := policy.ReasonDeadline
	if !late {
		if t.Expiries+1 < pol.maxLeaseExpiries {
			return nil, false, nil
		}
		reason = policy.ReasonLeasesExpired
	}
	dead := *t
	if expired {
		dead.Expiries++
	}
	dead.die(reason, nowMS, pol.deadLetterRetentionMS)
	return &dead, false, nil
}

// serves says whether the dispatcher has a worker for the queue, and so looks
// after it.
func (d *dispatcher) serves(key QueueKey) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.queues[key]
	return q != nil && len(q.subs) > 0
}
