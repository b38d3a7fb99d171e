package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/docstest"
	"github.com/retryd/retryd/internal/redistest"
)

// BenchmarkFlood tells how late attempts of one namespace are while another is flooded:
// 50 tasks a second fall due in the one, first alone, then while 200,000 are overdue in
// 200 queues of the other, and also while it is reported to without end. The service, the
// flood and the quiet namespace's worker are processes of their own, as they are of their
// own users, and the flood's has the lowest priority, as if it were elsewhere. How long the
// handlers of the flood take decides how busy it keeps the service and Redis. How long
// the quiet namespace's reports take tells what that does to any call.
//
//	go test -run '^$' -bench Flood -benchtime 1x ./internal/e2e
func BenchmarkFlood(b *testing.B) {
	for _, spec := range []floodSpec{
		{Handling: 100 * time.Millisecond},
		{Handling: 20 * time.Millisecond},
		{Handling: 100 * time.Millisecond, Reporting: true},
		{Handling: 20 * time.Millisecond, Reporting: true},
		{Reporting: true},
		{Handling: 20 * time.Millisecond, Reporting: true, Quota: 2000},
	} {
		b.Run(fmt.Sprintf("handling=%s/reporting=%t/quota=%d", spec.Handling, spec.Reporting, spec.Quota), func(b *testing.B) {
			for b.Loop() {
				spec.Tasks = 200_000
				alone, flooded, handled := flood(b, spec, 20*time.Second)
				alone.tell(b, "alone")
				flooded.tell(b, "flooded")
				b.ReportMetric(handled, "flood-attempts/s")
			}
		})
	}
}

// quietness is how late attempts of the quiet namespace came, and how long its reports
// took, each in order.
type quietness struct{ late, reports []time.Duration }

func (q *quietness) tell(b *testing.B, when string) {
	b.Helper()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(q.late[len(q.late)/2]), when+"-p50-ms")
	b.ReportMetric(ms(q.late[len(q.late)*99/100]), when+"-p99-ms")
	b.ReportMetric(ms(q.reports[len(q.reports)*99/100]), when+"-report-p99-ms")
}

