package scheduler_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// limit gives every namespace a quota at all replicas.
func (w *world) limit(quota scheduler.Quota, replicas ...*scheduler.Scheduler) {
	w.t.Helper()
	for _, s := range append(replicas, w.s) {
		if err := s.SetQuotas(scheduler.Quotas{Default: quota}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// overQuota wants err to say that a quota is used up.
func overQuota(t *testing.T, err error, want scheduler.QuotaKind) {
	t.Helper()
	var e *scheduler.Error
	if !errors.As(err, &e) || e.Kind != scheduler.KindQuota || e.Metadata["quota"] != want.String() {
		t.Fatalf("error %v, want one of the quota of %s", err, want)
	}
	if e.RetryDelay <= 0 || e.Metadata["namespace"] == "" || e.Metadata["limit"] == "" || e.Metadata["use"] == "" {
		t.Errorf("it tells %v, and to wait for %s", e.Metadata, e.RetryDelay)
	}
}

// TestReportsOfAllReplicasStayBelowTheQuota has three replicas offered what they are, and
// wants the quota to be used and kept.
func TestReportsOfAllReplicasStayBelowTheQuota(t *testing.T) {
	t.Parallel()
	const limit, seconds = 300, 30
	for name, offered := range map[string][3]int{
		"evenly":          {400, 400, 400},
		"at one":          {900, 0, 0},
		"little at one":   {900, 15, 900},
		"just enough":     {100, 100, 90},
		"not even enough": {20, 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				replicas := []*scheduler.Scheduler{w.s, w.another(), w.another()}
				w.limit(scheduler.Quota{scheduler.QuotaReports: limit}, replicas[1:]...)
				w.pass(3 * time.Second)
				total, late, wanted := 0, 0, 0
				for tick := range seconds * 10 {
					for i, s := range replicas {
						n := offered[i] / 10
						got, err := s.AdmitReports("ns", n)
						if (err == nil) != (got == n) {
							t.Fatalf("%d of %d, error %v", got, n, err)
						}
						total += got
						if tick >= 50 {
							late, wanted = late+got, wanted+n
						}
					}
					w.pass(100 * time.Millisecond)
				}
				// A second's worth may come at once, and until the replicas have heard of each
				// other each has an even part at least.
				if most := limit * (seconds + 3); total > most {
					t.Errorf("%d reports in %d s, want at most %d", total, seconds, most)
				}
				if most := limit*(seconds-5)*101/100 + 10; late > most {
					t.Errorf("%d reports in the last %d s, want at most %d", late, seconds-5, most)
				}
				if least := min(wanted, limit*(seconds-5)) * 95 / 100; late < least {
					t.Errorf("%d reports in the last %d s, want at least %d", late, seconds-5, least)
				}
			})
		})
	}
}

func TestRefusedReportIsToldWhenToComeBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.limit(scheduler.Quota{scheduler.QuotaReports: 2})
		if n, err := w.s.AdmitReports("ns", 2); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		n, err := w.s.AdmitReports("ns", 3)
		equal(t, "admitted", n, 0)
		overQuota(t, err, scheduler.QuotaReports)
		equal(t, "refused", w.s.QuotaRefusals()[scheduler.QuotaReports], int64(3))
		w.pass(time.Second)
		n, err = w.s.AdmitReports("ns", 3)
		equal(t, "admitted of a batch a second later", n, 2)
		overQuota(t, err, scheduler.QuotaReports)
		if n, err := w.s.AdmitReports("other", 2); n != 2 || err != nil {
			t.Errorf("another namespace: %d, error %v", n, err)
		}
	})
}

// TestFullNamespaceDrains shows that only new tasks are refused.
func TestFullNamespaceDrains(t *testing.T) {
	t.Parallel()
	for kind, limit := range map[scheduler.QuotaKind]int64{
		scheduler.QuotaPendingTasks: 3,
		// Each carries the five bytes of "hello".
		scheduler.QuotaPendingBytes: 19,
	} {
		t.Run(kind.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				var quota scheduler.Quota
				quota[kind] = limit
				w.limit(quota)
				for i := range 3 {
					w.report(failure(fmt.Sprint("t", i), keyed(fmt.Sprint("k", i))))
				}
				_, err := w.s.Report(w.ctx, failure("new"))
				overQuota(t, err, kind)
				if w.load("new") != nil {
					t.Error("a refused task is kept")
				}
				equal(t, "refused", w.s.QuotaRefusals()[kind], int64(1))
				if a := w.report(failure("t0", keyed("k0"))); !a.Duplicate {
					t.Error("a repeated report is no duplicate")
				}
				w.report(success("first try"))
				sub := w.worker(1)
				d := w.next(sub)
				w.report(failure("", with(d)))
				w.report(success("", with(w.next(sub))))
				w.report(failure("new"))
				_, err = w.s.Report(w.ctx, failure("newer"))
				overQuota(t, err, kind)
			})
		})
	}
}

