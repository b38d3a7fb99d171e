package e2e_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// TestReplicasShareAQuota has three replicas asked for far more reports, tasks and streams
// than their namespace may have, and tells by how much they go beyond together.
func TestReplicasShareAQuota(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() scheduler.Store) {
		const perSecond, tasks, streams = 100, 500, 5
		var replicas []*replica
		for range 3 {
			r := serve(t, open())
			var quota scheduler.Quota
			quota[scheduler.QuotaReports], quota[scheduler.QuotaPendingTasks], quota[scheduler.QuotaStreams] = perSecond, tasks, streams
			if err := r.sched.SetQuotas(scheduler.Quotas{Default: quota}); err != nil {
				t.Fatal(err)
			}
			replicas = append(replicas, r)
		}
		createPolicy(t, replicas[0].client(t), "hour", time.Hour)

		var opened atomic.Int64
		for i := range 30 {
			leave, err := replicas[i%3].sched.EnterStream(t.Context(), "default")
			if err == nil {
				opened.Add(1)
				t.Cleanup(leave)
			}
		}
		if n := opened.Load(); n != streams {
			t.Errorf("%d streams are open, want %d", n, streams)
		}

		const lasting, batch = 8 * time.Second, 20
		var taken, refused, full atomic.Int64
		var wg sync.WaitGroup
		began := time.Now()
		for i, r := range replicas {
			stub := r.stub(t)
			wg.Go(func() {
				for n := 0; time.Since(began) < lasting; n++ {
					req := &retryv1.BatchReportRequest{}
					for k := range batch {
						req.Reports = append(req.Reports, &retryv1.Report{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{
							Task:    &retryv1.TaskSpec{Id: fmt.Sprintf("t%d-%d-%d", i, n, k), Queue: "q", Policy: "hour"},
							Failure: &retryv1.Failure{Cause: &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}},
						}}})
					}
					resp, err := stub.BatchReport(t.Context(), req)
					if err != nil {
						t.Error(err)
						return
					}
					for _, got := range resp.GetResults() {
						switch e := got.GetError(); {
						case e == nil:
							taken.Add(1)
						case e.GetReason() == "QUOTA_EXCEEDED" && e.GetMetadata()["quota"] == "reports_per_second":
							refused.Add(1)
						case e.GetReason() == "QUOTA_EXCEEDED" && e.GetMetadata()["quota"] == "pending_tasks":
							full.Add(1)
						default:
							t.Error(e)
							return
						}
					}
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		t.Logf("%d tasks taken in %s at a limit of %d/s and %d in all; %d reports refused by rate, %d by tasks", taken.Load(), took.Round(time.Millisecond), perSecond, tasks, refused.Load(), full.Load())
		// A second's worth of reports may come at once, at each replica while it does not know
		// of the others.
		if most := perSecond * (int(took/time.Second) + 5); int(taken.Load()+full.Load()) > most {
			t.Errorf("%d reports taken by rate in %s, want at most %d", taken.Load()+full.Load(), took, most)
		}
		if n := taken.Load(); n > tasks+tasks/10 || n < tasks*8/10 {
			t.Errorf("%d tasks are pending, want %d", n, tasks)
		}
		if refused.Load() == 0 || full.Load() == 0 {
			t.Errorf("%d reports refused by rate, %d by tasks: want both", refused.Load(), full.Load())
		}
	})
}
