package server_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

// TestDeadLettersAreReplayedAtARate takes a campaign through an outage: its tasks
// die, are looked at by what they died of, counted, replayed at a rate and drained,
// while the group's counts tell of it.
func TestDeadLettersAreReplayedAtARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("p", time.Hour)
		const dead, other, rate = 2500, 7, 100
		for i := range dead {
			s.die("mail", fmt.Sprintf("m-%04d", i), "campaign", fmt.Sprintf("mailbox %d of 192.0.2.%d is full", i, i%256))
		}
		for i := range other {
			s.die("mail", fmt.Sprint("o-", i), "campaign", "no such user")
		}
		s.fail("mail", "waits", "p")
		_, err := s.retry.ReportSuccess(s.ctx(), &retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: "at-once", Queue: "mail", Group: "campaign"}})
		if err != nil {
			t.Fatal(err)
		}
		s.counts("campaign", &retryv1.Group{Total: dead + other + 1, Completed: 1, Failed: dead + other})

		groups, err := s.tasks.ListDeadLetterGroups(s.ctx(), &retryv1.ListDeadLetterGroupsRequest{Queue: "mail"})
		if err != nil || len(groups.GetGroups()) != 2 || groups.GetGroups()[0].GetCount() != dead || groups.GetGroups()[1].GetCount() != other {
			t.Fatalf("groups: %v, %v", groups, err)
		}
		filter := &retryv1.ReplayTasksRequest{Queue: "mail", Fingerprint: groups.GetGroups()[0].GetFingerprint(), Rate: rate, ValidateOnly: true}
		counted, err := s.tasks.ReplayTasks(s.ctx(), filter)
		if err != nil || counted.GetMoved()+counted.GetRemaining() != dead {
			t.Fatalf("counted: %v, %v", counted, err)
		}
		filter.PageToken = counted.GetNextPageToken()
		if more, err := s.tasks.ReplayTasks(s.ctx(), filter); err != nil || more.GetMoved()+more.GetRemaining() != dead-counted.GetMoved() {
			t.Errorf("counted on: %v, %v", more, err)
		}
		filter.ValidateOnly = false
		if _, err := s.tasks.ReplayTasks(s.ctx(), filter); !slices.Equal(tell(err).violations, []string{"page_token"}) {
			t.Errorf("replayed from where the counting ended: %v", err)
		}
		s.counts("campaign", &retryv1.Group{Total: dead + other + 1, Completed: 1, Failed: dead + other})

		start := time.Now()
		filter.PageToken = ""
		left := int64(dead)
		for calls := 1; ; calls++ {
			resp, err := s.tasks.ReplayTasks(s.ctx(), filter)
			if err != nil || resp.GetMoved() > 1000 {
				t.Fatalf("call %d: %v, %v", calls, resp, err)
			}
			if left -= resp.GetMoved(); resp.GetRemaining() != left {
				t.Errorf("call %d: %d remain, want %d", calls, resp.GetRemaining(), left)
			}
			if filter.PageToken = resp.GetNextPageToken(); filter.GetPageToken() == "" {
				break
			}
		}
		if left != 0 {
			t.Errorf("%d were not replayed", left)
		}
		s.counts("campaign", &retryv1.Group{Total: dead + other + 1, Completed: 1, Failed: other, Pending: dead})

		w := s.open(s.retry, &retryv1.Open{Queues: []string{"mail"}, MaxInFlight: 1000})
		var due []time.Duration
		for range dead {
			a := w.attempt()
			if a.GetTrigger() != retryv1.Trigger_TRIGGER_REPLAY || a.GetGeneration() != 2 || a.GetAttempt() != 2 || string(a.GetPayload()) != "payload of "+a.GetTaskId() {
				t.Fatalf("handed out: %v", a)
			}
			if len(due) == 0 {
				s.counts("campaign", nil)
			}
			due = append(due, a.GetDueTime().AsTime().Sub(start))
			w.succeed(a.GetLeaseToken())
			w.result()
		}
		slices.Sort(due)
		for i, d := range due {
			if want := time.Duration(i) * time.Second / rate; (d - want).Abs() > 10*time.Millisecond {
				t.Fatalf("attempt %d fell due after %s, want %s", i, d, want)
			}
		}
		if took := time.Since(start).Seconds(); took < dead/rate-1 || took > dead/rate*1.05 {
			t.Errorf("it took %.1f s", took)
		}
		s.counts("campaign", &retryv1.Group{Total: dead + other + 1, Completed: dead + 1, Failed: other})
		w.cancel()
	})
}

