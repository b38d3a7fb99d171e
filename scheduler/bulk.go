package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/retryd/retryd/policy"
)

// Bulk asks for something to be done to many tasks.
type Bulk struct {
	Namespace string
	Filter    TaskFilter
	After     Cursor
	// Rate is how many attempts a second are to fall due, 0 for all at once, else
	// from MinRate to MaxRate. Discarding has none.
	Rate float64
	// StartMS is when the first is to fall due; 0, and a time that has passed, mean
	// now.
	StartMS int64
	// UntilMS is when the first of several calls was made, by the store's clock, 0 for
	// the first: what has died or was held later is no matter of theirs. Without that,
	// calls would move a task again that has died again, and would go on for as long
	// as tasks do.
	UntilMS int64
	// ValidateOnly asks only how many it would be.
	ValidateOnly bool
}

// Moved is what has been done.
type Moved struct {
	// Moved is how many tasks this call has moved, or would have with ValidateOnly.
	Moved int64
	// Remaining is how many are still to be looked at behind Next; where the filter
	// is answered by an index, all of them match. In a namespace of very many queues
	// it counts only those of the next 1,000 or so.
	Remaining int64
	// Next is where the call has ended, zero when nothing follows, NextStartMS when
	// the next call's first attempt is to fall due, and UntilMS the next call's.
	Next                 Cursor
	NextStartMS, UntilMS int64
}

const (
	// MaxMoved is how many tasks one call moves at the most.
	MaxMoved = maxLooked
	// MinRate is the lowest rate, in attempts a second.
	MinRate = 0.001
	// MaxRate is the highest.
	MaxRate = 1_000_000
	// maxCounted is how many indexes are counted for Remaining, beside those read.
	maxCounted = 1000
)

// ReplayMany replays DEAD tasks, at most MaxMoved; see [Scheduler.Replay].
//
// The i-th of them falls due at StartMS + i/Rate. A task that somebody else moves
// meanwhile is passed over, and so is one that cannot be replayed. When the store
// fails after some have been moved, the answer tells of those, and Next where to
// go on; only when none has, it is the error. What is moved and not confirmed is
// told like what the store has failed for. Whoever has lost an answer calls again
// without After: what has been moved is no longer found.
func (s *Scheduler) ReplayMany(ctx context.Context, b Bulk) (Moved, error) {
	return s.moveMany(ctx, b, b.ValidateReplay(), s.replayJob)
}

// ReleaseHeld schedules the next attempts of HELD tasks of one condition, at most
// MaxMoved, as ReplayMany does those of dead letters. Retries that are used up
// keep none of them back.
func (s *Scheduler) ReleaseHeld(ctx context.Context, b Bulk) (Moved, error) {
	return s.moveMany(ctx, b, b.ValidateRelease(), s.releaseJob)
}

// DiscardMany discards HELD or DEAD tasks, at most MaxMoved. Which of them has to
// be said, by the filter's state or by what only tasks in that state have.
func (s *Scheduler) DiscardMany(ctx context.Context, b Bulk) (Moved, error) {
	return s.moveMany(ctx, b, b.ValidateDiscard(), func(t *Task, _ func(int64) int64) *commitJob { return s.discardJob(t) })
}

// ValidateReplay says what is wrong with b for [Scheduler.ReplayMany], and fills in
// what follows from the rest of it.
func (b *Bulk) ValidateReplay() []policy.Violation {
	return append(b.only(StateDead, "replayed"), b.checkRate()...)
}

// ValidateRelease is ValidateReplay for [Scheduler.ReleaseHeld].
func (b *Bulk) ValidateRelease() []policy.Violation {
	bad := b.only(StateHeld, "released")
	if b.Filter.Condition == "" {
		bad = append(bad, violation("condition", "is missing: tasks are released by the condition that they are held for"))
	}
	return append(bad, b.checkRate()...)
}

// ValidateDiscard is ValidateReplay for [Scheduler.DiscardMany].
func (b *Bulk) ValidateDiscard() []policy.Violation {
	bad := b.Filter.Validate()
	switch b.Filter.State {
	case StateHeld, StateDead:
	case StateUnknown:
		bad = append(bad, violation("state", "is missing: it must be HELD or DEAD, or follow from a condition, a fingerprint or a dead_reason"))
	default:
		bad = append(bad, violation("state", "is %s; only HELD and DEAD tasks can be discarded", b.Filter.State))
	}
	if b.Rate != 0 {
		bad = append(bad, violation("rate", "is %v; it must be left out, since nothing falls due when tasks are discarded", b.Rate))
	}
	return bad
}

// only holds the filter to a state.
func (b *Bulk) only(state State, verb string) []policy.Violation {
	var bad []policy.Violation
	switch b.Filter.State {
	case StateUnknown:
		b.Filter.State = state
	case state:
	default:
		bad = append(bad, violation("state", "is %s; only %s tasks can be %s", b.Filter.State, state, verb))
	}
	return append(bad, b.Filter.Validate()...)
}

func (b *Bulk) checkRate() []policy.Violation {
	within := b.Rate >= MinRate && b.Rate <= MaxRate
	if b.Rate == 0 || within {
		return nil
	}
	return []policy.Violation{violation("rate", "is %v attempts a second; it must be from %v to %d, or 0 for all at once", b.Rate, MinRate, MaxRate)}
}

