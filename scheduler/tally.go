package scheduler

import "github.com/retryd/retryd/policy"

// HourMS is the span over which a queue's events are counted together.
const HourMS = int64(3_600_000)

// StatHours is for how many hours a queue's counts are kept, the current one
// among them.
const StatHours = 25

// Stat is an event that is counted by queue and hour. Its numbers are stored:
// they never change.
type Stat uint8

// The events.
const (
	// StatTasks: a task was reported for the first time.
	StatTasks Stat = iota
	// StatFirstSuccesses: it succeeded with that report, at its first attempt.
	StatFirstSuccesses
	// StatRetried: it failed with that report, and a retry was scheduled.
	StatRetried
	// StatDead: a task became a dead letter.
	StatDead
	// StatSuccesses: a task succeeded; StatAttempts adds up the attempts it took.
	StatSuccesses
	StatAttempts
	// StatSecondAttempts: an attempt 2 was reported that no replay had made;
	// StatSecondSuccesses: it succeeded.
	StatSecondAttempts
	StatSecondSuccesses
	// StatGrowth: tasks that have come under way (SCHEDULED, LEASED), less those
	// that are no more.
	StatGrowth
	// NumStats is how many there are.
	NumStats
)

// QueueStats counts a queue's events.
type QueueStats [NumStats]int64

// Add adds d.
func (s *QueueStats) Add(d QueueStats) {
	for i, n := range d {
		s[i] += n
	}
}

// Tally is what a change of one task adds to what is counted of its queue and
// its group.
type Tally struct {
	Queue QueueKey
	// Hour is when Stats happened, in hours since 1970.
	Hour  int64
	Stats QueueStats
	// Leased is how many more of the queue's tasks are LEASED.
	Leased int64
	// Bytes is by how much what the queue's live tasks carry grows.
	Bytes QueueBytes
	// Left and Entered are the hours of the first failures of the task under way
	// that is no more, and that is now; the same twice is told as none.
	Left, Entered int64
	// Group is the group's name, empty where its counts do not change.
	Group   string
	Grouped GroupCount
}

// TallyOf says what a change of a task from before (nil: it was not known) to
// after (nil: its record goes) at atMS adds to what is counted.
func TallyOf(before, after *Task, atMS int64) Tally {
	t := after
	if t == nil {
		t = before
	}
	if t == nil {
		return Tally{}
	}
	tally := Tally{Queue: t.Queue(), Hour: atMS / HourMS, Left: before.openHour(), Entered: after.openHour()}
	tally.Leased = one(after.in(StateLeased)) - one(before.in(StateLeased))
	tally.Bytes = bytesMoved(before, after)
	st := &tally.Stats
	st[StatGrowth] = one(tally.Entered != 0) - one(tally.Left != 0)
	if tally.Left == tally.Entered {
		tally.Left, tally.Entered = 0, 0
	}
	if after == nil {
		// A group goes on counting what has come of a task after its record has gone.
		return tally
	}
	rec := after.newestSince(before)
	if before == nil {
		st[StatTasks] = 1
		if rec != nil {
			st[StatFirstSuccesses] = one(rec.Success && rec.Attempt == 1)
			st[StatRetried] = one(!rec.Success && rec.Decision.Action == policy.ActionRetry)
		}
	}
	if rec != nil && rec.Attempt == 2 && after.Generation == 1 {
		st[StatSecondAttempts], st[StatSecondSuccesses] = 1, one(rec.Success)
	}
	st[StatDead] = one(after.in(StateDead) && !before.in(StateDead))
	if after.in(StateSucceeded) && !before.in(StateSucceeded) {
		st[StatSuccesses], st[StatAttempts] = 1, int64(after.Attempt)
	}
	if after.Spec.Group != "" {
		tally.Grouped = after.grouped().minus(before.grouped())
		if tally.Grouped != (GroupCount{}) {
			tally.Group = after.Spec.Group
		}
	}
	return tally
}