// counts holds a group to its counts, nil for any, which must add up.
func (s *site) counts(group string, want *retryv1.Group) {
	s.t.Helper()
	resp, err := s.groups.GetGroup(s.ctx(), &retryv1.GetGroupRequest{Group: group})
	if err != nil {
		s.t.Fatal(err)
	}
	g := resp.GetGroup()
	if g.GetTotal() != g.GetCompleted()+g.GetFailed()+g.GetPending()+g.GetInProgress() || g.GetGroup() != group {
		s.t.Errorf("the counts do not add up: %v", g)
	}
	if want != nil && (g.GetTotal() != want.GetTotal() || g.GetCompleted() != want.GetCompleted() || g.GetFailed() != want.GetFailed() ||
		g.GetPending() != want.GetPending() || g.GetInProgress() != want.GetInProgress()) {
		s.t.Errorf("the group counts %v, want %v", g, want)
	}
}

// TestReplayEndsThoughTasksDieAgain replays dead letters to a worker at which all of
// them die once more.
func TestReplayEndsThoughTasksDieAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("p", time.Hour)
		const n = 1500
		for i := range n {
			s.die("q", fmt.Sprintf("x-%04d", i), "", "")
		}
		pass(time.Minute)
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: 1000})
		req := &retryv1.ReplayTasksRequest{Queue: "q"}
		var moved int64
		for calls := 1; ; calls++ {
			resp, err := s.tasks.ReplayTasks(s.ctx(), req)
			if err != nil || calls > 3 {
				t.Fatalf("call %d: %v, %v", calls, resp, err)
			}
			moved += resp.GetMoved()
			pass(time.Second)
			for range resp.GetMoved() {
				f := httpFailure(500)
				f.Permanent = true
				if _, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{LeaseToken: w.attempt().GetLeaseToken(), Failure: f}); err != nil {
					t.Fatal(err)
				}
			}
			if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
		}
		if moved != n {
			t.Errorf("%d were replayed, want %d", moved, n)
		}
		if got := s.task("x-0000"); got.GetState() != retryv1.Task_STATE_DEAD || got.GetGeneration() != 2 {
			t.Errorf("in the end: %v", got)
		}
		w.cancel()
	})
}

func TestHeldTasksAreReleased(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.holds()
	for i := range 5 {
		s.hold("q", fmt.Sprint("x-", i), []string{"even", "odd"}[i%2])
	}
	if got := s.task("x-0"); got.GetState() != retryv1.Task_STATE_HELD || got.GetHoldCondition() != "balance" || got.GetHoldTime() == nil || got.GetEndTime() != nil {
		t.Errorf("held: %v", got)
	}
	s.counts("even", &retryv1.Group{Total: 3, Pending: 3})
	release := func(r *retryv1.ReleaseHeldRequest) int64 {
		t.Helper()
		resp, err := s.tasks.ReleaseHeld(s.ctx(), r)
		if err != nil || resp.GetNextPageToken() != "" || resp.GetRemaining() != 0 {
			t.Errorf("released: %v, %v", resp, err)
		}
		return resp.GetMoved()
	}
	if n := release(&retryv1.ReleaseHeldRequest{Condition: "sunshine"}); n != 0 {
		t.Errorf("%d were held for another condition", n)
	}
	if n := release(&retryv1.ReleaseHeldRequest{Condition: "balance", Namespace: "other"}); n != 0 {
		t.Errorf("%d were in another namespace", n)
	}
	if n := release(&retryv1.ReleaseHeldRequest{Condition: "balance", ValidateOnly: true}); n != 5 {
		t.Errorf("%d were counted", n)
	}
	if n := release(&retryv1.ReleaseHeldRequest{Condition: "balance", Group: "even", Rate: 1000}); n != 3 {
		t.Errorf("%d were released", n)
	}
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	for range 3 {
		if a := w.attempt(); a.GetTrigger() != retryv1.Trigger_TRIGGER_RELEASE || a.GetAttempt() != 2 || a.GetGeneration() != 1 || a.GetGroup() != "even" {
			t.Errorf("handed out: %v", a)
		}
	}
	s.counts("even", &retryv1.Group{Total: 3, InProgress: 3})
	if n := release(&retryv1.ReleaseHeldRequest{Condition: "balance"}); n != 2 {
		t.Errorf("%d were left to release", n)
	}
}

