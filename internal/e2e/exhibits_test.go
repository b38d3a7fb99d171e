package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/policyfile"
)

// exhibits is the namespace of what is made in every state, to be looked at by
// another version.
const exhibits = "exhibits"

const exhibitPolicies = `policies:
  - id: hourly
    display_name: Hourly
    max_retries: 20
    exponential: {initial_delay: 1h, multiplier: 2, max_delay: 12h}
    jitter: {proportional: 0.1}
    max_elapsed: 30d
    rules:
      - {name: busy, match: {statuses: [429]}, action: RETRY, max_retries: 3, delay_multiplier: 2}
      - {name: owner, match: {codes: [expired_card]}, action: HOLD, hold_condition: owner}
      - {name: gone, match: {statuses: [404]}, action: DEAD_LETTER}
    default_action: RETRY
    retry_after: {mode: MAX_OF, cap: 1d}
    retention: 7d
    dead_letter_retention: 90d
  - id: now
    display_name: At once
    max_retries: 9
    fixed: {delay: 1ms}
    max_lease_expiries: 4
    default_action: RETRY
  - id: never
    display_name: Not at all
    max_retries: 0
    fixed: {delay: 1s}
    default_action: RETRY
  - id: deleted
    display_name: Deleted
    max_retries: 1
    delays: {delays: [5s]}
    pause_windows: [{days: [SUNDAY], start: "02:00", end: "03:00", time_zone: Europe/Berlin, spread: 10m}]
    default_action: RETRY
`