// QueueBytes are the bytes of payload and attributes that a queue's live tasks carry:
// those SCHEDULED or LEASED, those HELD, and those DEAD.
type QueueBytes struct {
	UnderWay, Held, Dead int64
}

// Sum is what they carry together.
func (b QueueBytes) Sum() int64 { return b.UnderWay + b.Held + b.Dead }

// Plus adds d.
func (b QueueBytes) Plus(d QueueBytes) QueueBytes {
	return QueueBytes{b.UnderWay + d.UnderWay, b.Held + d.Held, b.Dead + d.Dead}
}

// of is where a task's bytes are counted, nil where they are not.
func (b *QueueBytes) of(t *Task) *int64 {
	switch {
	case t.in(StateScheduled), t.in(StateLeased):
		return &b.UnderWay
	case t.in(StateHeld):
		return &b.Held
	case t.in(StateDead):
		return &b.Dead
	}
	return nil
}

// bytesMoved is what a change of a task means for them.
func bytesMoved(before, after *Task) QueueBytes {
	var moved QueueBytes
	if from := moved.of(before); from != nil {
		*from -= before.Spec.Bytes()
	}
	if to := moved.of(after); to != nil {
		*to += after.Spec.Bytes()
	}
	return moved
}

// in says whether the task, nil where there is none, is in a state.
func (t *Task) in(s State) bool { return t != nil && t.State == s }

// openHour is the hour since which a task under way has been so, 0 for any
// other: that of its generation's first failure, or of its due time while there
// was none.
func (t *Task) openHour() int64 {
	if !t.in(StateScheduled) && !t.in(StateLeased) {
		return 0
	}
	ms := t.FirstFailureMS
	if ms == 0 {
		ms = t.DueMS
	}
	return max(1, ms/HourMS)
}

// newestSince returns the record that the task has got since before, nil when it
// has got none.
func (t *Task) newestSince(before *Task) *AttemptRecord {
	if before != nil && len(t.History)+t.Dropped == len(before.History)+before.Dropped {
		return nil
	}
	return t.LastRecord()
}

func one(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// GroupCount counts a group's tasks.
type GroupCount struct {
	// Total counts every task reported with the group.
	Total int64
	// Completed counts those that are SUCCEEDED, Failed those that are DEAD,
	// CANCELLED or DISCARDED, and InProgress those that are LEASED.
	Completed, Failed, InProgress int64
}

// Pending counts the group's tasks that are SCHEDULED or HELD.
func (g GroupCount) Pending() int64 { return g.Total - g.Completed - g.Failed - g.InProgress }

// grouped is what the task itself adds to its group's counts.
func (t *Task) grouped() GroupCount {
	if t == nil {
		return GroupCount{}
	}
	g := GroupCount{Total: 1}
	switch t.State {
	case StateSucceeded:
		g.Completed = 1
	case StateDead, StateCancelled, StateDiscarded:
		g.Failed = 1
	case StateLeased:
		g.InProgress = 1
	}
	return g
}

func (g GroupCount) minus(o GroupCount) GroupCount {
	return GroupCount{g.Total - o.Total, g.Completed - o.Completed, g.Failed - o.Failed, g.InProgress - o.InProgress}
}

// Plus adds d. Where that would leave less than nothing of a kind, the group was
// deleted while tasks of it were under way: what changes of them then is counted
// as if it were new, and so no count is ever below zero and all still add up.
func (g GroupCount) Plus(d GroupCount) GroupCount {
	g.Total += d.Total
	for _, c := range []struct {
		n *int64
		d int64
	}{{&g.Completed, d.Completed}, {&g.Failed, d.Failed}, {&g.InProgress, d.InProgress}} {
		*c.n += c.d
		if *c.n < 0 {
			g.Total -= *c.n
			*c.n = 0
		}
	}
	g.Total = max(g.Total, g.Completed+g.Failed+g.InProgress)
	return g
}
