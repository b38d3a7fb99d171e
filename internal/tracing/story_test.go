package tracing_test

import (
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// A report at one server, its retries by a worker of another, told as one story.
func TestOneStoryAcrossServers(t *testing.T) {
	t.Parallel()
	s := setup(t, 2, 0)
	one, two := s.servers[0], s.servers[1]
	s.fail(one, sampled)
	w := s.worker(two)
	second := w.attempt()
	w.settle(second, false, second.GetTraceparent())
	third := w.attempt()
	w.settle(third, true, third.GetTraceparent())

	spans := s.wantStory(`retry.v1.RetryService/ReportFailure by server 1
  decide by server 1
  hand out q by server 2
    hand out q by server 2
      outcome q by server 2
    outcome q by server 2
      decide by server 2
    wait q by server 2
  wait q by server 2
`)
	if len(spans) != 9 {
		t.Errorf("%d spans were made, want the 9 of the story", len(spans))
	}
	for _, span := range spans {
		if span.EndTime.Before(span.StartTime) {
			t.Errorf("%s ends %s before it begins", span.Name, span.StartTime.Sub(span.EndTime))
		}
		said := attributesOf(span)
		if strings.Contains(fmt.Sprint(said, span.Status, span.Events), secret) {
			t.Errorf("%s tells what is nobody's business: %v", span.Name, said)
		}
		switch span.Name {
		case "decide":
			wantAttributes(t, said, map[string]string{
				"retryd.action": "RETRY", "retryd.reason": "RETRY_SCHEDULED", "retryd.delay_ms": "1", "retryd.policy": "quick", "retryd.policy_revision": "1",
				"http.response.status_code": "503", "retryd.namespace": "default", "messaging.destination.name": "q", "messaging.message.id": "a",
			})
		case "hand out q":
			wantAttributes(t, said, map[string]string{
				"messaging.system": "retryd", "messaging.operation.type": "send", "messaging.operation.name": "hand out",
				"retryd.delivery": "1", "retryd.trigger": "RETRY",
			})
			if span.SpanKind != trace.SpanKindProducer {
				t.Errorf("%s is of kind %s", span.Name, span.SpanKind)
			}
			a := second
			if said["retryd.attempt"] == "3" {
				a = third
			}
			if want := "00-" + callerTrace + "-" + span.SpanContext.SpanID().String() + "-01"; a.GetTraceparent() != want {
				t.Errorf("attempt %d came with %q, want that of its hand-out, %q", a.GetAttempt(), a.GetTraceparent(), want)
			}
		case "retry.v1.RetryService/ReportFailure":
			wantAttributes(t, said, map[string]string{
				"rpc.system.name": "grpc", "rpc.method": "retry.v1.RetryService/ReportFailure", "rpc.response.status_code": "OK",
			})
			if span.SpanKind != trace.SpanKindServer {
				t.Errorf("%s is of kind %s", span.Name, span.SpanKind)
			}
		}
	}
}

// A worker that knows nothing of traces does not end the story.
func TestOutcomesInNoTraceGoOnFromTheTask(t *testing.T) {
	t.Parallel()
	s := setup(t, 1, 0)
	s.fail(s.servers[0], sampled)
	w := s.worker(s.servers[0])
	w.settle(w.attempt(), false, "")
	w.settle(w.attempt(), true, "")
	s.wantStory(`retry.v1.RetryService/ReportFailure by server 1
  decide by server 1
  hand out q by server 1
  hand out q by server 1
  outcome q by server 1
    decide by server 1
  outcome q by server 1
  wait q by server 1
  wait q by server 1
`)
}

// A worker that reports by call in a trace of its own is linked to what was before.
func TestAnotherTraceIsLinked(t *testing.T) {
	t.Parallel()
	const other = "4bf92f3577b34da6a3ce929d0e0e4736"
	s := setup(t, 1, 0)
	s.fail(s.servers[0], sampled)
	a := s.worker(s.servers[0]).attempt()
	_, err := s.servers[0].retry.ReportFailure(s.ctx("00-"+other+"-00f067aa0ba902b7-01"), &retryv1.ReportFailureRequest{
		LeaseToken: a.GetLeaseToken(), Failure: failure(),
	})
	if err != nil {
		t.Fatal(err)
	}
	linked := 0
	for _, span := range s.spans() {
		if span.SpanContext.TraceID().String() != other || span.Name != "decide" {
			continue
		}
		for _, link := range span.Links {
			if link.SpanContext.TraceID().String() == callerTrace {
				linked++
			}
		}
	}
	if linked != 1 {
		t.Errorf("%d links lead from the other trace to the caller's, want 1", linked)
	}
}

func TestCallersDecideWhatIsSampled(t *testing.T) {
	t.Parallel()
	s := setup(t, 1, 1)
	s.fail(s.servers[0], unsampled)
	w := s.worker(s.servers[0])
	a := w.attempt()
	if a.GetTraceparent() != unsampled {
		t.Errorf("the attempt came with %q, want the caller's own %q", a.GetTraceparent(), unsampled)
	}
	w.settle(a, false, a.GetTraceparent())
	if spans := s.spans(); len(spans) != 0 {
		t.Errorf("%d spans of a trace that is not sampled", len(spans))
	}
}

func TestReportsInNoTraceAreSampled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sample float64
		want   int
	}{{0, 0}, {1, 4}} {
		s := setup(t, 1, c.sample)
		s.fail(s.servers[0], "")
		a := s.worker(s.servers[0]).attempt()
		if began := a.GetTraceparent() != ""; began != (c.want > 0) {
			t.Errorf("at %g the attempt came with %q", c.sample, a.GetTraceparent())
		}
		if _, err := s.servers[0].tasks.GetTask(s.ctx(""), &retryv1.GetTaskRequest{TaskId: "a"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.servers[0].retry.ReportSuccess(s.ctx(""), &retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: "other"}}); err != nil {
			t.Fatal(err)
		}
		if spans := s.spans(); len(spans) != c.want {
			t.Errorf("at %g there are %d spans, want %d", c.sample, len(spans), c.want)
		}
	}
}

func TestRefusedCallsAreTold(t *testing.T) {
	t.Parallel()
	s := setup(t, 1, 0)
	if _, err := s.servers[0].tasks.GetTask(s.ctx(sampled), &retryv1.GetTaskRequest{TaskId: "unknown"}); err == nil {
		t.Fatal("no error")
	}
	spans := s.wantStory("retry.v1.TaskService/GetTask by server 1\n")
	for _, span := range spans {
		wantAttributes(t, attributesOf(span), map[string]string{"rpc.response.status_code": "NOT_FOUND"})
		if span.Status.Code != codes.Unset {
			t.Errorf("its status is %s: the caller's mistake is no failure of the server", span.Status.Code)
		}
	}
}

func attributesOf(span madeSpan) map[string]string {
	all := make(map[string]string)
	for _, a := range span.Attributes {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

func wantAttributes(t *testing.T, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
}