func TestBatchOfNewTasksEndsAtTheQuota(t *testing.T) {
	inWorld(t, func(w *world) {
		w.limit(scheduler.Quota{scheduler.QuotaPendingTasks: 30})
		var reports []scheduler.Report
		for i := range 100 {
			reports = append(reports, failure(fmt.Sprint("t", i)))
		}
		taken := 0
		for _, got := range w.s.ReportBatch(w.ctx, reports) {
			if got.Err == nil {
				taken++
				continue
			}
			overQuota(t, got.Err, scheduler.QuotaPendingTasks)
		}
		equal(t, "taken", taken, 30)
	})
}

// TestPendingTasksOfAllReplicasStayBelowTheQuota lets three replicas take what they can,
// one of them more than the others.
func TestPendingTasksOfAllReplicasStayBelowTheQuota(t *testing.T) {
	inWorld(t, func(w *world) {
		const limit = 3000
		replicas := []*scheduler.Scheduler{w.s, w.another(), w.another()}
		w.limit(scheduler.Quota{scheduler.QuotaPendingTasks: limit}, replicas[1:]...)
		n := 0
		for range 200 {
			for i, s := range replicas {
				for range []int{20, 5, 1}[i] {
					n++
					if _, err := s.AdmitReports("ns", 1); err != nil {
						t.Fatal(err)
					}
					if _, err := s.Report(w.ctx, failure(fmt.Sprint("t", n))); err != nil {
						overQuota(t, err, scheduler.QuotaPendingTasks)
					}
				}
			}
			w.pass(50 * time.Millisecond)
		}
		counts, err := w.store.CountNamespaces(w.ctx, []string{"ns"})
		if err != nil {
			t.Fatal(err)
		}
		// What one more replica begins with, and a task for each in rounding.
		if got := counts[0].Pending; got < limit-3 || got > limit+limit/100 {
			t.Errorf("%d tasks pending, want %d", got, limit)
		}
	})
}

func TestStreamsOfAllReplicasStayBelowTheQuota(t *testing.T) {
	inWorld(t, func(w *world) {
		replicas := []*scheduler.Scheduler{w.s, w.another(), w.another()}
		// One is open before there is a quota.
		leave, err := w.s.EnterStream(w.ctx, "ns")
		if err != nil {
			t.Fatal(err)
		}
		w.limit(scheduler.Quota{scheduler.QuotaStreams: 7}, replicas[1:]...)
		open := []func(){leave}
		for i := range 20 {
			leave, err := replicas[i%3].EnterStream(w.ctx, "ns")
			if err != nil {
				overQuota(t, err, scheduler.QuotaStreams)
				continue
			}
			open = append(open, leave)
		}
		equal(t, "streams open", len(open), 7)
		if leave, err := replicas[1].EnterStream(w.ctx, "other"); err != nil {
			t.Error(err)
		} else {
			leave()
		}
		open[0]()
		// The others learn of it within a second.
		w.pass(1100 * time.Millisecond)
		if _, err := replicas[2].EnterStream(w.ctx, "ns"); err != nil {
			t.Errorf("once one has left: %v", err)
		}
		_, err = replicas[0].EnterStream(w.ctx, "ns")
		overQuota(t, err, scheduler.QuotaStreams)
		equal(t, "refused", w.s.QuotaRefusals()[scheduler.QuotaStreams] > 0, true)
	})
}

// TestStreamsAtOnceStayBelowTheQuota opens streams at the same time.
func TestStreamsAtOnceStayBelowTheQuota(t *testing.T) {
	inWorld(t, func(w *world) {
		replicas := []*scheduler.Scheduler{w.s, w.another(), w.another()}
		w.limit(scheduler.Quota{scheduler.QuotaStreams: 30}, replicas[1:]...)
		got := make(chan bool, 90)
		for i := range 90 {
			go func() {
				_, err := replicas[i%3].EnterStream(w.ctx, "ns")
				got <- err == nil
			}()
		}
		open := 0
		for range 90 {
			if <-got {
				open++
			}
		}
		if open > 30 {
			t.Errorf("%d streams are open, want at most 30", open)
		}
	})
}

