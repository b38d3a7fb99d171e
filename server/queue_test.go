package server_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

func (s *site) queue(name string) *retryv1.Queue {
	s.t.Helper()
	resp, err := s.queues.GetQueue(s.ctx(), &retryv1.GetQueueRequest{Queue: name})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.GetQueue()
}

func TestQueueTellsItsDepth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("p", time.Minute)
		s.holds()
		for i := range 3 {
			s.fail("q", fmt.Sprint("x-", i), "p")
		}
		s.die("q", "dead", "", "")
		s.hold("q", "held", "")
		s.fail("", "caller-driven", "p")
		if q := s.queue("q"); q.GetQueue() != "q" || q.GetScheduled() != 3 || q.GetDue() != 0 || q.GetHeld() != 1 || q.GetDead() != 1 || q.GetOldestDueAge() != nil || q.GetPaused() {
			t.Errorf("at first: %v", q)
		}
		pass(2 * time.Minute)
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: 1})
		w.attempt()
		if q := s.queue("q"); q.GetScheduled() != 2 || q.GetLeased() != 1 || q.GetDue() != 2 || q.GetOldestDueAge().AsDuration() != time.Minute {
			t.Errorf("two minutes later: %v", q)
		}
		if q := s.queue(""); q.GetScheduled() != 1 || q.GetQueue() != "" {
			t.Errorf("the caller-driven tasks: %v", q)
		}
		var names []string
		for _, m := range s.queue("q").GetHealth() {
			names = append(names, m.GetName())
			if m.GetHealthyRange() == "" || m.GetState() == retryv1.HealthMetric_STATE_UNSPECIFIED {
				t.Errorf("%v", m)
			}
			if m.GetName() == "retry_rate" && m.GetState() != retryv1.HealthMetric_STATE_NO_DATA {
				t.Errorf("without a success at the first attempt: %v", m)
			}
		}
		if !slices.Equal(names, []string{
			"retry_rate", "dead_letter_rate", "average_attempts_to_success", "tasks_over_24h", "second_attempt_success_rate", "depth_growth",
		}) {
			t.Errorf("the metrics are %q", names)
		}
		w.cancel()
	})
}

func TestQueuePages(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("p", time.Hour)
	var want []string
	for i := range 5 {
		name := fmt.Sprint("q-", i)
		want = append(want, name)
		s.fail(name, name, "p")
	}
	s.fail("", "caller-driven", "p")
	for _, size := range []int32{0, 1, 2, 5} {
		var got []string
		for r := (&retryv1.ListQueuesRequest{PageSize: size}); ; {
			resp, err := s.queues.ListQueues(s.ctx(), r)
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range resp.GetQueues() {
				got = append(got, q.GetQueue())
				if q.GetScheduled() != 1 {
					t.Errorf("%v", q)
				}
			}
			if r.PageToken = resp.GetNextPageToken(); r.GetPageToken() == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d at a time: %q", size, got)
		}
	}
	if resp, err := s.queues.ListQueues(s.ctx(), &retryv1.ListQueuesRequest{Namespace: "other"}); err != nil || len(resp.GetQueues()) != 0 {
		t.Errorf("of another namespace: %v, %v", resp, err)
	}
	_, err := s.queues.ListQueues(s.ctx(), &retryv1.ListQueuesRequest{Namespace: "?", PageSize: -1, PageToken: "?"})
	if got := tell(err); !slices.Equal(got.violations, []string{"namespace", "page_size", "page_token"}) {
		t.Errorf("all bad: %+v", got)
	}
}

func TestPausedQueueHandsNothingOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("quick", time.Millisecond)
		until := time.Now().Add(10 * time.Minute)
		resp, err := s.queues.PauseQueue(s.ctx(), &retryv1.PauseQueueRequest{Queue: "q", Until: timestamppb.New(until)})
		if err != nil || !resp.GetQueue().GetPaused() || !resp.GetQueue().GetPausedUntil().AsTime().Equal(until) {
			t.Fatalf("paused: %v, %v", resp, err)
		}
		s.fail("q", "x", "quick")
		s.fail("q", "y", "quick")
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: 1})
		a := w.attempt()
		if now := time.Now(); now.Before(until) || now.Sub(until) > 10*time.Millisecond {
			t.Errorf("handed out %s after the end of the pause", now.Sub(until))
		}
		// For good, and twice.
		for range 2 {
			resp, err = s.queues.PauseQueue(s.ctx(), &retryv1.PauseQueueRequest{Queue: "q"})
			if err != nil || !resp.GetQueue().GetPaused() || resp.GetQueue().GetPausedUntil() != nil {
				t.Fatalf("paused for good: %v, %v", resp, err)
			}
		}
		w.succeed(a.GetLeaseToken())
		w.result()
		pass(10 * time.Minute)
		if q := s.queue("q"); q.GetDue() != 1 || q.GetLeased() != 0 || q.GetOldestDueAge().AsDuration() < 19*time.Minute {
			t.Errorf("ten minutes later: %v", q)
		}
		for range 2 {
			resumed, err := s.queues.ResumeQueue(s.ctx(), &retryv1.ResumeQueueRequest{Queue: "q"})
			if err != nil || resumed.GetQueue().GetPaused() {
				t.Fatalf("resumed: %v, %v", resumed, err)
			}
		}
		w.attempt()
		w.cancel()
	})
}

func TestQueueCallsRefuse(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	get := func(namespace, queue string) error {
		_, err := s.queues.GetQueue(s.ctx(), &retryv1.GetQueueRequest{Namespace: namespace, Queue: queue})
		return err
	}
	pause := func(namespace, queue string) error {
		_, err := s.queues.PauseQueue(s.ctx(), &retryv1.PauseQueueRequest{Namespace: namespace, Queue: queue})
		return err
	}
	resume := func(namespace, queue string) error {
		_, err := s.queues.ResumeQueue(s.ctx(), &retryv1.ResumeQueueRequest{Namespace: namespace, Queue: queue})
		return err
	}
	for name, call := range map[string]func(namespace, queue string) error{"get": get, "resume": resume} {
		if got := tell(call("", "none")); got.code != "NotFound" || got.reason != "QUEUE_NOT_FOUND" || got.metadata["queue"] != "none" {
			t.Errorf("%s of none: %+v", name, got)
		}
	}
	for name, call := range map[string]func(namespace, queue string) error{"get": get, "pause": pause, "resume": resume} {
		if got := tell(call("?", "?")); !slices.Equal(got.violations, []string{"namespace", "queue"}) {
			t.Errorf("%s, all bad: %+v", name, got)
		}
	}
	for name, call := range map[string]func(namespace, queue string) error{"pause": pause, "resume": resume} {
		if got := tell(call("", "")); !slices.Equal(got.violations, []string{"queue"}) {
			t.Errorf("%s of no queue: %+v", name, got)
		}
	}
	for _, until := range []*timestamppb.Timestamp{{}, timestamppb.New(time.Now().Add(-time.Minute)), {Nanos: -1}} {
		_, err := s.queues.PauseQueue(s.ctx(), &retryv1.PauseQueueRequest{Queue: "q", Until: until})
		if got := tell(err); got.reason != "INVALID_REQUEST" || !slices.Equal(got.violations, []string{"until"}) {
			t.Errorf("until %v: %+v", until, got)
		}
	}
	if err := pause("one", "q"); err != nil {
		t.Fatal(err)
	}
	if got := tell(get("other", "q")); got.reason != "QUEUE_NOT_FOUND" {
		t.Errorf("the queue of another namespace: %+v", got)
	}
}
