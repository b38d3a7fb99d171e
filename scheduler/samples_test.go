package scheduler_test

import (
	"testing"

	"github.com/retryd/retryd/scheduler"
)

// TestSamplesAreOfTheirGroups asks for samples of which some have moved on since the
// groups were listed.
func TestSamplesAreOfTheirGroups(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deadLetters(2)
		groups, err := w.s.DeadLetterGroups(w.ctx, "ns", "q")
		if err != nil || len(groups) != 1 {
			t.Fatalf("%+v, %v", groups, err)
		}
		of := func(change func(g *scheduler.DeadLetterGroup)) bool {
			t.Helper()
			g := groups[0]
			change(&g)
			got, err := w.s.Samples(w.ctx, []scheduler.DeadLetterGroup{groups[0], g})
			if err != nil || len(got) != 2 || got[0] == nil || got[0].Key != groups[0].Sample {
				t.Fatalf("%+v, %v", got, err)
			}
			return got[1] != nil
		}
		other := scheduler.TaskKey{Namespace: "ns", ID: "dead00000"}
		if other == groups[0].Sample {
			other.ID = "dead00001"
		}
		equal(t, "another of the group", of(func(g *scheduler.DeadLetterGroup) { g.Sample = other }), true)
		equal(t, "of another queue", of(func(g *scheduler.DeadLetterGroup) { g.Queue.Name = "r" }), false)
		equal(t, "of another fingerprint", of(func(g *scheduler.DeadLetterGroup) { g.Fingerprint++ }), false)
		equal(t, "unknown", of(func(g *scheduler.DeadLetterGroup) { g.Sample.ID = "none" }), false)
		if _, err := w.s.Replay(w.ctx, other); err != nil {
			t.Fatal(err)
		}
		// What is alive has no fingerprint, like those that died without a failure.
		equal(t, "replayed", of(func(g *scheduler.DeadLetterGroup) { g.Sample, g.Fingerprint = other, 0 }), false)
	})
}
