package scheduler

// SincePreviousMS is how long after the record before it the i-th record of the
// task's history was made. ok is false for the first, and for the one behind those
// that are dropped.
func (t *Task) SincePreviousMS(i int) (ms int64, ok bool) {
	if i == 0 || i == keptFirst && t.Dropped > 0 {
		return 0, false
	}
	return t.History[i].TimeMS - t.History[i-1].TimeMS, true
}
