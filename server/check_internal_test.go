package server

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// check is one request and the fields that must be named for it, in order.
type check struct {
	name string
	run  func(c *checker)
	want []string
}

func runChecks(t *testing.T, checks []check) {
	t.Helper()
	for _, tc := range checks {
		var c checker
		tc.run(&c)
		var got []string
		for _, v := range c.violations {
			got = append(got, v.Field)
			if v.Description == "" || len(v.Description) > 1000 {
				t.Errorf("%s: %s is described by %d bytes", tc.name, v.Field, len(v.Description))
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
		if (c.err() == nil) != (len(tc.want) == 0) {
			t.Errorf("%s: error %v", tc.name, c.err())
		}
	}
}

func okFailure() *retryv1.Failure {
	return &retryv1.Failure{Cause: &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}}
}

func failureOf(spec *retryv1.TaskSpec) func(c *checker) {
	return func(c *checker) {
		c.reportFailure("default", &retryv1.ReportFailureRequest{Task: spec, Failure: okFailure(), IdempotencyKey: "k"})
	}
}

func badDuration() *durationpb.Duration    { return &durationpb.Duration{Seconds: 1, Nanos: -1} }
func badTime() *timestamppb.Timestamp      { return &timestamppb.Timestamp{Nanos: -1} }
func seconds(n int64) *durationpb.Duration { return &durationpb.Duration{Seconds: n} }

func TestCheckNames(t *testing.T) {
	t.Parallel()
	ns := func(name string) func(c *checker) { return func(c *checker) { c.namespace(name) } }
	queue := func(name string) func(c *checker) { return failureOf(&retryv1.TaskSpec{Id: "t", Queue: name}) }
	id := func(id string) func(c *checker) { return failureOf(&retryv1.TaskSpec{Id: id}) }
	runChecks(t, []check{
		{"no namespace", ns(""), nil},
		{"namespace", ns("A-z0.9_"), nil},
		{"longest namespace", ns(strings.Repeat("a", 100)), nil},
		{"long namespace", ns(strings.Repeat("a", 101)), []string{"namespace"}},
		{"namespace with colon", ns("a:b"), []string{"namespace"}},
		{"namespace with umlaut", ns("ü"), []string{"namespace"}},
		{"queue", queue("mail:eu/high_1.x-"), nil},
		{"queue with space", queue("mail eu"), []string{"task.queue"}},
		{"long queue", queue(strings.Repeat("q", 101)), []string{"task.queue"}},
		{"huge queue", queue(strings.Repeat("q", 500_000)), []string{"task.queue"}},
		{"id", id("häuser/42 #x"), nil},
		{"longest id", id(strings.Repeat("x", 200)), nil},
		{"long id", id(strings.Repeat("x", 201)), []string{"task.id"}},
		{"id with newline", id("a\nb"), []string{"task.id"}},
		{"id with C1 control", id("a\u0085b"), []string{"task.id"}},
		{"id of bad UTF-8", id("a\xff"), []string{"task.id"}},
		{"policy", failureOf(&retryv1.TaskSpec{Policy: "a-9"}), nil},
		{"policy in capitals", failureOf(&retryv1.TaskSpec{Policy: "A"}), []string{"task.policy"}},
		{"long policy", failureOf(&retryv1.TaskSpec{Policy: strings.Repeat("p", 64)}), []string{"task.policy"}},
		{"job", failureOf(&retryv1.TaskSpec{Job: "a_b"}), []string{"task.job"}},
		{"group", failureOf(&retryv1.TaskSpec{Group: "a b"}), []string{"task.group"}},
		{"worker with control", func(c *checker) { c.worker("a\x00") }, []string{"worker_id"}},
		{"long worker", func(c *checker) { c.worker(strings.Repeat("w", 256)) }, []string{"worker_id"}},
	})
	var c checker
	if got := c.namespace(""); got != "default" {
		t.Errorf("no namespace is %q", got)
	}
}

func TestCheckSpec(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 33 {
		many[string(rune('a'+i))] = ""
	}
	runChecks(t, []check{
		{"nothing", failureOf(nil), nil},
		{"policy beside job", failureOf(&retryv1.TaskSpec{Policy: "p", Job: "j"}), []string{"task.job"}},
		{"environment with job", failureOf(&retryv1.TaskSpec{Job: "j", Environment: "prod"}), nil},
		{"environment without job", failureOf(&retryv1.TaskSpec{Policy: "p", Environment: "prod"}), []string{"task.environment"}},
		{"bad environment", failureOf(&retryv1.TaskSpec{Job: "j", Environment: "a b"}), []string{"task.environment"}},
		{"largest payload", failureOf(&retryv1.TaskSpec{Payload: make([]byte, 128<<10)}), nil},
		{"payload", failureOf(&retryv1.TaskSpec{Payload: make([]byte, 128<<10+1)}), []string{"task.payload"}},
		{"many attributes", failureOf(&retryv1.TaskSpec{Attributes: many}), []string{"task.attributes"}},
		{"most attributes", failureOf(&retryv1.TaskSpec{Attributes: map[string]string{"k": strings.Repeat("v", 8<<10-1)}}), nil},
		{"large attributes", failureOf(&retryv1.TaskSpec{Attributes: map[string]string{"k": strings.Repeat("v", 8<<10)}}), []string{"task.attributes"}},
		{"deadline", failureOf(&retryv1.TaskSpec{Deadline: timestamppb.New(time.Unix(1, 0))}), nil},
		{"empty deadline", failureOf(&retryv1.TaskSpec{Deadline: &timestamppb.Timestamp{}}), []string{"task.deadline"}},
		{"early deadline", failureOf(&retryv1.TaskSpec{Deadline: timestamppb.New(time.Unix(-1, 0))}), []string{"task.deadline"}},
		{"bad deadline", failureOf(&retryv1.TaskSpec{Deadline: badTime()}), []string{"task.deadline"}},
		{"zone", failureOf(&retryv1.TaskSpec{TimeZone: "Europe/Berlin"}), nil},
		{"no zone", failureOf(&retryv1.TaskSpec{TimeZone: "Mars/Base"}), []string{"task.time_zone"}},
		{"local zone", failureOf(&retryv1.TaskSpec{TimeZone: "Local"}), []string{"task.time_zone"}},
		{"zone as path", failureOf(&retryv1.TaskSpec{TimeZone: "../../etc/passwd"}), []string{"task.time_zone"}},
		{"all at once", func(c *checker) {
			c.reportFailure(c.namespace("!"), &retryv1.ReportFailureRequest{
				Task: &retryv1.TaskSpec{
					Id: "\x01", Queue: "?", Policy: "?", Job: "?", Environment: "?", Payload: make([]byte, 200<<10),
					Attributes: many, Group: "?", Deadline: badTime(), TimeZone: "?",
				},
				Attempt: -1, IdempotencyKey: strings.Repeat("k", 256),
				Failure: &retryv1.Failure{Code: strings.Repeat("c", 256), RetryAfter: badDuration(), Time: badTime()},
			})
		}, []string{
			"namespace", "task.id", "task.queue", "task.policy", "task.job", "task.job", "task.environment", "task.payload",
			"task.attributes", "task.group", "task.deadline", "task.time_zone", "attempt",
			"failure.cause", "failure.code", "failure.retry_after", "failure.time", "idempotency_key",
		}},
	})
}

func TestPayloadTooLargeHasItsReason(t *testing.T) {
	t.Parallel()
	var c checker
	failureOf(&retryv1.TaskSpec{Payload: make([]byte, 128<<10+1), Queue: "?"})(&c)
	e, ok := errors.AsType[*scheduler.Error](c.err())
	if !ok || e.Kind != scheduler.KindPayloadTooLarge || len(e.Violations) != 2 {
		t.Errorf("got %+v", e)
	}
}

func TestCheckReports(t *testing.T) {
	t.Parallel()
	failure := func(f *retryv1.Failure) func(c *checker) {
		return func(c *checker) {
			c.reportFailure("default", &retryv1.ReportFailureRequest{Failure: f, IdempotencyKey: "k"})
		}
	}
	cause := func(f *retryv1.Failure, want ...string) check { return check{f.String(), failure(f), want} }
	runChecks(t, []check{
		{"no failure", failure(nil), []string{"failure"}},
		cause(&retryv1.Failure{}, "failure.cause"),
		cause(&retryv1.Failure{Cause: &retryv1.Failure_Http{}}, "failure.http.status"),
		cause(&retryv1.Failure{Cause: &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: 99}}}, "failure.http.status"),
		cause(&retryv1.Failure{Cause: &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: 599, RetryAfter: strings.Repeat("9", 10_000)}}}),
		cause(&retryv1.Failure{Cause: &retryv1.Failure_Grpc{Grpc: &retryv1.GrpcFailure{Code: 17}}}, "failure.grpc.code"),
		cause(&retryv1.Failure{Cause: &retryv1.Failure_Connection{Connection: &retryv1.ConnectionFailure{}}}, "failure.connection.kind"),
		cause(&retryv1.Failure{Cause: &retryv1.Failure_Connection{Connection: &retryv1.ConnectionFailure{Kind: 7}}}, "failure.connection.kind"),
		cause(&retryv1.Failure{Cause: &retryv1.Failure_Outcome{}}, "failure.outcome"),
		cause(&retryv1.Failure{Cause: &retryv1.Failure_Outcome{Outcome: strings.Repeat("o", 256)}}, "failure.outcome"),
		cause(&retryv1.Failure{Cause: okFailure().Cause, RetryAfter: seconds(-5), Message: strings.Repeat("m", 100_000)}),
		cause(&retryv1.Failure{Cause: okFailure().Cause, RetryAfter: seconds(math.MaxInt64)}, "failure.retry_after"),
		cause(&retryv1.Failure{Cause: okFailure().Cause, Time: &timestamppb.Timestamp{Seconds: math.MinInt64}}, "failure.time"),
		cause(&retryv1.Failure{Cause: okFailure().Cause, Time: &timestamppb.Timestamp{Seconds: -1}}),
		{"success", func(c *checker) {
			c.reportSuccess("default", &retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: "x"}, Attempt: maxAttempt, IdempotencyKey: strings.Repeat("k", 255)})
		}, nil},
		{"bad success", func(c *checker) {
			c.reportSuccess("default", &retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Queue: "?"}, Attempt: maxAttempt + 1, IdempotencyKey: "\xff"})
		}, []string{"task.queue", "attempt", "idempotency_key"}},
		{"empty batch", func(c *checker) { c.batch(&retryv1.BatchReportRequest{}) }, []string{"reports"}},
		{"large batch", func(c *checker) { c.batch(&retryv1.BatchReportRequest{Reports: make([]*retryv1.Report, 1001)}) }, []string{"reports"}},
		{"empty report", func(c *checker) { c.report("default", &retryv1.Report{}) }, []string{"report"}},
		{"batch item", func(c *checker) {
			c.report("a", &retryv1.Report{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{Namespace: "b", Task: &retryv1.TaskSpec{Id: "\n"}}}})
		}, []string{"namespace", "task.id", "failure"}},
		{"batch item of the same namespace", func(c *checker) {
			c.report("a", &retryv1.Report{Report: &retryv1.Report_Success{Success: &retryv1.ReportSuccessRequest{Namespace: "a", IdempotencyKey: "k"}}})
		}, nil},
	})
}

