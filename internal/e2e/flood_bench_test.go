package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/client"
)

// BenchmarkFlood tells how late attempts of one namespace are while another is flooded:
// 50 tasks a second fall due in the one, first alone, then while 200,000 fall due at once in
// 200 queues of the other and it is reported to as fast as it takes.
//
//	go test -run '^$' -bench Flood -benchtime 1x ./internal/e2e
func BenchmarkFlood(b *testing.B) {
	for name, open := range stores() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				alone, flooded, handed := flood(b, open, 200_000, 10*time.Second)
				ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
				b.ReportMetric(ms(alone[len(alone)/2]), "alone-p50-ms")
				b.ReportMetric(ms(alone[len(alone)*99/100]), "alone-p99-ms")
				b.ReportMetric(ms(flooded[len(flooded)/2]), "flooded-p50-ms")
				b.ReportMetric(ms(flooded[len(flooded)*99/100]), "flooded-p99-ms")
				b.ReportMetric(handed, "flood-attempts/s")
			}
		})
	}
}

// flood returns how late attempts of the quiet namespace came alone and beside the flood,
// in order, and how many of the flood were handled a second meanwhile.
func flood(b *testing.B, open newStore, tasks int, lasting time.Duration) (alone, flooded []time.Duration, handed float64) {
	b.Helper()
	r := serve(b, open(b))
	quiet, loud := r.client(b), r.client(b, client.WithNamespace("flood"))
	for _, c := range []*client.Client{quiet, loud} {
		createPolicy(b, c, "at", 100*time.Millisecond)
	}
	var mu sync.Mutex
	var late []time.Duration
	stop := work(b, r.client(b), func(_ context.Context, a *client.Attempt) error {
		d := time.Since(a.DueTime)
		mu.Lock()
		defer mu.Unlock()
		late = append(late, d)
		return nil
	})
	defer stop()
	measure := func() []time.Duration {
		mu.Lock()
		late = nil
		mu.Unlock()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(lasting); time.Now().Before(end); {
			<-tick.C
			if _, err := quiet.ReportFailure(b.Context(), client.Task{ID: fmt.Sprint("quiet", time.Now().UnixNano()), Queue: "q", Policy: "at"}, client.TimeoutFailure()); err != nil {
				b.Fatal(err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(slices.Values(late))
	}
	alone = measure()

	const queues = 200
	lead := 20 * time.Second
	start := time.Now()
	for i := 0; i < tasks; i += 1000 {
		var reports []client.Report
		for k := i; k < i+1000; k++ {
			failure := client.TimeoutFailure()
			failure.RetryAfter = max(0, lead-time.Since(start))
			reports = append(reports, client.Report{Task: client.Task{ID: fmt.Sprint("t", k), Queue: fmt.Sprint("q", k%queues), Policy: "at"}, Err: failure})
		}
		if _, err := loud.ReportBatch(b.Context(), reports); err != nil {
			b.Fatal(err)
		}
	}
	var handled int
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for at := 0; at < queues; at += 100 {
		var names []string
		for k := range 100 {
			names = append(names, fmt.Sprint("q", at+k))
		}
		w, err := client.NewWorker(r.client(b, client.WithNamespace("flood")), names, client.WithMaxInFlight(500), client.WithConcurrency(64))
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			if err := w.Run(ctx, func(context.Context, *client.Attempt) error {
				mu.Lock()
				defer mu.Unlock()
				handled++
				return nil
			}); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			var reports []client.Report
			for k := range 100 {
				reports = append(reports, client.Report{Task: client.Task{ID: fmt.Sprint("more", n, "/", k), Queue: fmt.Sprint("q", k), Policy: "at"}, Err: client.TimeoutFailure()})
			}
			// It ends with the measuring.
			_, _ = loud.ReportBatch(ctx, reports)
		}
	})
	<-time.After(max(0, lead-time.Since(start)))
	mu.Lock()
	before := handled
	mu.Unlock()
	flooded = measure()
	mu.Lock()
	handed = float64(handled-before) / lasting.Seconds()
	mu.Unlock()
	cancel()
	wg.Wait()
	return alone, flooded, handed
}
