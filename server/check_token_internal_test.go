package server

import (
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// leaseToken is one of a task in the namespace default.
func leaseToken(id string) string {
	return scheduler.LeaseToken{Key: scheduler.TaskKey{Namespace: "default", ID: id}, Fence: scheduler.Fence{Number: 1, Nonce: 2}}.String()
}

func TestCheckToken(t *testing.T) {
	t.Parallel()
	token := func(namespace, token string) func(c *checker) { return func(c *checker) { c.token(namespace, token) } }
	bad := []string{"lease_token"}
	runChecks(t, []check{
		{"good", token("default", leaseToken("t")), nil},
		{"missing", token("default", ""), bad},
		{"nonsense", token("default", "x"), bad},
		{"long", token("default", strings.Repeat("A", 400_000)), bad},
		{"of another namespace", token("other", leaseToken("t")), bad},
		{"beside a malformed namespace", token("?", leaseToken("t")), nil},
		{"made up of no task", token("default", leaseToken("")), bad},
		{"made up of bad UTF-8", token("default", leaseToken("\xff")), bad},
		{"made up of control characters", token("default", leaseToken("a\nb")), bad},
		{"made up of a long id", token("default", leaseToken(strings.Repeat("t", 201))), bad},
	})
}

func TestLongestTokenIsTaken(t *testing.T) {
	t.Parallel()
	namespace := strings.Repeat("n", maxNameBytes)
	token := scheduler.LeaseToken{
		Shard: 1 << 16,
		Key:   scheduler.TaskKey{Namespace: namespace, ID: strings.Repeat("t", maxTaskIDBytes)},
		Fence: scheduler.Fence{Number: math.MaxInt64, Nonce: math.MaxUint64},
	}.String()
	var c checker
	if _, ok := c.token(namespace, token); !ok || cutToken(token) != token {
		t.Errorf("%d bytes, of %d allowed: %v", len(token), maxTokenBytes, c.err())
	}
}

// TestCutTokenIsNone holds what is left of a token to being refused as what it
// was: a cut that made a good token of a bad one would settle a task.
func TestCutTokenIsNone(t *testing.T) {
	t.Parallel()
	for _, token := range []string{
		leaseToken("t") + strings.Repeat("A", 1000),
		strings.Repeat("ü", 5000), "x" + strings.Repeat("ü", 5000), strings.Repeat("\U0001f600", 5000),
	} {
		cut := cutToken(token)
		if len(cut) <= maxTokenBytes || len(cut) > maxTokenBytes+20 || !utf8.ValidString(cut) || cutToken(cut) != cut {
			t.Errorf("cut to %q", cut)
		}
		var whole, rest checker
		whole.token("default", token)
		rest.token("default", cut)
		if whole.err() == nil || rest.err() == nil || whole.err().Error() != rest.err().Error() {
			t.Errorf("the whole: %v, the rest: %v", whole.err(), rest.err())
		}
	}
}

func TestCheckSubject(t *testing.T) {
	t.Parallel()
	failure := func(r *retryv1.ReportFailureRequest) func(c *checker) {
		return func(c *checker) { c.reportFailure(c.namespace(r.GetNamespace()), r) }
	}
	success := func(r *retryv1.ReportSuccessRequest) func(c *checker) {
		return func(c *checker) { c.reportSuccess(c.namespace(r.GetNamespace()), r) }
	}
	task := &retryv1.TaskSpec{Id: "t"}
	runChecks(t, []check{
		{"failure of nothing", failure(&retryv1.ReportFailureRequest{}), []string{"task.id", "failure"}},
		{"success of nothing", success(&retryv1.ReportSuccessRequest{}), []string{"task.id"}},
		{"by key", success(&retryv1.ReportSuccessRequest{IdempotencyKey: "k"}), nil},
		{"by token", success(&retryv1.ReportSuccessRequest{LeaseToken: leaseToken("t")}), nil},
		{"by token and id", success(&retryv1.ReportSuccessRequest{LeaseToken: leaseToken("t"), Task: task}), nil},
		{"a later failure", failure(&retryv1.ReportFailureRequest{Task: task, Failure: okFailure()}), nil},
		{"bad token, bad attempt", failure(&retryv1.ReportFailureRequest{LeaseToken: "xx", Attempt: -1}), []string{"attempt", "lease_token", "failure"}},
		{"token of another namespace, bad key", success(&retryv1.ReportSuccessRequest{
			Namespace: "other", LeaseToken: leaseToken("t"), IdempotencyKey: strings.Repeat("k", 256),
		}), []string{"lease_token", "idempotency_key"}},
		{"token of another task, bad queue", success(&retryv1.ReportSuccessRequest{
			LeaseToken: leaseToken("other"), Task: &retryv1.TaskSpec{Id: "t", Queue: "?"},
		}), []string{"task.queue", "task.id"}},
		{"batch item of nothing", func(c *checker) {
			c.report("default", &retryv1.Report{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{}}})
		}, []string{"task.id", "failure"}},
	})
}

