package server_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

// limit gives the namespace "default" a quota.
func (s *site) limit(quota scheduler.Quota) {
	s.t.Helper()
	if err := s.sched.SetQuotas(scheduler.Quotas{Namespaces: map[string]scheduler.Quota{"default": quota}}); err != nil {
		s.t.Fatal(err)
	}
}

// wantQuota wants err to tell of a used-up quota, with all its details.
func wantQuota(t *testing.T, err error, quota string, limit int64) {
	t.Helper()
	got := tell(err)
	if got.code != codes.ResourceExhausted.String() || got.reason != "QUOTA_EXCEEDED" || !got.retry || got.metadata["quota"] != quota {
		t.Fatalf("error %v tells %+v, want QUOTA_EXCEEDED of %s", err, got, quota)
	}
	for _, d := range status.Convert(err).Details() {
		if f, ok := d.(*errdetails.QuotaFailure); ok {
			v := f.GetViolations()[0]
			if v.GetSubject() != "namespace:default" || v.GetQuotaId() != quota || v.GetQuotaValue() != limit || v.GetDescription() == "" {
				t.Errorf("it tells %v", v)
			}
			return
		}
	}
	t.Errorf("error %v has no QuotaFailure", err)
}

func (s *site) report(id string) error {
	_, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
		Task: &retryv1.TaskSpec{Id: id, Queue: "q", Policy: "p"}, Failure: httpFailure(503),
	})
	return err
}

func TestQueuesAreListedWithTheUseOfQuotas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("p", time.Hour)
		told := func() string {
			t.Helper()
			resp, err := s.queues.ListQueues(s.ctx(), &retryv1.ListQueuesRequest{})
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, q := range resp.GetQuotas() {
				out = append(out, fmt.Sprintf("%s %d of %d", q.GetQuota(), q.GetUsed(), q.GetLimit()))
			}
			return strings.Join(out, ", ")
		}
		if got := told(); got != "" {
			t.Errorf("without quotas it tells of %s", got)
		}
		s.limit(scheduler.Quota{scheduler.QuotaPendingTasks: 10, scheduler.QuotaLeases: 3})
		for i := range 2 {
			if err := s.report(fmt.Sprint("task", i)); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := told(), "pending_tasks 2 of 10, leases_out 0 of 3"; got != want {
			t.Errorf("it tells of %s, want %s", got, want)
		}
	})
}

func TestReportsBeyondTheQuotaAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("p", time.Millisecond)
		s.limit(scheduler.Quota{scheduler.QuotaReports: 4})
		if err := s.report("a"); err != nil {
			t.Fatal(err)
		}
		batch := &retryv1.BatchReportRequest{}
		for i := range 5 {
			batch.Reports = append(batch.Reports, &retryv1.Report{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{
				Task: &retryv1.TaskSpec{Id: fmt.Sprint("b", i), Queue: "q", Policy: "p"}, Failure: httpFailure(503),
			}}})
		}
		batch.Reports[1].GetFailure().Attempt = -1
		resp, err := s.retry.BatchReport(s.ctx(), batch)
		if err != nil {
			t.Fatal(err)
		}
		var reasons []string
		for _, r := range resp.GetResults() {
			reasons = append(reasons, r.GetError().GetReason())
		}
		if want := []string{"", "INVALID_REQUEST", "", "", "QUOTA_EXCEEDED"}; !slices.Equal(reasons, want) {
			t.Errorf("reasons %v, want %v", reasons, want)
		}
		last := resp.GetResults()[4].GetError()
		if last.GetRetryDelay().AsDuration() <= 0 || last.GetMetadata()["limit"] != "4" || last.GetMetadata()["namespace"] != "default" {
			t.Errorf("the item tells %v", last)
		}
		wantQuota(t, s.report("c"), "reports_per_second", 4)
		_, err = s.retry.ReportSuccess(s.ctx(), &retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: "a"}})
		wantQuota(t, err, "reports_per_second", 4)

		// Outcomes on a stream are taken.
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: 10})
		for range 4 {
			w.succeed(w.attempt().GetLeaseToken())
		}
		for range 4 {
			if r := w.result(); r.GetSuccess() == nil {
				t.Errorf("result %v", r)
			}
		}
		pass(time.Second)
		if err := s.report("c"); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusalsForLackOfQuotaHaveOneLineEach shows that what is refused has one line, however