func TestTasksAreDiscarded(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.holds()
	s.policy("p", time.Hour)
	for i := range 3 {
		s.hold("q", fmt.Sprint("held-", i), "g")
		s.die("q", fmt.Sprint("dead-", i), "g", "")
	}
	s.fail("q", "scheduled", "p")
	discard := func(r *retryv1.DiscardTasksRequest, want int64) {
		t.Helper()
		resp, err := s.tasks.DiscardTasks(s.ctx(), r)
		if err != nil || resp.GetMoved() != want || resp.GetRemaining() != 0 || resp.GetNextPageToken() != "" {
			t.Errorf("discarded %v: %v, %v", r, resp, err)
		}
	}
	discard(&retryv1.DiscardTasksRequest{State: retryv1.Task_STATE_DEAD, Namespace: "other"}, 0)
	discard(&retryv1.DiscardTasksRequest{State: retryv1.Task_STATE_DEAD, ValidateOnly: true}, 3)
	discard(&retryv1.DiscardTasksRequest{State: retryv1.Task_STATE_DEAD, Queue: "q"}, 3)
	discard(&retryv1.DiscardTasksRequest{Condition: "balance"}, 3)
	discard(&retryv1.DiscardTasksRequest{Condition: "balance"}, 0)
	s.counts("g", &retryv1.Group{Total: 6, Failed: 6})
	if got, _ := s.list(&retryv1.ListTasksRequest{}); !slices.Equal(got, []string{"scheduled"}) {
		t.Errorf("left: %q", got)
	}
	if got := s.task("dead-0"); got.GetState() != retryv1.Task_STATE_DISCARDED || len(got.GetPayload()) != 0 || len(got.GetAttributes()) != 0 {
		t.Errorf("discarded: %v", got)
	}
}

func TestBulkCallsRefuse(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	for name, tc := range map[string]struct {
		call func() error
		want []string
	}{
		"a release of anything": {func() error {
			_, err := s.tasks.ReleaseHeld(s.ctx(), &retryv1.ReleaseHeldRequest{})
			return err
		}, []string{"condition"}},
		"a discard of anything": {func() error {
			_, err := s.tasks.DiscardTasks(s.ctx(), &retryv1.DiscardTasksRequest{Queue: "q"})
			return err
		}, []string{"state"}},
		"a discard of what is scheduled": {func() error {
			_, err := s.tasks.DiscardTasks(s.ctx(), &retryv1.DiscardTasksRequest{State: retryv1.Task_STATE_SCHEDULED})
			return err
		}, []string{"state"}},
		"a discard of what cannot be": {func() error {
			_, err := s.tasks.DiscardTasks(s.ctx(), &retryv1.DiscardTasksRequest{State: retryv1.Task_STATE_HELD, Fingerprint: "00000000000000ff"})
			return err
		}, []string{"fingerprint"}},
		"a replay, all bad": {func() error {
			_, err := s.tasks.ReplayTasks(s.ctx(), &retryv1.ReplayTasksRequest{Namespace: "?", Rate: -1, PageToken: "?"})
			return err
		}, []string{"namespace", "page_token", "rate"}},
	} {
		if got := tell(tc.call()); got.reason != "INVALID_REQUEST" || !slices.Equal(got.violations, tc.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
