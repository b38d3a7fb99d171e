package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/telemetry"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/server"
)

// onBenchSites runs a benchmark on a server that nobody looks on at, on one with
// metrics, and on one that logs its decisions besides.
func onBenchSites(b *testing.B, bench func(b *testing.B, client retryv1.RetryServiceClient)) {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	metrics := func() (scheduler.Observer, server.Config) {
		m := telemetry.New(telemetry.Config{Log: log})
		return m.Tasks, server.Config{Calls: m.Calls(), Streams: m.Streams()}
	}
	run := func(name string, watch func(b *testing.B) (scheduler.Observer, server.Config)) {
		b.Run(name, func(b *testing.B) {
			observer, cfg := watch(b)
			client := benchSite(b, observer, cfg)
			began := cpuTime(b)
			bench(b, client)
			b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
	run("bare", func(*testing.B) (scheduler.Observer, server.Config) { return nil, server.Config{} })
	run("metrics", func(*testing.B) (scheduler.Observer, server.Config) { return metrics() })
	run("metrics+logs", func(b *testing.B) (scheduler.Observer, server.Config) {
		b.Helper()
		lines := telemetry.NewLogBuffer(io.Discard)
		var written sync.WaitGroup
		ctx, cancel := context.WithCancel(context.Background())
		written.Go(func() { _ = lines.Run(ctx) })
		b.Cleanup(func() { cancel(); written.Wait() })
		tasks, cfg := metrics()
		return scheduler.Observers(tasks, telemetry.NewDecisionLog(lines, false)), cfg
	})
}

// cpuTime is what this process has used of the processor, in nanoseconds: it tells more
// than the clock where others use it too.
func cpuTime(b *testing.B) int64 {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}

// benchSite is a server on loopback, as quiet as one in production.
func benchSite(b *testing.B, observer scheduler.Observer, cfg server.Config) retryv1.RetryServiceClient {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: log, Observer: observer})
	if err != nil {
		b.Fatal(err)
	}
	cfg.Log, cfg.DrainTimeout = log, time.Second
	srv, err := server.New(cfg, sched)
	if err != nil {
		b.Fatal(err)
	}
	lis, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran, served := make(chan struct{}), make(chan struct{})
	running, stop := context.WithCancel(context.Background())
	go func() { defer close(ran); _ = sched.Run(running) }()
	go func() { defer close(served); _ = srv.Run(ctx, lis) }()
	b.Cleanup(func() {
		_ = conn.Close()
		cancel()
		<-served
		stop()
		<-ran
	})
	pol := retryv1.NewPolicyServiceClient(conn)
	for id, delay := range map[string]time.Duration{"slow": time.Hour, "quick": time.Millisecond} {
		if _, err := pol.CreatePolicy(b.Context(), &retryv1.CreatePolicyRequest{Policy: fixed(id, delay)}); err != nil {
			b.Fatal(err)
		}
	}
	return retryv1.NewRetryServiceClient(conn)
}

// BenchmarkReportFailure reports the first failure of a new task, each from one
// of 64 callers at once.
func BenchmarkReportFailure(b *testing.B) { onBenchSites(b, benchReportFailure) }

func benchReportFailure(b *testing.B, client retryv1.RetryServiceClient) {
	b.Helper()
	payload := make([]byte, 256)
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := client.ReportFailure(b.Context(), &retryv1.ReportFailureRequest{
				Task:    &retryv1.TaskSpec{Id: fmt.Sprint(n.Add(1)), Queue: "q", Policy: "slow", Payload: payload},
				Failure: httpFailure(503),
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
}

// BenchmarkSubscribe hands tasks out on one stream and takes their successes.
func BenchmarkSubscribe(b *testing.B) { onBenchSites(b, benchSubscribe) }

func benchSubscribe(b *testing.B, client retryv1.RetryServiceClient) {
	b.Helper()
	payload := make([]byte, 256)
	for from := 0; from < b.N; from += 1000 {
		req := &retryv1.BatchReportRequest{}
		for i := from; i < min(from+1000, b.N); i++ {
			req.Reports = append(req.Reports, &retryv1.Report{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{
				Task: &retryv1.TaskSpec{Id: fmt.Sprint(i), Queue: "q", Policy: "quick", Payload: payload}, Failure: httpFailure(503),
			}}})
		}
		if _, err := client.BatchReport(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	stream, err := client.Subscribe(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	send := func(msg *retryv1.SubscribeRequest) {
		if err := stream.Send(msg); err != nil {
			b.Error(err)
		}
	}
	send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: &retryv1.Open{Queues: []string{"q"}, MaxInFlight: 500}}})
	for settled := 0; settled < b.N; {
		msg, err := stream.Recv()
		if err != nil {
			b.Fatal(err)
		}
		if a := msg.GetAttempt(); a != nil {
			send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{
				LeaseToken: a.GetLeaseToken(), Result: &retryv1.Outcome_Success{Success: &retryv1.Success{}},
			}}})
			continue
		}
		if msg.GetOutcomeResult().GetSuccess() == nil {
			b.Fatal(msg)
		}
		settled++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	_ = stream.CloseSend()
}
