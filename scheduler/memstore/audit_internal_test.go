package memstore

import (
	"fmt"
	"testing"

	"github.com/retryd/retryd/scheduler"
)

// TestAuditMends plants each kind of disagreement among tasks: it is found, mended, and
// not found again.
func TestAuditMends(t *testing.T) {
	t.Parallel()
	q := scheduler.QueueKey{Namespace: "ns", Name: "q"}
	g := scheduler.GroupKey{Namespace: "ns", Name: "g"}
	due := dueIndex(q)
	for name, c := range map[string]struct {
		plant func(s *Store, t *scheduler.Task)
		want  scheduler.FindingKind
	}{
		"missing": {func(s *Store, t *scheduler.Task) {
			s.shard[0].index[due].Delete(scheduler.Place{MS: t.DueMS, Key: t.Key})
		}, scheduler.FindingMissing},
		"an index is gone": {func(s *Store, _ *scheduler.Task) { delete(s.shard[0].index, due) }, scheduler.FindingMissing},
		"misplaced": {func(s *Store, t *scheduler.Task) {
			s.shard[0].index[due].Set(scheduler.Place{MS: 5, Key: t.Key})
		}, scheduler.FindingMisplaced},
		"foreign": {func(s *Store, t *scheduler.Task) {
			s.shard[0].index[scheduler.Index{Kind: scheduler.IndexDead, Namespace: "ns", Name: "q"}] = newPlaces()
			s.shard[0].index[scheduler.Index{Kind: scheduler.IndexDead, Namespace: "ns", Name: "q"}].Set(scheduler.Place{MS: 5, Key: t.Key})
		}, scheduler.FindingForeign},
		"orphan": {func(s *Store, _ *scheduler.Task) {
			s.shard[0].index[due].Set(scheduler.Place{MS: 5, Key: scheduler.TaskKey{Namespace: "ns", ID: "gone"}})
		}, scheduler.FindingOrphan},
		"leased":  {func(s *Store, _ *scheduler.Task) { s.shard[0].know(q).leased++ }, scheduler.FindingQueueCount},
		"an hour": {func(s *Store, _ *scheduler.Task) { s.shard[0].know(q).open[7]++ }, scheduler.FindingQueueCount},
		"a queue": {func(s *Store, _ *scheduler.Task) { s.shard[0].queues.Delete(idOf(q)) }, scheduler.FindingUnknownQueue},
		"a group": {func(s *Store, _ *scheduler.Task) { s.shard[0].groups[g].count.InProgress++ }, scheduler.FindingGroupCount},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := New(Config{NowMS: func() int64 { return 1 << 40 }})
			var last *scheduler.Task
			for i := range 250 {
				task := &scheduler.Task{
					Key: scheduler.TaskKey{Namespace: "ns", ID: fmt.Sprint("t", i)}, Spec: scheduler.Spec{Queue: "q", Group: "g"},
					State: scheduler.StateScheduled, Attempt: 2, Generation: 1, FirstAttempt: 1, DueMS: 1<<40 + int64(i),
				}
				last = s.Commit(t.Context(), []scheduler.Change{{Key: task.Key, Task: task}})[0].Task
			}
			c.plant(s, last)
			found := walkOnce(t, s)
			if len(found) == 0 || found[0].Kind != c.want || found[0].Left {
				t.Errorf("found %+v, want %s", found, c.want)
			}
			if again := walkOnce(t, s); len(again) > 0 {
				t.Errorf("found again: %+v", again)
			}
		})
	}
}

func walkOnce(t *testing.T, s *Store) []scheduler.Finding {
	t.Helper()
	var found []scheduler.Finding
	walk := s.Audit()
	for {
		pass, err := walk.Pass(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, pass.Findings...)
		if pass.Done {
			return found
		}
	}
}
