package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/client"
)

// BenchmarkLateness hands out 5,000 attempts that fall due at random moments
// within 10 seconds, and tells how late they reached their handlers: client,
// server and store on this machine, under one clock.
//
//	go test -run '^$' -bench Lateness -benchtime 1x ./internal/e2e
func BenchmarkLateness(b *testing.B) {
	for name, open := range stores() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				late := lateness(b, open, 5_000, 10*time.Second)
				ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
				b.ReportMetric(ms(late[0]), "min-ms")
				b.ReportMetric(ms(late[len(late)/2]), "p50-ms")
				b.ReportMetric(ms(late[len(late)*99/100]), "p99-ms")
				b.ReportMetric(ms(late[len(late)-1]), "max-ms")
			}
		})
	}
}

// lateness returns how late each of n attempts came, in order.
func lateness(b *testing.B, open newStore, n int, within time.Duration) []time.Duration {
	b.Helper()
	r := serve(b, open(b))
	c := r.client(b)
	createPolicy(b, c, "at", time.Millisecond)
	var mu sync.Mutex
	var late []time.Duration
	all := make(chan struct{})
	stop := work(b, r.client(b), func(_ context.Context, a *client.Attempt) error {
		d := time.Since(a.DueTime)
		mu.Lock()
		defer mu.Unlock()
		if late = append(late, d); len(late) == n {
			close(all)
		}
		return nil
	}, client.WithMaxInFlight(128), client.WithConcurrency(128))
	defer stop()
	// All are reported before the first falls due.
	const lead = 2 * time.Second
	start := time.Now()
	for i := 0; i < n; i += 500 {
		var reports []client.Report
		for k := i; k < min(i+500, n); k++ {
			failure := client.TimeoutFailure()
			failure.RetryAfter = lead - time.Since(start) + rand.N(within)
			reports = append(reports, client.Report{Task: client.Task{ID: fmt.Sprint("t", k), Queue: "q", Policy: "at"}, Err: failure})
		}
		results, err := c.ReportBatch(b.Context(), reports)
		if err != nil {
			b.Fatal(err)
		}
		for _, got := range results {
			if got.Err != nil {
				b.Fatal(got.Err)
			}
		}
	}
	<-all
	slices.Sort(late)
	return late
}
