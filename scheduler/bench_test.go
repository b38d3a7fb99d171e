package scheduler_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

func benchScheduler(b *testing.B) *scheduler.Scheduler {
	b.Helper()
	s, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range testPolicies() {
		if _, err := s.CreatePolicy(b.Context(), "ns", p); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkReport reports first failures, each of a new task.
func BenchmarkReport(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch-%d", size), func(b *testing.B) {
			s := benchScheduler(b)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				reports := make([]scheduler.Report, size)
				for i := range reports {
					reports[i] = failure(fmt.Sprint("t", n))
					n++
				}
				for _, got := range s.ReportBatch(b.Context(), reports) {
					if got.Err != nil {
						b.Fatal(got.Err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/report")
		})
	}
}

// BenchmarkDrain hands out due attempts and takes their outcomes, all through
// one subscription.
func BenchmarkDrain(b *testing.B) {
	s := benchScheduler(b)
	go func() { _ = s.Run(b.Context()) }()
	const total = 50_000
	b.ReportAllocs()
	round := 0
	for b.Loop() {
		b.StopTimer()
		round++
		var reports []scheduler.Report
		for i := range total {
			reports = append(reports, failure(fmt.Sprint(round, "/", i), by("now")))
		}
		for _, got := range s.ReportBatch(b.Context(), reports) {
			if got.Err != nil {
				b.Fatal(got.Err)
			}
		}
		b.StartTimer()
		sub := s.Subscribe(scheduler.SubscribeOptions{Namespace: "ns", Queues: []string{"q"}, MaxInFlight: 256, Lease: 30 * time.Second})
		for done := 0; done < total; {
			<-sub.Ready()
			var outcomes []scheduler.Report
			for d, ok := sub.Next(); ok; d, ok = sub.Next() {
				outcomes = append(outcomes, success("", with(d)))
			}
			for _, got := range s.ReportBatch(b.Context(), outcomes) {
				if got.Err != nil {
					b.Fatal(got.Err)
				}
			}
			done += len(outcomes)
		}
		if err := sub.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(round*total)/b.Elapsed().Seconds(), "attempts/s")
}

// BenchmarkAmongQueues hands out one attempt after the other while the workers of
// that many other queues wait for something to do.
func BenchmarkAmongQueues(b *testing.B) {
	for _, others := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			s := benchScheduler(b)
			go func() { _ = s.Run(b.Context()) }()
			for i := range others {
				s.Subscribe(scheduler.SubscribeOptions{Namespace: "ns", Queues: []string{fmt.Sprint("other-", i)}, MaxInFlight: 10, Lease: time.Minute})
			}
			sub := s.Subscribe(scheduler.SubscribeOptions{Namespace: "ns", Queues: []string{"q"}, MaxInFlight: 10, Lease: time.Minute})
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				if got := s.ReportBatch(b.Context(), []scheduler.Report{failure(fmt.Sprint("t", n), by("now"))}); got[0].Err != nil {
					b.Fatal(got[0].Err)
				}
				<-sub.Ready()
				d, _ := sub.Next()
				if got := s.ReportBatch(b.Context(), []scheduler.Report{success("", with(d))}); got[0].Err != nil {
					b.Fatal(got[0].Err)
				}
			}
		})
	}
}