// makeExhibits makes policies, jobs, queues, groups and tasks in every state, of
// which none changes by itself within an hour. It returns the lease tokens of what
// is leased.
func makeExhibits(t *testing.T, c *client.Client) (tokens []string) {
	t.Helper()
	ctx := t.Context()
	do := func(_ proto.Message, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	policies, err := policyfile.Parse("exhibits.yaml", []byte(exhibitPolicies), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range policies {
		do(c.Policies().CreatePolicy(ctx, &retryv1.CreatePolicyRequest{Namespace: exhibits, Policy: p}))
	}
	policies[1].MaxRetries = 10
	do(c.Policies().UpdatePolicy(ctx, &retryv1.UpdatePolicyRequest{Namespace: exhibits, Policy: policies[1]}))
	do(c.Policies().DeletePolicy(ctx, &retryv1.DeletePolicyRequest{Namespace: exhibits, Id: "deleted"}))
	do(c.Jobs().CreateJob(ctx, &retryv1.CreateJobRequest{Namespace: exhibits, Job: &retryv1.Job{
		Id: "invoices", DisplayName: "Invoices", Policy: "now", Environments: map[string]*retryv1.JobEnvironment{"production": {Policy: "hourly"}},
	}}))
	do(c.Queues().PauseQueue(ctx, &retryv1.PauseQueueRequest{Namespace: exhibits, Queue: "paused"}))

	until := timestamppb.New(time.Now().Add(1000 * time.Hour).Truncate(time.Second))
	fail := func(spec *retryv1.TaskSpec, failure string) {
		t.Helper()
		spec.Group = "g"
		do(c.Retry().ReportFailure(ctx, &retryv1.ReportFailureRequest{
			Namespace: exhibits, Task: spec, Failure: failureOf(t, failure), IdempotencyKey: fmt.Sprint("key of ", spec.GetId()),
		}))
	}
	const unavailable, gone, timeout, declined = `{"http": {"status": 503}}`, `{"http": {"status": 404}}`, `{"timeout": {}}`, `{"http": {"status": 402}, "code": "expired_card"}`

	fail(&retryv1.TaskSpec{
		Id: "scheduled", Queue: "work", Policy: "hourly", Payload: []byte("\x00payload\xff"),
		Attributes: map[string]string{"a": "1", "b": "ä"}, Deadline: until, TimeZone: "Asia/Tokyo",
	}, unavailable)
	fail(&retryv1.TaskSpec{Id: "of a job, in \"production\"", Queue: "work", Job: "invoices", Environment: "production"}, `{"grpc": {"code": 14}}`)
	fail(&retryv1.TaskSpec{Id: "rescheduled", Queue: "work", Policy: "hourly"}, timeout)
	do(c.Tasks().Reschedule(ctx, &retryv1.RescheduleRequest{Namespace: exhibits, TaskId: "rescheduled", Time: until}))
	for n, failure := range []string{
		`{"http": {"status": 429}}`, `{"http": {"status": 503, "retryAfter": "7200"}, "message": "busy"}`, `{"outcome": "no answer"}`, `{"connection": {"kind": "KIND_REFUSED"}}`, `{"http": {"status": 429}}`,
	} {
		do(c.Retry().ReportFailure(ctx, &retryv1.ReportFailureRequest{
			Namespace: exhibits, Task: &retryv1.TaskSpec{Id: "with a history", Queue: "work", Policy: "hourly"}, Attempt: int32(n + 1), Failure: failureOf(t, failure),
		}))
	}

	fail(&retryv1.TaskSpec{Id: "leased", Queue: "leases", Policy: "now"}, unavailable)
	fail(&retryv1.TaskSpec{Id: "leased again", Queue: "leases", Policy: "now", Deadline: until}, unavailable)
	lease := func(id string) string {
		t.Helper()
		got, err := c.Retry().NextAttempt(ctx, &retryv1.NextAttemptRequest{
			Namespace: exhibits, Target: &retryv1.NextAttemptRequest_TaskId{TaskId: id}, WorkerId: "worker of " + id,
			Wait: durationpb.New(10 * time.Second), LeaseDuration: durationpb.New(12 * time.Hour),
		})
		if err != nil || got.GetLeased() == nil {
			t.Fatalf("lease %s: %v, %v", id, got, err)
		}
		return got.GetLeased().GetLeaseToken()
	}
	tokens = append(tokens, lease("leased"))
	do(c.Retry().ReleaseLease(ctx, &retryv1.ReleaseLeaseRequest{Namespace: exhibits, LeaseToken: lease("leased again")}))
	tokens = append(tokens, lease("leased again"))

	fail(&retryv1.TaskSpec{Id: "held", Queue: "work", Policy: "hourly"}, declined)
	fail(&retryv1.TaskSpec{Id: "held, too", Queue: "work", Policy: "hourly", Deadline: until}, declined)

	for _, id := range []string{"dead", "dead alike", "discarded", "replayed"} {
		queue := "work"
		if id == "replayed" {
			queue = "paused"
		}
		fail(&retryv1.TaskSpec{Id: id, Queue: queue, Policy: "hourly", Payload: []byte("p")}, gone)
	}
	fail(&retryv1.TaskSpec{Id: "dead at once", Queue: "work", Policy: "never"}, timeout)
	do(c.Tasks().DiscardTask(ctx, &retryv1.DiscardTaskRequest{Namespace: exhibits, TaskId: "discarded"}))
	do(c.Tasks().ReplayTask(ctx, &retryv1.ReplayTaskRequest{Namespace: exhibits, TaskId: "replayed"}))
	fail(&retryv1.TaskSpec{Id: "due", Queue: "paused", Policy: "now"}, unavailable)
	fail(&retryv1.TaskSpec{Id: "retried now", Queue: "paused", Policy: "hourly"}, unavailable)
	do(c.Tasks().RetryNow(ctx, &retryv1.RetryNowRequest{Namespace: exhibits, TaskId: "retried now"}))

	fail(&retryv1.TaskSpec{Id: "cancelled", Queue: "work", Policy: "hourly"}, unavailable)
	do(c.Tasks().CancelTask(ctx, &retryv1.CancelTaskRequest{Namespace: exhibits, TaskId: "cancelled"}))
	fail(&retryv1.TaskSpec{Id: "succeeded", Queue: "work", Policy: "hourly"}, unavailable)
	do(c.Retry().ReportSuccess(ctx, &retryv1.ReportSuccessRequest{Namespace: exhibits, Task: &retryv1.TaskSpec{Id: "succeeded"}, Attempt: 2}))
	return tokens
}

// exhibitIDs are the tasks that makeExhibits makes.
var exhibitIDs = []string{
	"cancelled", "dead", "dead alike", "dead at once", "discarded", "due", "held", "held, too", "leased", "leased again",
	"of a job, in \"production\"", "replayed", "rescheduled", "retried now", "scheduled", "succeeded", "with a history",
}

// failureOf reads a failure from JSON.
func failureOf(t *testing.T, text string) *retryv1.Failure {
	t.Helper()
	f := new(retryv1.Failure)
	if err := protojson.Unmarshal([]byte(text), f); err != nil {
		t.Fatal(err)
	}
	return f
}

// lookAt returns what a server tells of the exhibits, by what was asked. What
// depends on the moment of asking is left out.
func lookAt(t *testing.T, c *client.Client) map[string]json.RawMessage {
	t.Helper()
	ctx := t.Context()
	out := make(map[string]json.RawMessage)
	put := func(name string, m proto.Message, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		// Blanks differ from process to process, so that nobody relies on them.
		if err := json.Compact(&compact, data); err != nil {
			t.Fatal(err)
		}
		out[name] = compact.Bytes()
	}
	for _, id := range exhibitIDs {
		got, err := c.Tasks().GetTask(ctx, &retryv1.GetTaskRequest{Namespace: exhibits, TaskId: id})
		put("task "+id, got.GetTask(), err)
	}
	for state := retryv1.Task_STATE_SCHEDULED; state <= retryv1.Task_STATE_DEAD; state++ {
		for _, queue := range []string{"work", "leases", "paused"} {
			got, err := c.Tasks().ListTasks(ctx, &retryv1.ListTasksRequest{Namespace: exhibits, State: state, Queue: queue})
			slices.SortFunc(got.GetTasks(), func(a, b *retryv1.Task) int { return strings.Compare(a.GetTaskId(), b.GetTaskId()) })
			put(fmt.Sprint("tasks ", state, " of ", queue), got, err)
		}
	}
	for _, queue := range []string{"work", "leases", "paused"} {
		got, err := c.Queues().GetQueue(ctx, &retryv1.GetQueueRequest{Namespace: exhibits, Queue: queue})
		if q := got.GetQueue(); q != nil {
			q.OldestDueAge, q.Health = nil, nil
		}
		put("queue "+queue, got.GetQueue(), err)
	}
	groups, err := c.Tasks().ListDeadLetterGroups(ctx, &retryv1.ListDeadLetterGroupsRequest{Namespace: exhibits, Queue: "work"})
	put("dead letters", groups, err)
	group, err := c.Groups().GetGroup(ctx, &retryv1.GetGroupRequest{Namespace: exhibits, Group: "g"})
	put("group", group.GetGroup(), err)
	policies, err := c.Policies().ListPolicies(ctx, &retryv1.ListPoliciesRequest{Namespace: exhibits})
	put("policies", policies, err)
	jobs, err := c.Jobs().ListJobs(ctx, &retryv1.ListJobsRequest{Namespace: exhibits})
	put("jobs", jobs, err)
	return out
}

// wantSame wants everything that one version told to be told by another. It may
// tell more.
func wantSame(t *testing.T, what string, got, want map[string]json.RawMessage) {
	t.Helper()
	for name, w := range want {
		if !tells(t, got[name], w) {
			t.Errorf("%s: %s is told as\n%s\nand was\n%s", what, name, got[name], w)
		}
	}
}

func tells(t *testing.T, got, want json.RawMessage) bool {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		return false
	}
	return contains(g, w)
}

// contains says whether all that is in want is in got, which may have more fields.
func contains(got, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		for k, v := range w {
			ok = ok && contains(g[k], v)
		}
		return ok
	case []any:
		g, ok := got.([]any)
		ok = ok && len(g) == len(w)
		for i := range w {
			ok = ok && contains(g[i], w[i])
		}
		return ok
	default:
		return got == want
	}
}

