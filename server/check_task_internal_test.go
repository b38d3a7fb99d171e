package server

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

func TestCheckTaskName(t *testing.T) {
	t.Parallel()
	key := func(namespace, id string) func(c *checker) {
		return func(c *checker) { c.taskKey(&retryv1.GetTaskRequest{Namespace: namespace, TaskId: id}) }
	}
	moment := func(at *timestamppb.Timestamp) func(c *checker) {
		return func(c *checker) { c.moment("time", at) }
	}
	runChecks(t, []check{
		{"good", key("n", "order 42"), nil},
		{"nothing", key("", ""), []string{"task_id"}},
		{"all bad", key("?", "a\nb"), []string{"namespace", "task_id"}},
		{"long", key("", strings.Repeat("t", 201)), []string{"task_id"}},
		{"moment", moment(timestamppb.Now()), nil},
		{"no moment", moment(nil), []string{"time"}},
		{"first moment", moment(&timestamppb.Timestamp{}), []string{"time"}},
		{"bad moment", moment(badTime()), []string{"time"}},
	})
	var c checker
	if got := c.taskKey(&retryv1.GetTaskRequest{TaskId: "x"}); got != (scheduler.TaskKey{Namespace: "default", ID: "x"}) {
		t.Errorf("the task is %+v", got)
	}
	if got := c.moment("time", timestamppb.New(time.UnixMilli(1234))); got != 1234 {
		t.Errorf("the moment is %d", got)
	}
}

func TestCheckTaskFilter(t *testing.T) {
	t.Parallel()
	const fingerprint = "00000000000000ff"
	list := func(r *retryv1.ListTasksRequest) func(c *checker) {
		return func(c *checker) { c.tasks("tasks", r) }
	}
	runChecks(t, []check{
		{"nothing", list(&retryv1.ListTasksRequest{}), nil},
		{"an ended state", list(&retryv1.ListTasksRequest{State: retryv1.Task_STATE_SUCCEEDED}), []string{"state"}},
		{"no state", list(&retryv1.ListTasksRequest{State: 260}), []string{"state"}},
		{"a negative state", list(&retryv1.ListTasksRequest{State: -1}), []string{"state"}},
		{"a fingerprint in capitals", list(&retryv1.ListTasksRequest{Fingerprint: "00000000000000FF"}), []string{"fingerprint"}},
		{"a short fingerprint", list(&retryv1.ListTasksRequest{Fingerprint: "ff"}), []string{"fingerprint"}},
		{"no fingerprint", list(&retryv1.ListTasksRequest{Fingerprint: "0000000000000000"}), []string{"fingerprint"}},
		{"a reason to retry", list(&retryv1.ListTasksRequest{DeadReason: retryv1.Reason_REASON_RETRY_SCHEDULED}), []string{"dead_reason"}},
		{"no reason", list(&retryv1.ListTasksRequest{DeadReason: 300}), []string{"dead_reason"}},
		{"all bad", list(&retryv1.ListTasksRequest{
			Namespace: "?", State: 99, Queue: "?", Condition: "?", Fingerprint: "?", Group: "?", Policy: "?", Job: "?", Environment: "?", DeadReason: -1,
		}), []string{"namespace", "state", "queue", "condition", "fingerprint", "group", "policy", "job", "environment", "dead_reason"}},
		{"replay, all bad", func(c *checker) {
			c.bulk("replay", &retryv1.ReplayTasksRequest{
				Namespace: "?", Queue: "?", Fingerprint: "?", Group: "?", Policy: "?", Job: "?", Environment: "?", DeadReason: -1, Rate: -1, PageToken: "?",
			}, (*scheduler.Bulk).ValidateReplay)
		}, []string{"namespace", "queue", "fingerprint", "group", "policy", "job", "environment", "dead_reason", "page_token", "rate"}},
		{"discard, all bad", func(c *checker) {
			c.bulk("discard", &retryv1.DiscardTasksRequest{
				Namespace: "?", State: 99, Queue: "?", Condition: "?", Fingerprint: "?", Group: "?", Policy: "?", Job: "?", Environment: "?", DeadReason: -1, PageToken: "?",
			}, (*scheduler.Bulk).ValidateDiscard)
		}, []string{"namespace", "state", "queue", "condition", "fingerprint", "group", "policy", "job", "environment", "dead_reason", "page_token"}},
		{"release, all bad", func(c *checker) {
			c.bulk("release", &retryv1.ReleaseHeldRequest{
				Namespace: "?", Condition: "?", Queue: "?", Group: "?", Policy: "?", Job: "?", Environment: "?", Rate: -1, PageToken: "?",
			}, (*scheduler.Bulk).ValidateRelease)
		}, []string{"namespace", "queue", "condition", "group", "policy", "job", "environment", "page_token", "rate"}},
		{"release, something bad and something missing", func(c *checker) {
			c.bulk("release", &retryv1.ReleaseHeldRequest{Queue: "?", Rate: -1}, (*scheduler.Bulk).ValidateRelease)
		}, []string{"queue", "condition", "rate"}},
		{"discard, something bad and something missing", func(c *checker) {
			c.bulk("discard", &retryv1.DiscardTasksRequest{Queue: "?"}, (*scheduler.Bulk).ValidateDiscard)
		}, []string{"queue", "state"}},
		{"discard, something bad and a contradiction", func(c *checker) {
			c.bulk("discard", &retryv1.DiscardTasksRequest{State: retryv1.Task_STATE_DEAD, Condition: "c", PageToken: "?"}, (*scheduler.Bulk).ValidateDiscard)
		}, []string{"page_token", "condition"}},
		{"discard by what cannot be read", func(c *checker) {
			c.bulk("discard", &retryv1.DiscardTasksRequest{Fingerprint: "?"}, (*scheduler.Bulk).ValidateDiscard)
			c.bulk("discard", &retryv1.DiscardTasksRequest{DeadReason: 99}, (*scheduler.Bulk).ValidateDiscard)
		}, []string{"fingerprint", "dead_reason"}},
	})
	var c checker
	f, _ := c.tasks("tasks", &retryv1.ListTasksRequest{
		State: retryv1.Task_STATE_DEAD, Queue: "q", Condition: "c", Fingerprint: fingerprint, Group: "g", Policy: "p", Job: "j", Environment: "e",
		DeadReason: retryv1.Reason_REASON_LEASES_EXPIRED,
	})
	if f != (scheduler.TaskFilter{
		State: scheduler.StateDead, Queue: "q", Condition: "c", Fingerprint: 255, Group: "g", Policy: "p", Job: "j", Environment: "e",
		DeadReason: policy.ReasonLeasesExpired,
	}) {
		t.Errorf("read as %+v", f)
	}
}