// it came, and that a flood of it has few.
func TestRefusalsForLackOfQuotaHaveOneLineEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := setup(t, server.Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
		s.policy("p", time.Hour)
		s.limit(scheduler.Quota{scheduler.QuotaReports: 2, scheduler.QuotaPendingTasks: 1})
		if err := s.report("a"); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		batch := &retryv1.BatchReportRequest{}
		for i := range 5 {
			batch.Reports = append(batch.Reports, &retryv1.Report{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{
				Task: &retryv1.TaskSpec{Id: fmt.Sprint("b", i), Queue: "q", Policy: "p"}, Failure: httpFailure(503),
			}}})
		}
		if _, err := s.retry.BatchReport(s.ctx(), batch); err != nil {
			t.Fatal(err)
		}
		wantQuota(t, s.report("c"), "reports_per_second", 2)
		wantLines := func(quota string, want int) {
			t.Helper()
			var got int
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, `level=INFO msg="quota exceeded" namespace=default quota=`+quota+" limit=") {
					got++
				}
			}
			if got != want {
				t.Errorf("%d lines of %s, want %d:\n%s", got, quota, want, log.String())
			}
		}
		wantLines("pending_tasks", 1)
		wantLines("reports_per_second", 5)
		if all := strings.Count(log.String(), "\n"); all != 6 {
			t.Errorf("%d lines of 6 refused reports:\n%s", all, log.String())
		}
		for range 100 {
			wantQuota(t, s.report("c"), "reports_per_second", 2)
		}
		wantLines("reports_per_second", 20)
		pass(time.Second)
		for i := range 10 {
			_ = s.report(fmt.Sprint("d", i)) // of which two are counted by the other quota
		}
		wantLines("reports_per_second", 25)
		wantLines("pending_tasks", 3)
		if !strings.Contains(log.String(), "unlogged_before=85") || !strings.Contains(log.String(), "method=/retry.v1.RetryService/ReportFailure") {
			t.Errorf("the lines do not tell of those that are left out, or of the method:\n%s", log.String())
		}
	})
}

func TestNewTasksBeyondTheQuotaAreRefused(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("p", time.Hour)
	s.limit(scheduler.Quota{scheduler.QuotaPendingTasks: 1})
	if err := s.report("a"); err != nil {
		t.Fatal(err)
	}
	wantQuota(t, s.report("b"), "pending_tasks", 1)
}

func TestStreamsBeyondTheQuotaAreRefused(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("p", time.Millisecond)
	s.limit(scheduler.Quota{scheduler.QuotaStreams: 2})
	s.fail("q", "a", "p")
	first := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	first.attempt()
	s.fail("q2", "b", "p")
	s.open(s.retry, &retryv1.Open{Queues: []string{"q2"}}).attempt()
	wantQuota(t, s.open(s.retry, &retryv1.Open{Queues: []string{"q"}}).end(), "streams", 2)
	if err := s.open(s.retry, &retryv1.Open{Namespace: "other", Queues: []string{"q"}}).stream.CloseSend(); err != nil {
		t.Error(err)
	}
	first.cancel()
	for ctx := s.ctx(); ; {
		// The server learns of its end when it does.
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, Observe: true})
		s.fail("q", fmt.Sprint("c", time.Now().UnixNano()), "p")
		if _, err := w.stream.Recv(); err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("no stream is let in once one has left")
		}
	}
}

func TestAttemptsBeyondTheQuotaOfLeasesAreRefused(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("p", time.Millisecond)
	s.limit(scheduler.Quota{scheduler.QuotaLeases: 1})
	s.fail("q", "a", "p")
	s.fail("q", "b", "p")
	next := func(wait time.Duration) (*retryv1.NextAttemptResponse, error) {
		return s.retry.NextAttempt(s.ctx(), &retryv1.NextAttemptRequest{
			Target: &retryv1.NextAttemptRequest_Queue{Queue: "q"}, LeaseDuration: durationpb.New(time.Minute), Wait: durationpb.New(wait),
		})
	}
	got, err := next(5 * time.Second)
	if err != nil || got.GetLeased() == nil {
		t.Fatalf("got %v, error %v", got, err)
	}
	for ctx := s.ctx(); ; {
		// The other falls due when it does.
		if _, err = next(0); err != nil || ctx.Err() != nil {
			break
		}
	}
	wantQuota(t, err, "leases_out", 1)
}
