package scheduler

import (
	"context"

	"github.com/retryd/retryd/policy"
)

// TaskFilter says which tasks are meant; what is not set matches all. Queue with
// State, Condition and Fingerprint are answered by indexes; the others are held
// against each task, of which one call looks at no more than 1,000.
type TaskFilter struct {
	// State is a live state; StateUnknown stands for all of them.
	State State
	Queue string
	// Condition is that of HELD tasks, Fingerprint that of DEAD ones.
	Condition   string
	Fingerprint Fingerprint

	Group, Policy, Job, Environment string
	DeadReason                      policy.Reason
}

// Cursor is a place in the list of a filter's tasks. The zero Cursor is before
// the first.
type Cursor struct {
	// Index is the one that the place is in.
	Index Index
	Place Place
}

// TaskPage is a page of tasks.
type TaskPage struct {
	Tasks []*Task
	// Next is where the page ends; zero when nothing follows.
	Next Cursor
}

// Tasks returns a page of the tasks that match, at most limit: queue by queue in
// the order of their names, in each those SCHEDULED or LEASED, HELD, and DEAD, and
// those by time and id, over all shards. A page may be short, and even empty,
// though more follow.
func (s *Scheduler) Tasks(ctx context.Context, namespace string, f TaskFilter, after Cursor, limit int) (TaskPage, error) {
	panic("unfinished")
}

// DeadLetterGroups returns the groups of the dead letters of a queue, or where it
// is empty of all queues of the namespace, the largest first.
func (s *Scheduler) DeadLetterGroups(ctx context.Context, namespace, queue string) ([]DeadLetterGroup, error) {
	panic("unfinished")
}