func TestCheckRate(t *testing.T) {
	t.Parallel()
	rate := func(rate float64) func(c *checker) {
		return func(c *checker) {
			c.bulk("replay", &retryv1.ReplayTasksRequest{Rate: rate}, (*scheduler.Bulk).ValidateReplay)
		}
	}
	bad := []string{"rate"}
	runChecks(t, []check{
		{"none", rate(0), nil},
		{"least", rate(0.001), nil},
		{"most", rate(1_000_000), nil},
		{"less", rate(0.0009), bad},
		{"more", rate(1_000_000.5), bad},
		{"negative", rate(-1), bad},
		{"NaN", rate(math.NaN()), bad},
		{"infinite", rate(math.Inf(1)), bad},
	})
}

// TestPositions holds page tokens of tasks to what they were made of, and to the
// request that they were made for.
func TestPositions(t *testing.T) {
	t.Parallel()
	ask := func(change func(r *retryv1.ReplayTasksRequest)) (scheduler.Bulk, listing, error) {
		r := &retryv1.ReplayTasksRequest{Namespace: "n", Queue: "q", Rate: 10}
		change(r)
		var c checker
		b, list := c.bulk("replay", r, (*scheduler.Bulk).ValidateReplay)
		return b, list, c.err()
	}
	_, list, _ := ask(func(*retryv1.ReplayTasksRequest) {})
	longest := scheduler.Cursor{
		Index: scheduler.Index{Kind: scheduler.IndexFingerprint, Namespace: "n", Name: strings.Repeat("q", maxNameBytes), Fingerprint: math.MaxUint64},
		Place: scheduler.Place{MS: 1 << 52, Key: scheduler.TaskKey{Namespace: "n", ID: strings.Repeat("ü", maxTaskIDBytes/2)}},
	}
	for _, cursor := range []scheduler.Cursor{
		{Index: scheduler.Index{Kind: scheduler.IndexDue, Namespace: "n"}},
		{Index: scheduler.Index{Kind: scheduler.IndexDead, Namespace: "n", Name: "q"}, Place: scheduler.Place{MS: 7, Key: scheduler.TaskKey{Namespace: "n", ID: "x"}}},
		longest,
	} {
		token := position{cursor, 99, 77}.token(list)
		got, _, err := ask(func(r *retryv1.ReplayTasksRequest) { r.PageToken, r.Rate = token, 20 })
		if err != nil || got.After != cursor || got.StartMS != 99 || got.UntilMS != 77 || got.Rate != 20 {
			t.Errorf("%+v reads as %+v, %v", cursor, got, err)
		}
		for name, change := range map[string]func(r *retryv1.ReplayTasksRequest){
			"namespace":     func(r *retryv1.ReplayTasksRequest) { r.Namespace = "m" },
			"queue":         func(r *retryv1.ReplayTasksRequest) { r.Queue = "r" },
			"fingerprint":   func(r *retryv1.ReplayTasksRequest) { r.Fingerprint = "00000000000000ff" },
			"group":         func(r *retryv1.ReplayTasksRequest) { r.Group = "g" },
			"policy":        func(r *retryv1.ReplayTasksRequest) { r.Policy = "p" },
			"job":           func(r *retryv1.ReplayTasksRequest) { r.Job = "j" },
			"environment":   func(r *retryv1.ReplayTasksRequest) { r.Environment = "e" },
			"reason":        func(r *retryv1.ReplayTasksRequest) { r.DeadReason = retryv1.Reason_REASON_DEADLINE },
			"validate_only": func(r *retryv1.ReplayTasksRequest) { r.ValidateOnly = true },
		} {
			if _, _, err := ask(func(r *retryv1.ReplayTasksRequest) { r.PageToken = token; change(r) }); err == nil {
				t.Errorf("a token is taken with another %s", name)
			}
		}
	}
	if token := (position{scheduler.Cursor{}, 99, 77}).token(list); token != "" {
		t.Errorf("at the end there is a token: %q", token)
	}
	// Nobody has given these.
	dead := scheduler.Index{Kind: scheduler.IndexDead, Namespace: "n", Name: "q"}
	for name, p := range map[string]position{
		"of all namespaces": {cursor: scheduler.Cursor{Index: scheduler.Index{Kind: scheduler.IndexEnding, Namespace: "n", Name: "q"}}},
		"of a long name":    {cursor: scheduler.Cursor{Index: scheduler.Index{Kind: scheduler.IndexDead, Namespace: "n", Name: strings.Repeat("q", maxNameBytes+1)}}},
		"of no length":      {cursor: scheduler.Cursor{Index: scheduler.Index{Kind: scheduler.IndexDead, Namespace: "n", Name: strings.Repeat("q", math.MaxUint8)}}},
		"of no start":       {cursor: scheduler.Cursor{Index: dead}, startMS: maxStartMS + 1},
		"of no index":       {cursor: scheduler.Cursor{Index: scheduler.Index{Namespace: "n", Name: "q"}}},
		"of no queue":       {cursor: scheduler.Cursor{Index: scheduler.Index{Kind: scheduler.IndexDead, Namespace: "n", Name: "q q"}}},
		"of no task":        {cursor: scheduler.Cursor{Index: dead, Place: scheduler.Place{Key: scheduler.TaskKey{ID: "\xff"}}}},
		"of no time":        {cursor: scheduler.Cursor{Index: dead, Place: scheduler.Place{MS: -1}}},
	} {
		if _, _, err := ask(func(r *retryv1.ReplayTasksRequest) { r.PageToken = p.token(list) }); err == nil {
			t.Errorf("a token %s is taken", name)
		}
	}
}