func TestCheckLeases(t *testing.T) {
	t.Parallel()
	next := func(r *retryv1.NextAttemptRequest) func(c *checker) { return func(c *checker) { c.nextAttempt(r) } }
	byTask, byQueue := &retryv1.NextAttemptRequest_TaskId{TaskId: "t"}, &retryv1.NextAttemptRequest_Queue{Queue: "q"}
	extend := func(n int, d *durationpb.Duration) func(c *checker) {
		return func(c *checker) { c.extend(make([]string, n), d) }
	}
	runChecks(t, []check{
		{"by task", next(&retryv1.NextAttemptRequest{Target: byTask, Wait: seconds(60), LeaseDuration: seconds(43200)}), nil},
		{"by queue", next(&retryv1.NextAttemptRequest{Target: byQueue, Wait: seconds(0), LeaseDuration: seconds(1)}), nil},
		{"no target", next(&retryv1.NextAttemptRequest{}), []string{"target"}},
		{"empty task", next(&retryv1.NextAttemptRequest{Target: &retryv1.NextAttemptRequest_TaskId{}}), []string{"task_id"}},
		{"empty queue", next(&retryv1.NextAttemptRequest{Target: &retryv1.NextAttemptRequest_Queue{}}), []string{"queue"}},
		{"all at once", next(&retryv1.NextAttemptRequest{
			Namespace: "?", Target: &retryv1.NextAttemptRequest_Queue{Queue: "?"},
			Wait: seconds(61), LeaseDuration: durationpb.New(time.Millisecond), WorkerId: "\n",
		}), []string{"namespace", "queue", "wait", "lease_duration", "worker_id"}},
		{"negative", next(&retryv1.NextAttemptRequest{Target: byTask, Wait: seconds(-1), LeaseDuration: seconds(-1)}), []string{"wait", "lease_duration"}},
		{"unreadable", next(&retryv1.NextAttemptRequest{Target: byTask, Wait: badDuration(), LeaseDuration: badDuration()}), []string{"wait", "lease_duration"}},
		{"extend none", extend(0, nil), []string{"lease_tokens"}},
		{"extend", extend(1000, seconds(0)), nil},
		{"extend too many", extend(1001, seconds(43201)), []string{"lease_tokens", "lease_duration"}},
		{"release", func(c *checker) { c.token("default", leaseToken("t")); c.release(nil) }, nil},
		{"release far", func(c *checker) { c.release(seconds(36525 * 24 * 3600)) }, nil},
		{"release too far", func(c *checker) { c.release(seconds(36525*24*3600 + 1)) }, []string{"delay"}},
		{"release nothing, backwards", func(c *checker) { c.token("default", ""); c.release(seconds(-1)) }, []string{"lease_token", "delay"}},
	})
	var c checker
	if got := c.nextAttempt(&retryv1.NextAttemptRequest{Target: byQueue}); got.Lease != 30*time.Second {
		t.Errorf("by queue the lease lasts %v", got.Lease)
	}
	if got := c.nextAttempt(&retryv1.NextAttemptRequest{Target: byTask}); got.Lease != 0 {
		t.Errorf("by task the lease lasts %v", got.Lease)
	}
}

