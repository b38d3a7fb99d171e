package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/retryd/retryd/client"
)

// BenchmarkReport reports first failures, due in a minute, by calls of their own
// and in batches.
//
//	go test -run '^$' -bench Report -benchtime 5s ./internal/e2e
func BenchmarkReport(b *testing.B) {
	for name, open := range stores() {
		for _, shape := range []struct{ callers, batch int }{{64, 1}, {256, 1}, {8, 100}} {
			b.Run(fmt.Sprintf("%s/callers-%d/batch-%d", name, shape.callers, shape.batch), func(b *testing.B) {
				c := serve(b, open(b)).client(b)
				createPolicy(b, c, "minute", time.Minute)
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for range shape.callers {
					wg.Go(func() {
						for {
							first := int(next.Add(int64(shape.batch))) - shape.batch
							if first >= b.N {
								return
							}
							if err := reportSome(b.Context(), c, first, shape.batch); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
			})
		}
	}
}

// reportSome reports n new tasks from first on, due in a minute.
func reportSome(ctx context.Context, c *client.Client, first, n int) error {
	return reportFor(ctx, c, "minute", first, n)
}

// reportFor reports n new tasks of a policy from first on.
func reportFor(ctx context.Context, c *client.Client, policy string, first, n int) error {
	payload := make([]byte, 200)
	task := func(i int) client.Task {
		return client.Task{ID: fmt.Sprint("task-", i), Queue: "q", Policy: policy, Payload: payload}
	}
	if n == 1 {
		_, err := c.ReportFailure(ctx, task(first), client.HTTPFailure(503, ""))
		return err
	}
	var reports []client.Report
	for i := range n {
		reports = append(reports, client.Report{Task: task(first + i), Err: client.HTTPFailure(503, "")})
	}
	results, err := c.ReportBatch(ctx, reports)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// BenchmarkDrain runs 20,000 due attempts through a worker whose handlers do
// nothing, outcomes confirmed.
//
//	go test -run '^$' -bench Drain -benchtime 3x ./internal/e2e
func BenchmarkDrain(b *testing.B) {
	for name, open := range stores() {
		for _, inFlight := range []int{64, 256} {
			b.Run(fmt.Sprintf("%s/in-flight-%d", name, inFlight), func(b *testing.B) {
				const tasks = 20_000
				for b.Loop() {
					b.StopTimer()
					r := serve(b, open(b))
					c := r.client(b)
					createPolicy(b, c, "minute", time.Millisecond)
					for i := 0; i < tasks; i += 500 {
						if err := reportSome(b.Context(), c, i, 500); err != nil {
							b.Fatal(err)
						}
					}
					var left atomic.Int64
					left.Store(tasks)
					done := make(chan struct{})
					b.StartTimer()
					stop := work(b, r.client(b), func(context.Context, *client.Attempt) error { return nil },
						client.WithMaxInFlight(inFlight), client.WithConcurrency(inFlight),
						client.WithSettled(func(client.Settled) {
							if left.Add(-1) == 0 {
								close(done)
							}
						}))
					<-done
					b.StopTimer()
					stop()
					b.StartTimer()
				}
				b.ReportMetric(float64(b.N)*tasks/b.Elapsed().Seconds(), "attempts/s")
			})
		}
	}
}