// finishExhibits sets all in motion that was made, settles what was leased, and
// wants each task to be made once more and to end as it must.
func finishExhibits(t *testing.T, c *client.Client, tokens []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	do := func(_ proto.Message, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, token := range tokens {
		do(c.Retry().ReportSuccess(ctx, &retryv1.ReportSuccessRequest{Namespace: exhibits, LeaseToken: token}))
	}
	want := make(map[string]bool)
	for _, id := range exhibitIDs {
		want[id] = !slices.Contains([]string{"cancelled", "discarded", "succeeded", "leased", "leased again"}, id)
	}
	for _, id := range []string{"scheduled", "of a job, in \"production\"", "rescheduled", "with a history"} {
		do(c.Tasks().RetryNow(ctx, &retryv1.RetryNowRequest{Namespace: exhibits, TaskId: id}))
	}
	for _, id := range []string{"dead", "dead alike", "dead at once"} {
		do(c.Tasks().ReplayTask(ctx, &retryv1.ReplayTaskRequest{Namespace: exhibits, TaskId: id}))
	}
	do(c.Tasks().ReleaseHeld(ctx, &retryv1.ReleaseHeldRequest{Namespace: exhibits, Condition: "owner"}))
	do(c.Queues().ResumeQueue(ctx, &retryv1.ResumeQueueRequest{Namespace: exhibits, Queue: "paused"}))
	for id, due := range want {
		if !due {
			continue
		}
		got, err := c.Retry().NextAttempt(ctx, &retryv1.NextAttemptRequest{
			Namespace: exhibits, Target: &retryv1.NextAttemptRequest_TaskId{TaskId: id}, Wait: durationpb.New(30 * time.Second), LeaseDuration: durationpb.New(time.Minute),
		})
		if err != nil || got.GetLeased() == nil {
			t.Errorf("%s: %v, %v; want it leased", id, got, err)
			continue
		}
		do(c.Retry().ReportSuccess(ctx, &retryv1.ReportSuccessRequest{Namespace: exhibits, LeaseToken: got.GetLeased().GetLeaseToken()}))
	}
	for _, id := range exhibitIDs {
		state := retryv1.Task_STATE_SUCCEEDED
		switch id {
		case "cancelled":
			state = retryv1.Task_STATE_CANCELLED
		case "discarded":
			state = retryv1.Task_STATE_DISCARDED
		}
		got, err := c.Tasks().GetTask(ctx, &retryv1.GetTaskRequest{Namespace: exhibits, TaskId: id})
		if err != nil || got.GetTask().GetState() != state {
			t.Errorf("%s ends as %s, %v; want %s", id, got.GetTask().GetState(), err, state)
		}
	}
	got, err := c.Groups().GetGroup(ctx, &retryv1.GetGroupRequest{Namespace: exhibits, Group: "g"})
	if g := got.GetGroup(); err != nil || g.GetPending() != 0 || g.GetInProgress() != 0 || g.GetTotal() != int64(len(exhibitIDs)-1) {
		t.Errorf("the group counts %v, %v; want %d in all and none under way", g, err, len(exhibitIDs)-1)
	}
}