// TestLeasesOfAllReplicasStayBelowTheQuota has two replicas hand out.
func TestLeasesOfAllReplicasStayBelowTheQuota(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.another()
		w.limit(scheduler.Quota{scheduler.QuotaLeases: 10}, other)
		w.backlog("q", 100)
		w.pass(2 * time.Second)
		subs := []*scheduler.Subscription{
			w.worker(50),
			other.Subscribe(scheduler.SubscribeOptions{Namespace: "ns", Queues: []string{"q"}, MaxInFlight: 50, Lease: time.Hour}),
		}
		for _, s := range []*scheduler.Scheduler{w.s, other} {
			if _, err := s.EnterStream(w.ctx, "ns"); err != nil {
				t.Fatal(err)
			}
		}
		var out []scheduler.Delivery
		take := func() {
			synctest.Wait()
			for _, sub := range subs {
				for d, ok := sub.Next(); ok; d, ok = sub.Next() {
					out = append(out, d)
				}
			}
		}
		leased := func() int64 {
			counts, err := w.store.CountNamespaces(w.ctx, []string{"ns"})
			if err != nil {
				t.Fatal(err)
			}
			return counts[0].Leased
		}
		for range 10 {
			w.pass(time.Second)
			take()
		}
		if n := leased(); n < 10 || n > 11 {
			t.Fatalf("%d leases are out, want 10", n)
		}
		w.refusedLease(scheduler.NextRequest{Namespace: "ns", Queue: "q", Lease: time.Minute})
		for i := range 100 {
			if task := w.load(fmt.Sprint("q", i)); task.State == scheduler.StateScheduled {
				w.refusedLease(scheduler.NextRequest{Namespace: "ns", TaskID: task.Key.ID, Lease: time.Minute})
				break
			}
		}
		// What is settled makes room at once, where it is settled.
		for done := 0; done < 50; {
			if len(out) == 0 {
				w.pass(time.Second)
				take()
				continue
			}
			done++
			w.report(success("", with(out[0])))
			out = out[1:]
			take()
			if n := leased(); n > 11 {
				t.Fatalf("%d leases are out, want at most 10", n)
			}
		}
	})
}

func (w *world) refusedLease(r scheduler.NextRequest) {
	w.t.Helper()
	_, err := w.s.Next(w.ctx, r)
	overQuota(w.t, err, scheduler.QuotaLeases)
}

func TestQuotasCanBeTakenAway(t *testing.T) {
	inWorld(t, func(w *world) {
		w.limit(scheduler.Quota{scheduler.QuotaReports: 1, scheduler.QuotaPendingTasks: 1, scheduler.QuotaStreams: 1, scheduler.QuotaLeases: 1})
		sub := w.worker(5)
		for i := range 3 {
			w.limit(scheduler.Quota{scheduler.QuotaLeases: 1})
			w.report(failure(fmt.Sprint("t", i), by("now")))
		}
		w.next(sub)
		w.none(sub)
		w.limit(scheduler.Quota{})
		for range 2 {
			w.next(sub)
		}
		if n, err := w.s.AdmitReports("ns", 1000); n != 1000 || err != nil {
			t.Error(n, err)
		}
		if notes, err := w.store.ShareNote(w.ctx, "me", nil, 0); err != nil || len(notes) != 0 {
			t.Errorf("notes %v, error %v", notes, err)
		}
	})
}

func TestUseIsToldOfNamedNamespaces(t *testing.T) {
	inWorld(t, func(w *world) {
		quotas := scheduler.Quotas{
			Default:    scheduler.Quota{scheduler.QuotaStreams: 5},
			Namespaces: map[string]scheduler.Quota{"ns": {scheduler.QuotaPendingTasks: 10, scheduler.QuotaReports: 100}},
		}
		if err := w.s.SetQuotas(quotas); err != nil {
			t.Fatal(err)
		}
		w.report(failure("a"))
		w.report(failure("b"))
		if _, err := w.s.EnterStream(w.ctx, "ns"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.s.EnterStream(w.ctx, "other"); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			if _, err := w.s.AdmitReports("ns", 1); err != nil {
				t.Fatal(err)
			}
			w.pass(100 * time.Millisecond)
		}
		got := w.s.QuotaUses()
		if len(got) != 1 || got[0].Namespace != "ns" {
			t.Fatalf("told of %+v, want ns", got)
		}
		used := got[0].Used
		equal(t, "limit", got[0].Limit, quotas.Namespaces["ns"])
		equal(t, "pending tasks, bytes and streams", []int64{used[scheduler.QuotaPendingTasks], used[scheduler.QuotaPendingBytes], used[scheduler.QuotaStreams]}, []int64{2, 10, 1})
		if r := used[scheduler.QuotaReports]; r < 9 || r > 11 {
			t.Errorf("%d reports a second, want 10", r)
		}
		equal(t, "asked for by name", w.s.QuotaUse(w.ctx, "ns"), got[0])
		fresh := w.another()
		if err := fresh.SetQuotas(quotas); err != nil {
			t.Fatal(err)
		}
		equal(t, "tasks counted by a replica that knows nothing yet", fresh.QuotaUse(w.ctx, "ns").Used[scheduler.QuotaPendingTasks], int64(2))
	})
}

func TestBadQuotasAreRefusedAllAtOnce(t *testing.T) {
	t.Parallel()
	err := scheduler.Quotas{
		Default:    scheduler.Quota{scheduler.QuotaReports: -1},
		Namespaces: map[string]scheduler.Quota{"a": {scheduler.QuotaStreams: scheduler.MaxQuota + 1}},
	}.Validate()
	want := `default: reports_per_second is -1: it must be 0 to 1000000000000000
namespace "a": streams is 1000000000000001: it must be 0 to 1000000000000000`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want\n%s", err, want)
	}
}