func TestCheckPreviewNamesTheZoneWithTheRest(t *testing.T) {
	t.Parallel()
	// Free in UTC, but never in Tokyo, where the first window lies elsewhere.
	shut := &retryv1.Policy{
		Id: "p", DisplayName: "p", DefaultAction: retryv1.Action_ACTION_RETRY,
		PauseWindows: []*retryv1.PauseWindow{{Start: "00:00", End: "12:00"}, {Start: "03:00", End: "15:00", TimeZone: "UTC"}},
	}
	preview := func(zone string) func(c *checker) {
		return func(c *checker) {
			c.preview(&retryv1.PreviewPolicyRequest{
				Source: &retryv1.PreviewPolicyRequest_Policy{Policy: shut}, TimeZone: zone, TaskId: "\n", Failures: []*retryv1.Failure{okFailure()},
			}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
		}
	}
	runChecks(t, []check{
		{"free", preview("UTC"), []string{"task_id"}},
		{"shut", preview("Asia/Tokyo"), []string{"task_id", "time_zone"}},
		{"no zone", preview("?"), []string{"task_id", "time_zone"}},
	})
}

func TestUnknownEnumsAreToldAsGiven(t *testing.T) {
	t.Parallel()
	var c checker
	kind := retryv1.ConnectionFailure_Kind(256)
	c.reportFailure("default", &retryv1.ReportFailureRequest{IdempotencyKey: "k", Failure: &retryv1.Failure{
		Cause: &retryv1.Failure_Connection{Connection: &retryv1.ConnectionFailure{Kind: kind}},
	}})
	c.policy(&retryv1.Policy{
		Id: "p", DisplayName: "p", DefaultAction: 256, RetryAfter: &retryv1.RetryAfter{Mode: 256},
		Rules: []*retryv1.Rule{{Action: 256, Match: &retryv1.Match{ConnectionKinds: []retryv1.ConnectionFailure_Kind{kind}}}},
	}, 0)
	e, _ := errors.AsType[*scheduler.Error](c.err())
	var got []string
	for _, v := range e.Violations {
		got = append(got, v.Field)
		if !strings.HasPrefix(v.Description, "is 256; allowed: ") {
			t.Errorf("%s %s", v.Field, v.Description)
		}
	}
	want := "failure.connection.kind policy.rules[0].match.connection_kinds[0] policy.rules[0].action policy.default_action policy.retry_after.mode"
	if strings.Join(got, " ") != want {
		t.Errorf("got %q", got)
	}
}

func TestViolationsAreBounded(t *testing.T) {
	t.Parallel()
	list := make([]policy.Violation, 105)
	for i := range list {
		list[i] = policy.Violation{Field: "f", Description: "d"}
	}
	if got := bounded(list[:101]); len(got) != 101 || got[100] != list[0] {
		t.Errorf("of 101, %d are told", len(got))
	}
	got := bounded(list)
	if len(got) != 101 || got[99] != list[0] || got[100] != (policy.Violation{Description: "and 5 more violations"}) || list[100].Field != "f" {
		t.Errorf("%d are told, the last %+v", len(got), got[len(got)-1])
	}
	f := newFailures(slog.New(slog.DiscardHandler))
	many := scheduler.Invalid(slices.Repeat(list, 1000)...)
	many.Message = strings.Repeat("m", 100_000)
	if got := f.item(t.Context(), many); len(got.GetViolations()) != 101 || proto.Size(got) > 3000 {
		t.Errorf("an item tells %d in %d bytes", len(got.GetViolations()), proto.Size(got))
	}
	if got := status.Convert(f.status(t.Context(), many)).Proto(); proto.Size(got) > 3000 {
		t.Errorf("a status has %d bytes", proto.Size(got))
	}
}
