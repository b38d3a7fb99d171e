package scheduler

import (
	"context"
	"fmt"
)

// Samples returns for each group, in order, its sample as it is now, nil where
// that is no longer one of the group. All are held in memory at once, with their
// payloads, so no more than a hundred groups should be given.
func (s *Scheduler) Samples(ctx context.Context, groups []DeadLetterGroup) ([]*Task, error) {
	keys := make([]TaskKey, len(groups))
	for i := range groups {
		keys[i] = groups[i].Sample
	}
	out := make([]*Task, len(groups))
	for i, got := range s.store.Load(ctx, keys) {
		if got.Err != nil {
			return nil, fmt.Errorf("load task %s: %w", keys[i].ID, got.Err)
		}
		if t := got.Task; t.in(StateDead) && t.Fingerprint == groups[i].Fingerprint && t.Queue() == groups[i].Queue {
			out[i] = t
		}
	}
	return out, nil
}
