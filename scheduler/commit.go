package scheduler

import (
	"context"
	"errors"
	"time"
)

// commitJob is one task's change on its way: decided on the state believed in,
// written if that is still so, decided again if it is not.
type commitJob struct {
	key TaskKey
	// believed is the state that the engine thinks the task is in; guess says
	// that it thinks there is no such task. Neither: it has to look.
	believed *Task
	guess    bool
	// decide returns what the task becomes, nil where nothing is to be written,
	// or an error. It may be called several times and must leave no trace but
	// its last results.
	decide func(ctx context.Context, t *Task, nowMS int64) (*Task, error)
	// remove, set by decide, says that the task's record goes.
	remove bool
	// reads says that nobody takes the job's answer for a promise: what it rests on
	// need not be confirmed.
	reads bool
	// before and after are the task as it was and as it is once written.
	before, after *Task
	err           error

	next  *Task
	known bool // believed is what the store said in this call
	// unconfirmed says that what it said may be lost yet, confirm that the next look
	// is to make sure of it.
	unconfirmed, confirm bool
	nowMS                int64 // the store's own time, once it has refused ours
	done                 bool
	// written says that after is what the store holds since.
	written bool
	again   bool // the store did not answer; try once more
	// tried is the task as it was before a write that the store has not answered and may
	// have carried out, and unsure whether there is one.
	tried  *Task
	unsure bool
}

// commit carries out jobs, those of one task one after the other in their
// order, and leaves each one's result in it.
func (s *Scheduler) commit(ctx context.Context, jobs []*commitJob) {
	pending := make([]*commitJob, 0, len(jobs))
	for _, j := range jobs {
		if j != nil {
			pending = append(pending, j)
		}
	}
	for tries := 0; len(pending) > 0; tries++ {
		turn, later := firstOfEach(pending)
		s.commitTurn(ctx, turn)
		s.pause(ctx, turn, tries)
		rest := pending[:0]
		// Only those that come later want to know.
		var latest map[TaskKey]*commitJob
		if len(later) > 0 {
			latest = make(map[TaskKey]*commitJob, len(turn))
		}
		for _, j := range turn {
			if !j.done {
				rest = append(rest, j)
			} else if latest != nil && (j.known || j.written) {
				latest[j.key] = j
			}
		}
		for _, j := range later {
			if was, ok := latest[j.key]; ok {
				t := was.current()
				// What they have left unconfirmed is no better known for having been seen here.
				j.believed, j.guess, j.known, j.unconfirmed = t, t == nil, true, was.unconfirmed
			}
			rest = append(rest, j)
		}
		pending = rest
	}
}

func (j *commitJob) current() *Task {
	if j.written {
		return j.after
	}
	return j.believed
}

func firstOfEach(jobs []*commitJob) (turn, later []*commitJob) {
	if len(jobs) == 1 {
		return jobs, nil
	}
	seen := make(map[TaskKey]bool, len(jobs))
	for _, j := range jobs {
		if seen[j.key] {
			later = append(later, j)
			continue
		}
		seen[j.key] = true
		turn = append(turn, j)
	}
	return turn, later
}

// commitTurn takes each job one step on: what has to be looked at is read, what
// can be decided is decided, and what is to be written is written.
func (s *Scheduler) commitTurn(ctx context.Context, jobs []*commitJob) {
	s.look(ctx, jobs)
	changes := make([]Change, 0, len(jobs))
	writing := make([]*commitJob, 0, len(jobs))
	for _, j := range jobs {
		if j.done || j.again {
			continue
		}
		if err := ctx.Err(); err != nil {
			j.fail(err)
			continue
		}
		nowMS := s.clock.nowMS()
		if j.nowMS != 0 {
			nowMS = j.nowMS
		}
		j.next, j.err = j.decide(ctx, j.believed, nowMS)
		if j.next == nil && (!j.remove || j.believed == nil) {
			// Nothing would stop an answer given on a mere belief, so it is given on
			// what the store says.
			// And an answer that stands for something written before, on what is as
			// durable as a write of its own would be.
			promises := !j.reads && j.err == nil
			if !j.known || (j.unconfirmed && promises) {
				j.believed, j.guess, j.known, j.confirm = nil, false, false, promises
				continue
			}
			j.done = true
			continue
		}
		c := Change{Key: j.key, Before: j.believed, Task: j.next, DecidedMS: nowMS, Final: j.nowMS != 0}
		changes, writing = append(changes, c), append(writing, j)
	}
	if len(changes) == 0 {
		return
	}
	committed := s.store.Commit(ctx, changes)
	if first := committed[0]; first.Err == nil {
		s.clock.heard(first.NowMS)
	}
	for i, got := range committed {
		s.settleCommit(writing[i], got)
	}
}

