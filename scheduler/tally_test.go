package scheduler_test

import (
	"slices"
	"testing"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// The hours at which the tasks below have first failed, are due, and change.
const (
	failedHour = 100
	dueHour    = 200
	nowHour    = 300
)

// inState is a task of group g that has failed once.
func inState(state scheduler.State, change ...func(*scheduler.Task)) *scheduler.Task {
	t := &scheduler.Task{
		Key: scheduler.TaskKey{Namespace: "ns", ID: "a"}, Version: 1, State: state,
		Spec:    scheduler.Spec{Queue: "q", Group: "g"},
		Attempt: 2, Generation: 1, FirstAttempt: 1,
		DueMS: dueHour * scheduler.HourMS, FirstFailureMS: failedHour*scheduler.HourMS + 1,
		History: []scheduler.AttemptRecord{failed(1)},
	}
	for _, c := range change {
		c(t)
	}
	return t
}

func failed(attempt int) scheduler.AttemptRecord {
	return scheduler.AttemptRecord{Attempt: attempt, Decision: policy.Decision{Action: policy.ActionRetry}}
}

func succeeded(attempt int) scheduler.AttemptRecord {
	return scheduler.AttemptRecord{Attempt: attempt, Success: true}
}

func recorded(recs ...scheduler.AttemptRecord) func(*scheduler.Task) {
	return func(t *scheduler.Task) { t.History = append(slices.Clip(t.History), recs...) }
}

func TestTallyOf(t *testing.T) {
	t.Parallel()
	const (
		scheduled, leased, held, dead   = scheduler.StateScheduled, scheduler.StateLeased, scheduler.StateHeld, scheduler.StateDead
		completed, cancelled, discarded = scheduler.StateSucceeded, scheduler.StateCancelled, scheduler.StateDiscarded
	)
	type stats = map[scheduler.Stat]int64
	first := func(state scheduler.State, rec scheduler.AttemptRecord) *scheduler.Task {
		return inState(state, func(t *scheduler.Task) { t.History, t.Attempt = []scheduler.AttemptRecord{rec}, rec.Attempt })
	}
	toldDead := failed(1)
	toldDead.Decision.Action = policy.ActionDeadLetter
	long := func(n int) func(*scheduler.Task) {
		return func(t *scheduler.Task) { t.Dropped = n }
	}
	fresh := func(t *scheduler.Task) { t.FirstFailureMS, t.Generation = 0, 2 }
	for name, c := range map[string]struct {
		before, after *scheduler.Task
		stats         stats
		leased        int64
		left, entered int64
		grouped       scheduler.GroupCount
	}{
		"nothing": {},
		"reported, to be retried": {
			after: first(scheduled, failed(1)), stats: stats{scheduler.StatTasks: 1, scheduler.StatRetried: 1, scheduler.StatGrowth: 1},
			entered: failedHour, grouped: scheduler.GroupCount{Total: 1},
		},
		"reported, dead at once": {
			after: first(dead, toldDead), stats: stats{scheduler.StatTasks: 1, scheduler.StatDead: 1},
			grouped: scheduler.GroupCount{Total: 1, Failed: 1},
		},
		"reported, held at once": {
			after: first(held, toldDead), stats: stats{scheduler.StatTasks: 1}, grouped: scheduler.GroupCount{Total: 1},
		},
		"reported, succeeded at once": {
			after:   first(completed, succeeded(1)),
			stats:   stats{scheduler.StatTasks: 1, scheduler.StatFirstSuccesses: 1, scheduler.StatSuccesses: 1, scheduler.StatAttempts: 1},
			grouped: scheduler.GroupCount{Total: 1, Completed: 1},
		},
		"reported, succeeded at its second attempt": {
			after: first(completed, succeeded(2)),
			stats: stats{
				scheduler.StatTasks: 1, scheduler.StatSuccesses: 1, scheduler.StatAttempts: 2,
				scheduler.StatSecondAttempts: 1, scheduler.StatSecondSuccesses: 1,
			},
			grouped: scheduler.GroupCount{Total: 1, Completed: 1},
		},
		"claimed": {
			before: inState(scheduled), after: inState(leased), leased: 1, grouped: scheduler.GroupCount{InProgress: 1},
		},
		"claimed again": {before: inState(leased), after: inState(leased)},
		"extended":      {before: inState(leased), after: inState(leased, func(t *scheduler.Task) { t.LeaseEndMS = 5 })},
		"released by its worker": {
			before: inState(leased), after: inState(scheduled), leased: -1, grouped: scheduler.GroupCount{InProgress: -1},
		},
		"failed again": {
			before: inState(leased), after: inState(scheduled, recorded(failed(2))), leased: -1,
			stats: stats{scheduler.StatSecondAttempts: 1}, grouped: scheduler.GroupCount{InProgress: -1},
		},
		"a replay failed with attempt 2": {
			before: inState(leased, fresh), after: inState(scheduled, fresh, recorded(failed(2))), leased: -1,
			grouped: scheduler.GroupCount{InProgress: -1},
		},
		"failed for the last time": {
			before: inState(leased), after: inState(dead, recorded(failed(2))), leased: -1, left: failedHour,
			stats:   stats{scheduler.StatSecondAttempts: 1, scheduler.StatDead: 1, scheduler.StatGrowth: -1},
			grouped: scheduler.GroupCount{InProgress: -1, Failed: 1},
		},
		"failed, history being full": {
			before: inState(leased, recorded(failed(101)), long(0)), after: inState(scheduled, recorded(failed(2)), long(1)), leased: -1,
			stats: stats{scheduler.StatSecondAttempts: 1}, grouped: scheduler.GroupCount{InProgress: -1},
		},
		"succeeded at last": {
			before: inState(leased), after: inState(completed, recorded(succeeded(2))), leased: -1, left: failedHour,
			stats: stats{
				scheduler.StatSecondAttempts: 1, scheduler.StatSecondSuccesses: 1,
				scheduler.StatSuccesses: 1, scheduler.StatAttempts: 2, scheduler.StatGrowth: -1,
			},
			grouped: scheduler.GroupCount{InProgress: -1, Completed: 1},
		},
		"a late receipt of a dead letter": {
			before: inState(dead), after: inState(completed, recorded(succeeded(3)), func(t *scheduler.Task) { t.Attempt = 3 }),
			stats:   stats{scheduler.StatSuccesses: 1, scheduler.StatAttempts: 3},
			grouped: scheduler.GroupCount{Failed: -1, Completed: 1},
		},
		"died of its deadline": {
			before: inState(scheduled), after: inState(dead), left: failedHour,
			stats:   stats{scheduler.StatDead: 1, scheduler.StatGrowth: -1},
			grouped: scheduler.GroupCount{Failed: 1},
		},
		"held, and died of its deadline": {
			before: inState(held), after: inState(dead), stats: stats{scheduler.StatDead: 1}, grouped: scheduler.GroupCount{Failed: 1},
		},
		"released from its hold": {
			before: inState(held), after: inState(scheduled), entered: failedHour, stats: stats{scheduler.StatGrowth: 1},
		},
		"replayed": {
			before: inState(dead), after: inState(scheduled, fresh), entered: dueHour,
			stats: stats{scheduler.StatGrowth: 1}, grouped: scheduler.GroupCount{Failed: -1},
		},
		"replayed, and put off": {
			before:  inState(scheduled, fresh),
			after:   inState(scheduled, fresh, func(t *scheduler.Task) { t.DueMS += scheduler.HourMS }),
			left:    dueHour,
			entered: dueHour + 1,
		},
		"replayed, and failed": {
			before: inState(leased, fresh), after: inState(scheduled, recorded(failed(3))), leased: -1,
			left: dueHour, entered: failedHour, grouped: scheduler.GroupCount{InProgress: -1},
		},
		"cancelled while it waited": {
			before: inState(scheduled), after: inState(cancelled), left: failedHour,
			stats: stats{scheduler.StatGrowth: -1}, grouped: scheduler.GroupCount{Failed: 1},
		},
		"cancelled while it was leased": {
			before: inState(leased), after: inState(cancelled), left: failedHour, leased: -1,
			stats: stats{scheduler.StatGrowth: -1}, grouped: scheduler.GroupCount{InProgress: -1, Failed: 1},
		},
		"dead, and touched otherwise":       {before: inState(dead), after: inState(dead, func(t *scheduler.Task) { t.Op = 1 })},
		"a dead letter discarded":           {before: inState(dead), after: inState(discarded)},
		"a held task discarded":             {before: inState(held), after: inState(discarded), grouped: scheduler.GroupCount{Failed: 1}},
		"a dead letter's retention is over": {before: inState(dead)},
		"an ended task's retention is over": {before: inState(completed)},
		"gone while it waited":              {before: inState(scheduled), left: failedHour, stats: stats{scheduler.StatGrowth: -1}},
		"gone while it was leased":          {before: inState(leased), left: failedHour, leased: -1, stats: stats{scheduler.StatGrowth: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want scheduler.Tally
			if c.before != nil || c.after != nil {
				want = scheduler.Tally{
					Queue: scheduler.QueueKey{Namespace: "ns", Name: "q"}, Hour: nowHour,
					Leased: c.leased, Left: c.left, Entered: c.entered, Grouped: c.grouped,
				}
			}
			for stat, n := range c.stats {
				want.Stats[stat] = n
			}
			if c.grouped != (scheduler.GroupCount{}) {
				want.Group = "g"
			}
			atMS := nowHour*scheduler.HourMS + 59*60_000
			equal(t, "tally", scheduler.TallyOf(c.before, c.after, atMS), want)

			want.Group, want.Grouped = "", scheduler.GroupCount{}
			equal(t, "tally without a group", scheduler.TallyOf(groupless(c.before), groupless(c.after), atMS), want)
		})
	}
}

func groupless(t *scheduler.Task) *scheduler.Task {
	if t == nil {
		return nil
	}
	other := *t
	other.Spec.Group = ""
	return &other
}

// The hour 0 is none: a clock that starts at 0 has tasks under way all the same.
func TestTallyOfTheFirstHour(t *testing.T) {
	t.Parallel()
	early := inState(scheduler.StateScheduled, func(t *scheduler.Task) { t.FirstFailureMS = 1 })
	equal(t, "entered", scheduler.TallyOf(nil, early, 1).Entered, int64(1))
}

func TestGroupCountPlus(t *testing.T) {
	t.Parallel()
	type count = scheduler.GroupCount
	for name, c := range map[string]struct{ has, change, want count }{
		"a task more":   {count{Total: 2, Failed: 1}, count{Total: 1}, count{Total: 3, Failed: 1}},
		"a task moved":  {count{Total: 2, InProgress: 1}, count{InProgress: -1, Completed: 1}, count{Total: 2, Completed: 1}},
		"after a reset": {count{}, count{InProgress: -1, Completed: 1}, count{Total: 1, Completed: 1}},
		"a replay after a reset leaves it pending": {count{}, count{Failed: -1}, count{Total: 1}},
		"a claim after a reset":                    {count{}, count{InProgress: 1}, count{Total: 1, InProgress: 1}},
		"among others after a reset": {
			count{Total: 5, Completed: 5}, count{InProgress: -1, Failed: 1}, count{Total: 6, Completed: 5, Failed: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := c.has.Plus(c.change)
			equal(t, "count", got, c.want)
			if got.Pending() < 0 {
				t.Errorf("%d are pending", got.Pending())
			}
		})
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	const deadlineMS = 7 * scheduler.HourMS
	index := func(kind scheduler.IndexKind, name string, of scheduler.Fingerprint) scheduler.Index {
		return scheduler.Index{Kind: kind, Namespace: "ns", Name: name, Fingerprint: of}
	}
	ending := scheduler.Index{Kind: scheduler.IndexEnding}
	full := func(t *scheduler.Task) {
		t.DueMS, t.LeaseEndMS, t.HoldMS, t.EndMS, t.ExpireMS = 1, 2, 3, 4, 5
		t.HoldCondition, t.Fingerprint, t.Spec.DeadlineMS = "fix", 6, deadlineMS
	}
	again := func(t *scheduler.Task) { t.Generation = 2 }
	bare := func(t *scheduler.Task) { t.Spec.DeadlineMS = 0 }
	for name, c := range map[string]struct {
		task *scheduler.Task
		want []scheduler.Entry
	}{
		"scheduled": {inState(scheduler.StateScheduled, full), []scheduler.Entry{{Index: index(scheduler.IndexDue, "q", 0), MS: 1}, {Index: ending, MS: deadlineMS}}},
		"scheduled, without a deadline": {
			inState(scheduler.StateScheduled, full, bare),
			[]scheduler.Entry{{Index: index(scheduler.IndexDue, "q", 0), MS: 1}},
		},
		"scheduled, by a replay": {
			inState(scheduler.StateScheduled, full, again),
			[]scheduler.Entry{{Index: index(scheduler.IndexDue, "q", 0), MS: 1}},
		},
		"leased": {
			inState(scheduler.StateLeased, full),
			[]scheduler.Entry{{Index: index(scheduler.IndexDue, "q", 0), MS: 2}, {Index: ending, MS: deadlineMS}},
		},
		"held": {inState(scheduler.StateHeld, full), []scheduler.Entry{
			{Index: index(scheduler.IndexHeld, "q", 0), MS: 3}, {Index: index(scheduler.IndexCondition, "fix", 0), MS: 3}, {Index: ending, MS: deadlineMS},
		}},
		"dead": {inState(scheduler.StateDead, full), []scheduler.Entry{
			{Index: index(scheduler.IndexDead, "q", 0), MS: 4}, {Index: index(scheduler.IndexFingerprint, "q", 6), MS: 4}, {Index: ending, MS: 5},
		}},
		"succeeded": {inState(scheduler.StateSucceeded, full), nil},
		"cancelled": {inState(scheduler.StateCancelled, full), nil},
		"discarded": {inState(scheduler.StateDiscarded, full), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			equal(t, "entries", c.task.Entries(nil), c.want)
		})
	}
}
