package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

// list goes through all pages of a list of tasks.
func (s *site) list(r *retryv1.ListTasksRequest) (ids []string, pages int) {
	s.t.Helper()
	r = proto.CloneOf(r)
	for {
		resp, err := s.tasks.ListTasks(s.ctx(), r)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, task := range resp.GetTasks() {
			if len(task.GetPayload()) != 0 || len(task.GetAttempts()) != 0 || task.GetState() == 0 {
				s.t.Errorf("listed: %v", task)
			}
			ids = append(ids, task.GetTaskId())
		}
		pages++
		if r.PageToken = resp.GetNextPageToken(); r.GetPageToken() == "" {
			return ids, pages
		}
	}
}

// hold reports a failure that parks a task until the condition is released.
func (s *site) hold(queue, id, group string) {
	s.t.Helper()
	_, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
		Task: &retryv1.TaskSpec{Id: id, Queue: queue, Policy: "holds", Group: group}, Failure: httpFailure(402),
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// holds creates a policy that holds what is not paid for, for the condition
// "balance".
func (s *site) holds() {
	s.t.Helper()
	p := fixed("holds", time.Hour)
	p.Rules = []*retryv1.Rule{{
		Name: "unpaid", Match: &retryv1.Match{Statuses: []string{"402"}}, Action: retryv1.Action_ACTION_HOLD, HoldCondition: "balance",
	}}
	if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: p}); err != nil {
		s.t.Fatal(err)
	}
}

func TestListTasks(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("p", time.Hour)
	s.holds()
	s.job("j", "p", "")
	for i := range 5 {
		s.fail("a", fmt.Sprint("a-scheduled-", i), "p")
		s.die("a", fmt.Sprint("a-dead-", i), "g", "no route to 10.0.0.1")
		s.die("b", fmt.Sprint("b-dead-", i), "", fmt.Sprint([]string{"broken", "timed out"}[i%2], " after ", i))
		s.hold("b", fmt.Sprint("b-held-", i), "g")
	}
	s.fail("", "caller-driven", "p")
	_, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
		Task: &retryv1.TaskSpec{Id: "of-a-job", Queue: "c", Job: "j", Environment: "prod"}, Failure: httpFailure(503),
	})
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := s.task("b-dead-1").GetFingerprint()
	five := func(prefix string) []string {
		var ids []string
		for i := range 5 {
			ids = append(ids, fmt.Sprint(prefix, i))
		}
		return ids
	}
	all := slices.Concat([]string{"caller-driven"}, five("a-scheduled-"), five("a-dead-"), five("b-held-"), five("b-dead-"), []string{"of-a-job"})
	for name, tc := range map[string]struct {
		r    *retryv1.ListTasksRequest
		want []string
	}{
		"all":                   {&retryv1.ListTasksRequest{}, all},
		"of a queue":            {&retryv1.ListTasksRequest{Queue: "b"}, slices.Concat(five("b-held-"), five("b-dead-"))},
		"dead":                  {&retryv1.ListTasksRequest{State: retryv1.Task_STATE_DEAD}, slices.Concat(five("a-dead-"), five("b-dead-"))},
		"leased":                {&retryv1.ListTasksRequest{State: retryv1.Task_STATE_LEASED}, nil},
		"scheduled of a queue":  {&retryv1.ListTasksRequest{State: retryv1.Task_STATE_SCHEDULED, Queue: "a"}, five("a-scheduled-")},
		"of a condition":        {&retryv1.ListTasksRequest{Condition: "balance"}, five("b-held-")},
		"of another condition":  {&retryv1.ListTasksRequest{Condition: "sunshine"}, nil},
		"of a fingerprint":      {&retryv1.ListTasksRequest{Fingerprint: fingerprint}, []string{"b-dead-1", "b-dead-3"}},
		"of both":               {&retryv1.ListTasksRequest{Fingerprint: fingerprint, Queue: "b"}, []string{"b-dead-1", "b-dead-3"}},
		"in the other queue":    {&retryv1.ListTasksRequest{Fingerprint: fingerprint, Queue: "a"}, nil},
		"of a group":            {&retryv1.ListTasksRequest{Group: "g"}, slices.Concat(five("a-dead-"), five("b-held-"))},
		"of a group, dead":      {&retryv1.ListTasksRequest{Group: "g", State: retryv1.Task_STATE_DEAD}, five("a-dead-")},
		"of a policy":           {&retryv1.ListTasksRequest{Policy: "holds"}, five("b-held-")},
		"of a job":              {&retryv1.ListTasksRequest{Job: "j"}, []string{"of-a-job"}},
		"of an environment":     {&retryv1.ListTasksRequest{Environment: "prod"}, []string{"of-a-job"}},
		"for a reason":          {&retryv1.ListTasksRequest{DeadReason: retryv1.Reason_REASON_NON_RETRYABLE, Queue: "a"}, five("a-dead-")},
		"for another":           {&retryv1.ListTasksRequest{DeadReason: retryv1.Reason_REASON_DEADLINE}, nil},
		"of an unknown queue":   {&retryv1.ListTasksRequest{Queue: "none"}, nil},
		"of another namespace":  {&retryv1.ListTasksRequest{Namespace: "other"}, nil},
		"condition, other name": {&retryv1.ListTasksRequest{Namespace: "other", Condition: "balance"}, nil},
	} {
		for _, size := range []int32{0, 1, 3} {
			tc.r.PageSize = size
			// Tasks that died in the same millisecond stand by their ids, and so do those
			// of either store.
			if got, _ := s.list(tc.r); !slices.Equal(sorted(got), sorted(tc.want)) || name == "all" && !slices.Equal(queuesOf(got), queuesOf(tc.want)) {
				t.Errorf("%s, %d at a time: got %q, want %q", name, size, got, tc.want)
			}
		}
	}
}

