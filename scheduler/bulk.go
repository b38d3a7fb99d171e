package scheduler

import "context"

// Bulk asks for something to be done to many tasks.
type Bulk struct {
	Namespace string
	Filter    TaskFilter
	After     Cursor
	// Rate is how many attempts a second are to fall due, 0 for all at once.
	Rate float64
	// StartMS is when the first is to fall due; 0, and a time that has passed, mean
	// now.
	StartMS int64
	// ValidateOnly asks only how many it would be.
	ValidateOnly bool
}

// Moved is what has been done.
type Moved struct {
	// Moved is how many tasks this call has moved, or would have with ValidateOnly.
	Moved int64
	// Remaining is how many are still to be looked at behind Next; where the filter
	// is answered by an index, all of them match.
	Remaining int64
	// Next is where the call has ended, zero when nothing follows, and NextStartMS
	// when the next call's first attempt is to fall due.
	Next        Cursor
	NextStartMS int64
}

// MaxMoved is how many tasks one call moves at the most.
const MaxMoved = 1000

// ReplayMany replays DEAD tasks, at most MaxMoved; see [Scheduler.Replay].
func (s *Scheduler) ReplayMany(ctx context.Context, b Bulk) (Moved, error) { panic("unfinished") }

// DiscardMany discards HELD and DEAD tasks, at most MaxMoved.
func (s *Scheduler) DiscardMany(ctx context.Context, b Bulk) (Moved, error) { panic("unfinished") }

// ReleaseHeld schedules the next attempts of HELD tasks, at most MaxMoved.
func (s *Scheduler) ReleaseHeld(ctx context.Context, b Bulk) (Moved, error) { panic("unfinished") }
