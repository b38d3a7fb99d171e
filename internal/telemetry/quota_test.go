package telemetry_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/telemetry"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// Reports that a namespace has no quota for are counted as all others that are refused,
// alone and in batches, and have no lines among those of decisions: the server has them.
func TestReportsBeyondTheQuotaAreTold(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(*telemetry.Metrics) scheduler.Store { return memstore.New(memstore.Config{}) })
	if err := s.sched.SetQuotas(scheduler.Quotas{Default: scheduler.Quota{scheduler.QuotaReports: 1}}); err != nil {
		t.Fatal(err)
	}
	batch := &retryv1.BatchReportRequest{}
	failures, successes := 0, 0
	count := func(to *int, err error) {
		if status.Code(err) == codes.ResourceExhausted {
			*to++
		}
	}
	for i := range 5 {
		r := failure(fmt.Sprint("t", i), "now")
		batch.Reports = append(batch.Reports, &retryv1.Report{Report: &retryv1.Report_Failure{Failure: r}})
		_, err := s.retry.ReportFailure(t.Context(), r)
		count(&failures, err)
		_, err = s.retry.ReportSuccess(t.Context(), &retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: fmt.Sprint("s", i)}})
		count(&successes, err)
	}
	resp, err := s.retry.BatchReport(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.GetResults() {
		if r.GetError().GetReason() == "QUOTA_EXCEEDED" {
			failures++
		}
	}
	if failures == 0 || successes == 0 {
		t.Fatalf("%d failures and %d successes were refused: the test shows nothing", failures, successes)
	}
	got := s.values()
	for kind, want := range map[string]int{"failure": failures, "success": successes} {
		if n := got["retryd_reports_total kind="+kind+" reason=QUOTA_EXCEEDED result=refused"]; n != float64(want) {
			t.Errorf("%v refused reports of a %s are counted, want %d", n, kind, want)
		}
	}
	s.lines.Flush()
	if strings.Contains(s.log.String(), "QUOTA_EXCEEDED") {
		t.Errorf("they are in the log:\n%s", s.log.String())
	}
}
