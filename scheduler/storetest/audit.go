package storetest

import (
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// audit walks over the store once, does between after each pass, and returns all
// findings and how much was looked at.
func (f *fixture) audit(between func()) (found []scheduler.Finding, looked int) {
	f.t.Helper()
	walk := f.store.Audit()
	for range 10_000 {
		pass, err := walk.Pass(f.t.Context())
		if err != nil {
			f.t.Fatalf("audit: %v", err)
		}
		found = append(found, pass.Findings...)
		looked += pass.Looked
		if pass.Done {
			return found, looked
		}
		between()
	}
	f.t.Fatal("a walk comes to no end")
	return nil, 0
}

func (f *fixture) turn(store scheduler.Store, replica string, hold time.Duration) bool {
	f.t.Helper()
	mine, err := store.AuditTurn(f.t.Context(), replica, hold)
	if err != nil {
		f.t.Fatal(err)
	}
	return mine
}

var auditTests = []exercise{
	{"one replica has the turn, until it ends or is given back", func(t *testing.T, f *fixture) {
		equal(t, "the first to ask", f.turn(f.store, "a", time.Minute), true)
		equal(t, "another", f.turn(f.peer, "b", time.Minute), false)
		f.pass(50 * time.Second)
		equal(t, "it is prolonged", f.turn(f.store, "a", time.Minute), true)
		f.pass(50 * time.Second)
		equal(t, "another, before its new end", f.turn(f.peer, "b", time.Minute), false)
		equal(t, "given back by another", f.turn(f.peer, "b", 0), false)
		equal(t, "another still", f.turn(f.peer, "b", time.Minute), false)
		f.pass(10 * time.Second)
		equal(t, "another, at its end", f.turn(f.peer, "b", time.Minute), true)
		equal(t, "the one that had it", f.turn(f.store, "a", time.Minute), false)
		equal(t, "given back", f.turn(f.peer, "b", 0), false)
		equal(t, "at once", f.turn(f.store, "a", time.Minute), true)
	}},
	{"an empty store has nothing wrong", func(t *testing.T, f *fixture) {
		found, _ := f.audit(func() {})
		equal(t, "found", len(found), 0)
	}},
	{"nothing is found where all follows from the tasks, whatever changes meanwhile", func(t *testing.T, f *fixture) {
		made := 0
		makeSome := func() {
			for i, id := range idsInShard(made%shards, 25) {
				task := scheduled(id+"-"+string(rune('a'+made)), "q", startMS+int64(i))
				task.Spec.Group = []string{"", "g"}[i%2]
				switch i % 5 {
				case 1:
					task = held(task.Key.ID, "q", "c", startMS)
				case 2:
					task = dead(task.Key.ID, "q2", 7, startMS)
				case 3:
					task = reported(task, scheduler.StateSucceeded, true, policy.ActionUnspecified)
					task.ExpireMS = startMS + scheduler.HourMS
				}
				f.decide(task, nil)
			}
			made++
		}
		makeSome()
		makeSome()
		steps := 0
		found, looked := f.audit(func() {
			f.pass(10 * time.Millisecond)
			if steps++; steps < 10 {
				makeSome()
			}
			for _, task := range f.claimAll(3) {
				ended := *task
				ended.State, ended.ExpireMS = scheduler.StateSucceeded, startMS+scheduler.HourMS
				f.decide(&ended, task)
			}
		})
		equal(t, "found", found, []scheduler.Finding(nil))
		if looked < 50 {
			t.Errorf("%d looked at, and there were 50 tasks at first", looked)
		}
		counted := f.counts("q")[0]
		f.pass(time.Hour)
		found, _ = f.audit(func() {})
		equal(t, "found once nothing moves", found, []scheduler.Finding(nil))
		again := f.counts("q")[0]
		equal(t, "waiting", again.Waiting, counted.Waiting)
		equal(t, "leased", again.Leased, counted.Leased)
	}},
}