func TestCheckStream(t *testing.T) {
	t.Parallel()
	open := func(o *retryv1.Open) func(c *checker) { return func(c *checker) { c.open(o) } }
	flow := func(n int32) func(c *checker) {
		return func(c *checker) { c.flow(&retryv1.Flow{MaxInFlight: n}) }
	}
	outcome := func(o *retryv1.Outcome) func(c *checker) { return func(c *checker) { c.outcomeReport("default", o) } }
	runChecks(t, []check{
		{"open", open(&retryv1.Open{Queues: []string{"a", "b"}, MaxInFlight: 1000, LeaseDuration: seconds(30)}), nil},
		{"no queues", open(&retryv1.Open{}), []string{"open.queues"}},
		{"many queues", open(&retryv1.Open{Queues: make([]string, 101)}), []string{"open.queues"}},
		{"queue twice", open(&retryv1.Open{Queues: []string{"a", "b", "a"}}), []string{"open.queues[2]"}},
		{"observer, too", open(&retryv1.Open{Observe: true, Queues: []string{"a"}, MaxInFlight: -1}), []string{"open.max_in_flight"}},
		{"all at once", open(&retryv1.Open{Namespace: "?", Queues: []string{"", "ok", "?"}, MaxInFlight: 1001, LeaseDuration: seconds(43201), WorkerId: "\x7f"}), []string{
			"open.namespace", "open.queues[0]", "open.queues[2]", "open.max_in_flight", "open.lease_duration", "open.worker_id",
		}},
		{"flow 0", flow(0), nil},
		{"flow 1000", flow(1000), nil},
		{"flow 1001", flow(1001), []string{"flow.max_in_flight"}},
		{"flow -1", flow(-1), []string{"flow.max_in_flight"}},
		{"outcome of nothing", outcome(&retryv1.Outcome{}), []string{"lease_token", "result"}},
		{"success", outcome(&retryv1.Outcome{LeaseToken: leaseToken("t"), Result: &retryv1.Outcome_Success{Success: &retryv1.Success{Outcome: "answered", Message: strings.Repeat("m", 5000)}}}), nil},
		{"long success", outcome(&retryv1.Outcome{LeaseToken: leaseToken("t"), Result: &retryv1.Outcome_Success{Success: &retryv1.Success{Outcome: strings.Repeat("m", 256)}}}), []string{"success.outcome"}},
		{"failure", outcome(&retryv1.Outcome{LeaseToken: leaseToken("t"), Result: &retryv1.Outcome_Failure{Failure: &retryv1.Failure{}}}), []string{"failure.cause"}},
		{"no failure", outcome(&retryv1.Outcome{LeaseToken: leaseToken("t"), Result: &retryv1.Outcome_Failure{}}), []string{"failure"}},
		{"all of an outcome at once", outcome(&retryv1.Outcome{LeaseToken: "x", Result: &retryv1.Outcome_Failure{Failure: &retryv1.Failure{}}}), []string{"lease_token", "failure.cause"}},
	})
	var c checker
	if got := c.open(&retryv1.Open{Queues: []string{"a"}}); got.MaxInFlight != 32 || got.Lease != 30*time.Second || got.Namespace != "default" {
		t.Errorf("defaults: %+v", got)
	}
}