// moveMany does what job does to each task of the filter, which has been checked:
// bad is what is wrong with b.
func (s *Scheduler) moveMany(ctx context.Context, b Bulk, bad []policy.Violation, job func(t *Task, dueMS func(nowMS int64) int64) *commitJob) (Moved, error) {
	if len(bad) > 0 {
		return Moved{}, Invalid(bad...)
	}
	w, err := s.newWalk(b.Namespace, b.Filter, b.After, MaxMoved)
	if err != nil {
		return Moved{}, err
	}
	if w.untilMS = b.UntilMS; w.untilMS == 0 {
		if w.untilMS, err = s.store.Now(ctx); err != nil {
			return Moved{}, fmt.Errorf("read the store's clock: %w", err)
		}
	}
	m := mover{s: s, walk: w, job: job, rate: b.Rate, startMS: max(b.StartMS, s.clock.nowMS())}
	return m.run(ctx, b.ValidateOnly)
}

// mover does something to many tasks.
type mover struct {
	s    *Scheduler
	walk *walk
	job  func(t *Task, dueMS func(nowMS int64) int64) *commitJob
	rate float64
	// startMS is when the first attempt falls due, where they fall due at a rate,
	// slots how many of their due times have been given away.
	startMS int64
	slots   int
}

func (m *mover) run(ctx context.Context, validateOnly bool) (Moved, error) {
	var out Moved
	var left int64
	var failed error
	move := m.move
	if validateOnly {
		move = m.match
	}
	out.Next = m.walk.at
	for looked := 0; looked < maxLooked && failed == nil; {
		ix, places, err := m.walk.read(ctx, min(loadedAtOnce, maxLooked-looked))
		if err != nil || len(places) == 0 {
			failed = err
			break
		}
		looked += len(places)
		var moved int
		moved, failed = move(ctx, ix, places)
		out.Moved += int64(moved)
		if failed != nil {
			left = int64(len(places) - moved)
			break
		}
		out.Next = m.walk.at
	}
	if failed != nil && out.Moved == 0 {
		return Moved{}, failed
	}
	if failed == nil {
		out.Next = m.walk.next()
	}
	n, err := m.walk.count(ctx, maxCounted)
	if err != nil && out.Moved == 0 {
		return Moved{}, err
	}
	out.Remaining = left + n
	out.UntilMS = m.walk.untilMS
	if m.rate > 0 {
		out.NextStartMS = m.slotMS(m.slots)
	}
	return out, nil
}

// match returns how many of the tasks would be moved.
func (m *mover) match(ctx context.Context, ix Index, places []Place) (int, error) {
	if m.walk.exact {
		return len(places), nil
	}
	tasks, err := m.walk.tasks(ctx, ix, places)
	n := 0
	for _, t := range tasks {
		if t != nil {
			n++
		}
	}
	return n, err
}

// errMovedOn is why a job does nothing to a task that is no longer where it was
// found.
var errMovedOn = errors.New("the task has moved on")

// move moves those of the tasks that match, and returns how many it has moved,
// also when the store has failed for others.
func (m *mover) move(ctx context.Context, ix Index, places []Place) (int, error) {
	tasks, err := m.walk.tasks(ctx, ix, places)
	if err != nil {
		return 0, err
	}
	var jobs []*commitJob
	for i, t := range tasks {
		if t != nil {
			jobs = append(jobs, m.jobOf(t, Entry{ix, places[i].MS}))
		}
	}
	m.s.commit(ctx, jobs)
	moved := 0
	for _, j := range jobs {
		var refused *Error
		switch {
		case j.err == nil:
			moved++
		case errors.Is(j.err, errMovedOn):
		case errors.As(j.err, &refused) && !refused.ofStore():
		default:
			err = j.err
		}
	}
	return moved, err
}

// ofStore says whether the store has failed, or could not confirm, rather than the
// task being one that cannot be moved.
func (e *Error) ofStore() bool {
	return e.Kind == KindUnavailable || e.Kind == KindUnconfirmed || e.Kind == KindFull
}

// jobOf moves one task, as long as it is where it was found: what has come back
// there after it was moved is not moved again.
func (m *mover) jobOf(t *Task, at Entry) *commitJob {
	due := func(nowMS int64) int64 { return nowMS }
	if m.rate > 0 {
		dueMS := m.slotMS(m.slots)
		due = func(int64) int64 { return dueMS }
	}
	m.slots++
	job := m.job(t, due)
	decide := job.decide
	var op OpID
	job.decide = func(ctx context.Context, now *Task, nowMS int64) (*Task, error) {
		next, err := decide(ctx, now, nowMS)
		switch {
		case err != nil:
		case next == nil && now.Op != op:
			// Somebody else has done the same to it.
			return nil, errMovedOn
		case next != nil && !now.isAt(at):
			return nil, errMovedOn
		case next != nil:
			op = next.Op
		}
		return next, err
	}
	return job
}

// slotMS is when the n-th attempt falls due.
func (m *mover) slotMS(n int) int64 {
	return m.startMS + int64(math.Round(float64(n)*1000/m.rate))
}