func sorted(ids []string) []string { return slices.Sorted(slices.Values(ids)) }

// queuesOf are the ids without their numbers.
func queuesOf(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = strings.TrimRight(id, "0123456789")
	}
	return out
}

func TestListTasksRefuses(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	for name, tc := range map[string]struct {
		r    *retryv1.ListTasksRequest
		want []string
	}{
		"an ended state":           {&retryv1.ListTasksRequest{State: retryv1.Task_STATE_SUCCEEDED}, []string{"state"}},
		"a condition of the dead":  {&retryv1.ListTasksRequest{State: retryv1.Task_STATE_DEAD, Condition: "c"}, []string{"condition"}},
		"a fingerprint of others":  {&retryv1.ListTasksRequest{State: retryv1.Task_STATE_HELD, Fingerprint: "00000000000000ff"}, []string{"fingerprint"}},
		"a reason of the living":   {&retryv1.ListTasksRequest{State: retryv1.Task_STATE_SCHEDULED, DeadReason: retryv1.Reason_REASON_DEADLINE}, []string{"dead_reason"}},
		"a condition and a reason": {&retryv1.ListTasksRequest{Condition: "c", DeadReason: retryv1.Reason_REASON_DEADLINE}, []string{"dead_reason"}},
		"both and a long page":     {&retryv1.ListTasksRequest{Condition: "c", DeadReason: retryv1.Reason_REASON_DEADLINE, PageSize: 1001}, []string{"page_size", "dead_reason"}},
		"pages":                    {&retryv1.ListTasksRequest{Namespace: "?", PageSize: 1001, PageToken: "?"}, []string{"namespace", "page_size", "page_token"}},
	} {
		_, err := s.tasks.ListTasks(s.ctx(), tc.r)
		if got := tell(err); got.reason != "INVALID_REQUEST" || !slices.Equal(got.violations, tc.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestLargePagesOfTasksEndEarly lists tasks whose attributes are as large as may
// be, each once.
func TestLargePagesOfTasksEndEarly(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("p", time.Hour)
	const n = 300
	var want []string
	for i := range n {
		id := fmt.Sprintf("%03d", i)
		want = append(want, id)
		_, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
			Task:    &retryv1.TaskSpec{Id: id, Queue: "q", Policy: "p", Attributes: map[string]string{"k": strings.Repeat("v", 8000)}},
			Failure: &retryv1.Failure{Cause: &retryv1.Failure_Timeout{}, Permanent: true},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	r := &retryv1.ListTasksRequest{Queue: "q", PageSize: 1000}
	resp, err := s.tasks.ListTasks(s.ctx(), r)
	if err != nil || proto.Size(resp) > 1<<20+100 || len(resp.GetTasks()) < 100 {
		t.Fatalf("%d tasks in %d bytes, %v", len(resp.GetTasks()), proto.Size(resp), err)
	}
	if got, pages := s.list(r); !slices.Equal(sorted(got), want) || pages != 3 {
		t.Errorf("%d tasks on %d pages", len(got), pages)
	}
}

func TestDeadLetterGroups(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("p", time.Hour)
	for i := range 4 {
		s.die("a", fmt.Sprint("refused-", i), "", fmt.Sprintf("dial 10.0.0.%d: refused", i))
	}
	for i := range 2 {
		s.die("b", fmt.Sprint("reset-", i), "", "reset")
	}
	s.die("b", "single", "", "single")
	s.die("", "caller-driven", "", "reset")
	list := func(r *retryv1.ListDeadLetterGroupsRequest) (got []string, pages int) {
		t.Helper()
		for {
			resp, err := s.tasks.ListDeadLetterGroups(s.ctx(), r)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range resp.GetGroups() {
				sample := g.GetSample()
				failure := sample.GetAttempts()[0].GetFailure().GetMessage()
				got = append(got, fmt.Sprintf("%s %d %s", g.GetQueue(), g.GetCount(), strings.TrimRight(failure, "0123456789: ")))
				switch {
				case g.GetFingerprint() != sample.GetFingerprint(), g.GetQueue() != sample.GetQueue(), len(sample.GetPayload()) != 0, len(sample.GetAttempts()) != 1,
					!g.GetLast().AsTime().Equal(sample.GetEndTime().AsTime()), g.GetFirst().AsTime().After(g.GetLast().AsTime()):
					t.Errorf("group %v", g)
				}
			}
			pages++
			if r.PageToken = resp.GetNextPageToken(); r.GetPageToken() == "" {
				return got, pages
			}
		}
	}
	all, pages := list(&retryv1.ListDeadLetterGroupsRequest{})
	if len(all) != 4 || pages != 1 || !strings.HasPrefix(all[0], "a 4 ") || all[1] != "b 2 reset" {
		t.Errorf("all: %q on %d pages", all, pages)
	}
	if got, pages := list(&retryv1.ListDeadLetterGroupsRequest{PageSize: 1}); !slices.Equal(got, all) || pages != 4 {
		t.Errorf("one by one: %q on %d pages, want %q", got, pages, all)
	}
	if got, _ := list(&retryv1.ListDeadLetterGroupsRequest{Queue: "b"}); !slices.Equal(got, []string{"b 2 reset", "b 1 single"}) {
		t.Errorf("of a queue: %q", got)
	}
	if got, _ := list(&retryv1.ListDeadLetterGroupsRequest{Namespace: "other"}); len(got) != 0 {
		t.Errorf("of another namespace: %q", got)
	}
	_, err := s.tasks.ListDeadLetterGroups(s.ctx(), &retryv1.ListDeadLetterGroupsRequest{Namespace: "?", Queue: "?", PageSize: -1, PageToken: "?"})
	if got := tell(err); !slices.Equal(got.violations, []string{"namespace", "queue", "page_size", "page_token"}) {
		t.Errorf("all bad: %+v", got)
	}
}
