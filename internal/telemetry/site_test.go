package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/internal/telemetry"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/server"
)

// site is a server that is watched, as cmd/retryd joins it.
type site struct {
	t       *testing.T
	sched   *scheduler.Scheduler
	metrics *telemetry.Metrics
	lines   *telemetry.LogBuffer
	log     *bytes.Buffer
	retry   retryv1.RetryServiceClient
	queues  retryv1.QueueServiceClient
}

// onEach runs a test on a site over each store.
func onEach(t *testing.T, test func(t *testing.T, s *site)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, newSite(t, func(*telemetry.Metrics) scheduler.Store { return memstore.New(memstore.Config{}) }))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, newSite(t, func(m *telemetry.Metrics) scheduler.Store { return onRedis(t, m) }))
	})
}

func onRedis(t *testing.T, m *telemetry.Metrics) scheduler.Store {
	t.Helper()
	store, err := redisstore.New(redisstore.Config{
		URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 3, Log: slog.New(slog.DiscardHandler), Observer: m.Redis(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	m.WatchRedis(func() bool { return true })
	if err := store.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

// newSite opens one over a store, by default one on Redis.
func newSite(t *testing.T, open func(m *telemetry.Metrics) scheduler.Store) *site {
	t.Helper()
	if open == nil {
		open = func(m *telemetry.Metrics) scheduler.Store { return onRedis(t, m) }
	}
	log := slog.New(slog.DiscardHandler)
	s := &site{t: t, log: &bytes.Buffer{}}
	s.lines = telemetry.NewLogBuffer(s.log)
	s.metrics = telemetry.New(telemetry.Config{Log: log, Version: "test", Queues: 10, Lines: s.lines})
	decisions := telemetry.NewDecisionLog(s.lines, false)
	sched, err := scheduler.New(open(s.metrics), scheduler.Config{Log: log, Observer: scheduler.Observers(s.metrics.Tasks, decisions)})
	if err != nil {
		t.Fatal(err)
	}
	limit := scheduler.Quota{scheduler.QuotaStreams: 1000}
	if err := sched.SetQuotas(scheduler.Quotas{Namespaces: map[string]scheduler.Quota{"limited": limit}}); err != nil {
		t.Fatal(err)
	}
	s.sched = sched
	srv, err := server.New(server.Config{Log: log, DrainTimeout: time.Second, Calls: s.metrics.Calls(), Streams: s.metrics.Streams()}, sched)
	if err != nil {
		t.Fatal(err)
	}
	s.metrics.Watch(sched, srv)
	s.metrics.WatchTraces(map[string]func() uint64{"dropped": func() uint64 { return 0 }})
	queues := s.metrics.WatchQueues(sched)
	lis := bufconn.Listen(1 << 20)
	serving, stopServing := context.WithCancel(t.Context())
	running, stopRunning := context.WithCancel(context.WithoutCancel(t.Context()))
	var ran, served sync.WaitGroup
	for _, run := range []func(context.Context) error{sched.Run, queues.Run} {
		ran.Go(func() {
			if err := run(running); err != nil {
				t.Error(err)
			}
		})
	}
	served.Go(func() {
		if err := srv.Run(serving, lis); err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		stopServing()
		served.Wait()
		stopRunning()
		ran.Wait()
	})
	s.retry, s.queues = retryv1.NewRetryServiceClient(conn), retryv1.NewQueueServiceClient(conn)
	policies := retryv1.NewPolicyServiceClient(conn)
	for id, retries := range map[string]int32{"now": 5, "never": 0} {
		p := &retryv1.Policy{
			Id: id, DisplayName: id, MaxRetries: retries, DefaultAction: retryv1.Action_ACTION_RETRY,
			Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(time.Millisecond)}},
			Rules: []*retryv1.Rule{{
				Name: "wait", Action: retryv1.Action_ACTION_HOLD, HoldCondition: "fix", Match: &retryv1.Match{Outcomes: []string{"hold"}},
			}},
		}
		if _, err := policies.CreatePolicy(t.Context(), &retryv1.CreatePolicyRequest{Policy: p}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// values are the metrics that are not zero by name and labels, histograms by their
// counts.
func (s *site) values() map[string]float64 {
	s.t.Helper()
	out := make(map[string]float64)
	s.each(func(name string, m *dto.Metric) {
		v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		if v != 0 {
			out[name] = v
		}
	})
	return out
}

// series are all counters and histograms, by name and labels.
func (s *site) series() map[string]bool {
	s.t.Helper()
	out := make(map[string]bool)
	s.each(func(name string, m *dto.Metric) {
		if m.GetGauge() == nil {
			out[name] = true
		}
	})
	return out
}

func (s *site) each(do func(name string, m *dto.Metric)) {
	s.t.Helper()
	families, err := s.metrics.Gatherer().Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			do(name, m)
		}
	}
}

// await waits until a metric has a value.
func (s *site) await(name string, want float64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.values()[name] != want {
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s is %v, want %v", name, s.values()[name], want)
		case <-tick.C:
		}
	}
}