func TestCheckPreview(t *testing.T) {
	t.Parallel()
	preview := func(r *retryv1.PreviewPolicyRequest) func(c *checker) { return func(c *checker) { c.preview(r, 0) } }
	byID := &retryv1.PreviewPolicyRequest_PolicyId{PolicyId: "p"}
	runChecks(t, []check{
		{"nothing", preview(&retryv1.PreviewPolicyRequest{}), []string{"source", "failures"}},
		{"empty id", preview(&retryv1.PreviewPolicyRequest{Source: &retryv1.PreviewPolicyRequest_PolicyId{}, Failures: []*retryv1.Failure{okFailure()}}), []string{"policy_id"}},
		{"by id", preview(&retryv1.PreviewPolicyRequest{Source: byID, Failures: []*retryv1.Failure{okFailure()}}), nil},
		{"too many failures", preview(&retryv1.PreviewPolicyRequest{Source: byID, Failures: make([]*retryv1.Failure, 1001)}), []string{"failures"}},
		{"all at once", preview(&retryv1.PreviewPolicyRequest{
			Namespace: "?",
			Source: &retryv1.PreviewPolicyRequest_Policy{Policy: &retryv1.Policy{
				Id: "?", MaxRetries: 1, Jitter: &retryv1.Jitter{Kind: &retryv1.Jitter_Full{}}, Retention: badDuration(),
			}},
			Failures: []*retryv1.Failure{okFailure(), {}}, StartTime: &timestamppb.Timestamp{},
			TaskId: "\n", Deadline: badTime(), TimeZone: "?",
		}), []string{
			"namespace", "policy.jitter.full", "policy.retention", "policy.id", "policy.display_name", "policy.schedule", "policy.default_action",
			"failures[1].cause", "start_time", "task_id", "deadline", "time_zone",
		}},
	})
}

func TestCheckPage(t *testing.T) {
	t.Parallel()
	list := listing{kind: "policies", namespace: "a", filter: []string{"f"}}
	page := func(size int32, token string) func(c *checker) {
		return func(c *checker) { c.page(list, size, token) }
	}
	runChecks(t, []check{
		{"first", page(0, ""), nil},
		{"next", page(1000, list.token("x")), nil},
		{"size", page(1001, ""), []string{"page_size"}},
		{"negative size and nonsense", page(-1, "nonsense"), []string{"page_size", "page_token"}},
		{"of another namespace", page(0, listing{"policies", "b", []string{"f"}}.token("x")), []string{"page_token"}},
		{"of another filter", page(0, listing{"policies", "a", []string{""}}.token("x")), []string{"page_token"}},
		{"of another kind", page(0, listing{"jobs", "a", []string{"f"}}.token("x")), []string{"page_token"}},
		{"glued differently", page(0, listing{"policies", "af", []string{""}}.token("x")), []string{"page_token"}},
		{"of another version", page(0, "Ag"+list.token("x")[2:]), []string{"page_token"}},
		{"without an id", page(0, list.token("")), []string{"page_token"}},
	})
}