// flood tells of the quiet namespace alone and beside the flood, and how many attempts of
// the flood were handled a second meanwhile.
func flood(b *testing.B, spec floodSpec, lasting time.Duration) (alone, flooded quietness, handled float64) {
	b.Helper()
	spec.Addr = freeAddr(b)
	// What it logs is kept by this process, which is to have time for its worker.
	dir := b.TempDir()
	quotas := filepath.Join(dir, "quotas.yaml")
	limit := func(text string) {
		if err := os.WriteFile(quotas, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	limit("default: {}")
	server := docstest.StartProcess(b, dir, nil, retryd(b), "serve", "--listen="+spec.Addr, "--admin-listen=",
		"--log-decisions=false", "--redis-url="+redistest.Start(b).URL(), "--quotas="+quotas)
	server.AwaitLog("word that it serves", func(text string) bool { return strings.Contains(text, "redis can be used: serving") })
	quiet := dialFlooded(b, spec.Addr, "quiet")
	createPolicy(b, quiet, "at", 100*time.Millisecond)
	var mu sync.Mutex
	var late []time.Duration
	stop := work(b, dialFlooded(b, spec.Addr, "quiet"), func(_ context.Context, a *client.Attempt) error {
		d := time.Since(a.DueTime)
		mu.Lock()
		defer mu.Unlock()
		late = append(late, d)
		return nil
	})
	defer stop()
	measure := func() quietness {
		mu.Lock()
		late = nil
		mu.Unlock()
		// It ends when each report's attempt has come.
		var reports []time.Duration
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(lasting); time.Now().Before(end); {
			<-tick.C
			from := time.Now()
			if _, err := quiet.ReportFailure(b.Context(), client.Task{ID: fmt.Sprint("quiet", time.Now().UnixNano()), Queue: "q", Policy: "at"}, client.TimeoutFailure()); err != nil {
				b.Fatal(err)
			}
			reports = append(reports, time.Since(from))
		}
		slices.Sort(reports)
		for handed := 0; handed < len(reports); {
			<-tick.C
			mu.Lock()
			handed = len(late)
			mu.Unlock()
		}
		mu.Lock()
		defer mu.Unlock()
		return quietness{slices.Sorted(slices.Values(late)), reports}
	}
	measure() // until all is warm
	alone = measure()

	arg, err := json.Marshal(spec)
	if err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	p := docstest.StartProcess(b, b.TempDir(), []string{floodEnv + "=" + string(arg)}, "nice", "-n", "19", self)
	total := func() int {
		lines := strings.Fields(p.Stdout())
		n, err := strconv.Atoi(lines[len(lines)-1])
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	p.Await("word that attempts are handled", func(stdout string) bool { return strings.Count(stdout, "\n") > 5 })
	if spec.Quota > 0 {
		limit(fmt.Sprintf("namespaces: {flood: {reports_per_second: %d}}", spec.Quota))
		server.AwaitLog("word of the quota", func(text string) bool { return strings.Contains(text, "quotas have changed") })
	}
	before := total()
	flooded = measure()
	handled = float64(total()-before) / lasting.Seconds()
	lines := strings.Count(p.Stdout(), "\n")
	p.Await("word that the flood goes on", func(stdout string) bool { return strings.Count(stdout, "\n") > lines })
	return alone, flooded, handled
}

// floodEnv holds the floodSpec of a process of this binary that is the flood.
const floodEnv = "RETRYD_E2E_FLOOD"

// floodSpec is what the flood does.
type floodSpec struct {
	Addr string
	// Tasks are overdue before the first is handed out.
	Tasks int
	// Handling is how long an attempt takes.
	Handling time.Duration
	// Reporting is whether more are reported without end.
	Reporting bool
	// Quota is how many reports a second are taken of it once it handles attempts; 0 is
	// all.
	Quota int
}

// runFlood is the main of that process. Once it handles attempts, it writes every tenth of
// a second how many it has handled, and ends by SIGTERM.
func runFlood(arg string) int {
	var spec floodSpec
	err := json.Unmarshal([]byte(arg), &spec)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = spec.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (f *floodSpec) run(ctx context.Context) error {
	const queues = 200
	c, err := openFlooded(f.Addr, "flood")
	if err != nil {
		return err
	}
	_, err = c.Policies().CreatePolicy(ctx, &retryv1.CreatePolicyRequest{Policy: &retryv1.Policy{
		Id: "at", DisplayName: "at", MaxRetries: 10, DefaultAction: retryv1.Action_ACTION_RETRY,
		Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(time.Millisecond)}},
	}})
	if err != nil {
		return err
	}
	reported := 0
	report := func(n int) error {
		var reports []client.Report
		for range n {
			reports = append(reports, client.Report{Task: client.Task{ID: fmt.Sprint("t", reported), Queue: fmt.Sprint("q", reported%queues), Policy: "at"}, Err: client.TimeoutFailure()})
			reported++
		}
		_, err := c.ReportBatch(ctx, reports)
		return err
	}
	for reported < f.Tasks {
		if err := report(1000); err != nil {
			return err
		}
	}
	var handled atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for at := 0; at < queues; at += 100 {
		var names []string
		for k := range 100 {
			names = append(names, fmt.Sprint("q", at+k))
		}
		c, err := openFlooded(f.Addr, "flood")
		if err != nil {
			return err
		}
		w, err := client.NewWorker(c, names, client.WithMaxInFlight(500), client.WithConcurrency(64))
		if err != nil {
			return err
		}
		g.Go(func() error {
			return w.Run(ctx, func(context.Context, *client.Attempt) error {
				if f.Handling > 0 {
					<-time.After(f.Handling)
				}
				handled.Add(1)
				return nil
			})
		})
	}
	g.Go(func() error {
		for f.Reporting && ctx.Err() == nil {
			if err := report(100); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				if _, err := fmt.Fprintln(os.Stdout, handled.Load()); err != nil {
					return err
				}
			}
		}
	})
	return g.Wait()
}

func openFlooded(addr, namespace string) (*client.Client, error) {
	return client.New(addr, client.WithInsecure(), client.WithNamespace(namespace), client.WithLogger(slog.New(slog.DiscardHandler)))
}

func dialFlooded(tb testing.TB, addr, namespace string) *client.Client {
	tb.Helper()
	c, err := openFlooded(addr, namespace)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}
