package telemetry_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

const secret = "s3cr3t"

// failure is the first failure of a task, with things in it that nobody may see.
func failure(id, policy string, change ...func(*retryv1.ReportFailureRequest)) *retryv1.ReportFailureRequest {
	r := &retryv1.ReportFailureRequest{
		Task:           &retryv1.TaskSpec{Id: id, Queue: "q", Policy: policy, Payload: []byte("payload-" + secret), Attributes: map[string]string{"a": secret}},
		Attempt:        1,
		Failure:        &retryv1.Failure{Cause: &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: 503}}, Code: "E7", Message: "message-" + secret},
		IdempotencyKey: "key-" + secret + id,
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func (s *site) fail(r *retryv1.ReportFailureRequest) {
	s.t.Helper()
	if _, err := s.retry.ReportFailure(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
}

// lease takes the next attempt of the queue for a second.
func (s *site) lease() string {
	s.t.Helper()
	got, err := s.retry.NextAttempt(s.t.Context(), &retryv1.NextAttemptRequest{
		Target: &retryv1.NextAttemptRequest_Queue{Queue: "q"}, Wait: durationpb.New(20 * time.Second), LeaseDuration: durationpb.New(time.Second),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if got.GetLeased() == nil {
		s.t.Fatalf("nothing is leased: %v", got)
	}
	return got.GetLeased().GetLeaseToken()
}

// play has everything happen that is counted.
func (s *site) play() {
	s.t.Helper()
	ctx := s.t.Context()
	// One retry, handed out twice since the first lease expires, and succeeding.
	s.fail(failure("a", "now"))
	s.fail(failure("a", "now"))
	s.lease()
	token := s.lease()
	if _, err := s.retry.ReportSuccess(ctx, &retryv1.ReportSuccessRequest{LeaseToken: token}); err != nil {
		s.t.Fatal(err)
	}
	// A dead letter, a hold, and a task that succeeded at once.
	s.fail(failure("dead", "never"))
	s.fail(failure("held", "now", func(r *retryv1.ReportFailureRequest) {
		r.Failure.Cause = &retryv1.Failure_Outcome{Outcome: "hold"}
	}))
	if _, err := s.retry.ReportSuccess(ctx, &retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: "good"}}); err != nil {
		s.t.Fatal(err)
	}
	// Refused at sight, and by the engine.
	_, _ = s.retry.ReportFailure(ctx, failure("bad id \n", "now"))
	_, _ = s.retry.ReportSuccess(ctx, &retryv1.ReportSuccessRequest{LeaseToken: token, Attempt: 7})
	batch := &retryv1.BatchReportRequest{Reports: []*retryv1.Report{
		{Report: &retryv1.Report_Failure{Failure: failure("b", "no-such")}},
		{Report: &retryv1.Report_Failure{Failure: failure("", "now", func(r *retryv1.ReportFailureRequest) { r.Failure = nil })}},
	}}
	if _, err := s.retry.BatchReport(ctx, batch); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.queues.PauseQueue(ctx, &retryv1.PauseQueueRequest{Queue: "q"}); err != nil {
		s.t.Fatal(err)
	}
}

func TestMetricsTellWhatHasHappened(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *site) {
		s.play()
		got := s.values()
		for name, want := range map[string]float64{
			"retryd_reports_total kind=failure reason= result=accepted":                3,
			"retryd_reports_total kind=failure reason= result=duplicate":               1,
			"retryd_reports_total kind=failure reason=INVALID_REQUEST result=refused":  2,
			"retryd_reports_total kind=failure reason=POLICY_NOT_FOUND result=refused": 1,
			"retryd_reports_total kind=success reason= result=accepted":                2,
			"retryd_reports_total kind=success reason=INVALID_REQUEST result=refused":  1,
			"retryd_duplicates_dropped_total kind=failure":                             1,
			"retryd_decisions_total action=RETRY reason=RETRY_SCHEDULED":               1,
			"retryd_decisions_total action=DEAD_LETTER reason=RETRIES_EXHAUSTED":       1,
			"retryd_decisions_total action=HOLD reason=HELD":                           1,
			"retryd_dead_letters_total reason=RETRIES_EXHAUSTED":                       1,
			"retryd_holds_total":                                      1,
			"retryd_attempts_handed_out_total trigger=RETRY":          2,
			"retryd_redeliveries_total":                               1,
			"retryd_lease_expiries_total":                             1,
			"retryd_lateness_seconds":                                 1,
			"retryd_queue_tasks namespace=default queue=q state=held": 1,
			"retryd_queue_tasks namespace=default queue=q state=dead": 1,
			"retryd_queue_paused namespace=default queue=q":           1,
			"retryd_build_info version=test":                          1,
			"retryd_durability_reached":                               1,
			"grpc_server_handled_total grpc_code=OK grpc_method=ReportFailure grpc_service=retry.v1.RetryService grpc_type=unary":              4,
			"grpc_server_handled_total grpc_code=InvalidArgument grpc_method=ReportFailure grpc_service=retry.v1.RetryService grpc_type=unary": 1,
			"grpc_server_handling_seconds grpc_method=BatchReport grpc_service=retry.v1.RetryService grpc_type=unary":                          1,
			"grpc_server_started_total grpc_method=NextAttempt grpc_service=retry.v1.RetryService grpc_type=unary":                             2,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
		// Nothing is asked for; what is found differs by store.
		told := slices.ContainsFunc(slices.Collect(maps.Keys(got)), func(name string) bool {
			return strings.HasPrefix(name, "retryd_durability_info asked=none found=")
		})
		if !told {
			t.Error("no retryd_durability_info says that nothing is asked for")
		}
		if strings.HasSuffix(t.Name(), "/redis") {
			for _, script := range []string{"create", "change", "claim"} {
				if name := "retryd_redis_script_duration_seconds script=" + script; got[name] == 0 {
					t.Errorf("%s is 0", name)
				}
			}
		}
	})
}

// The first event counts: to Prometheus a counter that begins at one has not moved.
func TestCountersBeginAtZero(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *site) {
		before := s.series()
		s.play()
		for name := range s.series() {
			if !before[name] && strings.HasPrefix(name, "retryd_") {
				t.Errorf("%s is not there before it counts", name)
			}
		}
	})
}

func TestStreamsAndTheirCreditAreTold(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *site) {
		stream, err := s.retry.Subscribe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open := &retryv1.Open{Queues: []string{"q"}, MaxInFlight: 5}
		if err := stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: open}}); err != nil {
			t.Fatal(err)
		}
		s.await("retryd_stream_credit", 5)
		s.fail(failure("a", "now"))
		msg, err := stream.Recv()
		if err != nil || msg.GetAttempt() == nil {
			t.Fatal(msg, err)
		}
		got := s.values()
		for name, want := range map[string]float64{
			"retryd_stream_credit": 4, "retryd_leases_out": 1, "retryd_streams": 1,
			"grpc_server_started_total grpc_method=Subscribe grpc_service=retry.v1.RetryService grpc_type=bidi_stream": 1,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNamesFollowTheConventions(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.play()
	problems, err := testutil.GatherAndLint(s.metrics.Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.play()
	for name := range s.values() {
		if strings.Contains(name, secret) {
			t.Errorf("a metric tells a secret: %s", name)
		}
	}
	s.lines.Flush()
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, secret) {
			t.Errorf("the log tells a secret: %s", line)
		}
	}
	if s.log.Len() == 0 {
		t.Error("nothing is logged")
	}
}