func (s *Scheduler) settleCommit(j *commitJob, got Committed) {
	unconfirmed := IsUnconfirmed(got.Err)
	switch {
	case got.Err != nil && !unconfirmed:
		j.unsure, j.tried = true, j.believed
		s.unanswered(j, got.Err)
	case got.Status == CommitDone:
		j.before, j.after, j.done, j.written, j.unconfirmed = j.believed, got.Task, true, true, unconfirmed
		s.moved(j.before, j.after)
	case got.Status == CommitConflict:
		s.leases.update(j.key, got.Task)
		s.dispatcher.moved(j.believed, got.Task)
		j.believed, j.guess, j.known, j.unconfirmed = got.Task, got.Task == nil, true, unconfirmed
	case got.Status == CommitSkewed:
		j.nowMS = got.NowMS
		s.clock.correct(got.NowMS)
	}
	if unconfirmed {
		// A repeat by the caller finds what is written. One by us would only wait where
		// the store has waited already.
		j.fail(got.Err)
	}
}

// look reads the tasks of those jobs that have no belief to go by.
func (s *Scheduler) look(ctx context.Context, jobs []*commitJob) {
	s.lookBy(ctx, jobs, false, s.store.Load)
	s.lookBy(ctx, jobs, true, s.store.Confirm)
}

// lookBy is look for those that are to be confirmed, or those that are not.
func (s *Scheduler) lookBy(ctx context.Context, jobs []*commitJob, confirm bool, load func(context.Context, []TaskKey) []Loaded) {
	var keys []TaskKey
	var looking []*commitJob
	for _, j := range jobs {
		if j.believed == nil && !j.guess && !j.known && !j.done && !j.again && j.confirm == confirm {
			keys, looking = append(keys, j.key), append(looking, j)
		}
	}
	if len(keys) == 0 {
		return
	}
	for i, got := range load(ctx, keys) {
		if got.Err != nil {
			s.unanswered(looking[i], got.Err)
			continue
		}
		j := looking[i]
		j.believed, j.known, j.unconfirmed = got.Task, true, got.Unconfirmed
		if j.unsure {
			s.dispatcher.moved(j.tried, got.Task)
		}
	}
}

// unanswered says what becomes of a job whose call to the store has failed. What
// the store then did is unknown; the operation id in what it would have written
// tells at the next look, as long as the caller has time for one.
func (s *Scheduler) unanswered(j *commitJob, err error) {
	if !isUnanswered(err) {
		j.fail(err)
		return
	}
	j.err, j.again = err, true
	j.believed, j.guess, j.known = nil, false, false
}

func isUnanswered(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == KindUnavailable
}

type repeatsKey struct{}

// WithRepeats bounds for how long from now on what the store has not answered is tried
// again, in calls with the context that it returns. The first try has all the time that
// ctx has. It is for calls that carry what is kept in many places, of which one that is
// away should not keep the others from their answers.
func WithRepeats(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, repeatsKey{}, time.Now().Add(d))
}

// timeToRepeat says whether a pause of d, and a try after it, are within the time that
// ctx has for repeats. Without any bound there are none.
func timeToRepeat(ctx context.Context, d time.Duration) bool {
	until, bounded := ctx.Value(repeatsKey{}).(time.Time)
	if bounded && time.Until(until) < d {
		return false
	}
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline) > 2*d
	}
	return bounded
}

// pause waits before jobs are tried again, or ends them where ctx leaves no time
// for it.
func (s *Scheduler) pause(ctx context.Context, jobs []*commitJob, tries int) {
	again := false
	for _, j := range jobs {
		again = again || j.again
	}
	if !again {
		return
	}
	d := min(firstPause<<min(tries, 10), longestPause)
	wait := timeToRepeat(ctx, d)
	if wait {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			wait = false
		}
	}
	for _, j := range jobs {
		if j.again && !wait {
			j.done = true
		}
		j.again = false
	}
}

const (
	firstPause   = 10 * time.Millisecond
	longestPause = 200 * time.Millisecond
)

func (j *commitJob) fail(err error) { j.err, j.done = err, true }
