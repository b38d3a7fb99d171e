package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/internal/docstest"
	"github.com/retryd/retryd/internal/ledger"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

const (
	// group is that of all tasks here.
	group = "all"
	// lease is short, so that leases end within outages and are extended.
	lease = 2 * time.Second
	// retryPolicy is that of all tasks here.
	retryPolicy = `policies:
  - {id: soon, display_name: Soon, max_retries: 10, fixed: {delay: 200ms}, default_action: RETRY}
`
	// reportEvery is how often each reporter reports.
	reportEvery = 10 * time.Millisecond
	// again is how many reports come before one that is repeated elsewhere.
	again = 8
)

// rig is two real processes of `retryd serve` on one Redis, and the load on them.
type rig struct {
	t        *testing.T
	cfg      redisstore.Config
	policies string
	ledger   *ledger.Ledger
	replicas [2]*process

	reporters, workers  sync.WaitGroup
	started             int
	reporting           context.Context //nolint:containedctx // reporters may start later
	stopReports, finish context.CancelFunc
}

// process is one replica, which keeps its port for life.
type process struct {
	*docstest.Process
	addr string
	// binary is what runs it.
	binary string
}

// startRig starts replicas, workers and reporters on the Redis at url.
func startRig(t *testing.T, url string) *rig {
	t.Helper()
	return startRigOf(t, url, retryd(t))
}

// startRigOf starts them with replicas of a certain binary.
func startRigOf(t *testing.T, url, binary string) *rig {
	t.Helper()
	r := &rig{t: t, cfg: redisstore.Config{URL: url, Log: slog.New(slog.DiscardHandler)}, ledger: ledger.New()}
	r.policies = filepath.Join(t.TempDir(), "policies.yaml")
	if err := os.WriteFile(r.policies, []byte(retryPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range r.replicas {
		r.replicas[i] = &process{addr: freeAddr(t), binary: binary}
		r.start(i)
	}
	for i := range r.replicas {
		r.awaitServing(i)
	}
	r.startWorkers()
	r.startReporters()
	return r
}

// freeAddr returns an address on loopback whose port nobody is given by chance
// while its process is away: it lies below those of outgoing connections.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(15_000+rand.IntN(15_000)))
		var config net.ListenConfig
		if l, err := config.Listen(tb.Context(), "tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
}

// start starts a replica, also one that was killed.
func (r *rig) start(i int) {
	r.t.Helper()
	p := r.replicas[i]
	p.Process = docstest.StartProcess(r.t, r.t.TempDir(), nil, p.binary, "serve", "--listen="+p.addr, "--admin-listen=",
		"--redis-url="+r.cfg.URL, "--policies="+r.policies, "--drain-timeout=2s")
	r.t.Cleanup(func() {
		if text := p.Stderr(); strings.Contains(text, "DATA RACE") {
			r.t.Errorf("the replica raced:\n%s", text)
		}
	})
}

func (r *rig) awaitServing(i int) {
	r.t.Helper()
	r.replicas[i].AwaitLog("word that it serves", func(text string) bool { return strings.Contains(text, "redis can be used: serving") })
}

// kill ends a replica as a crash would.
func (r *rig) kill(i int) {
	r.t.Helper()
	r.replicas[i].Signal(syscall.SIGKILL)
	r.replicas[i].Wait()
}

// dial returns a client of one replica, or of both behind one name.
func (r *rig) dial(replicas []*process, opts ...client.Option) *client.Client {
	r.t.Helper()
	names := manual.NewBuilderWithScheme("replicas")
	var state resolver.State
	for _, p := range replicas {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: p.addr}}})
	}
	names.InitialState(state)
	opts = append(opts, client.WithInsecure(), client.WithLogger(slog.New(slog.DiscardHandler)),
		client.WithDialOptions(grpc.WithResolvers(names), grpc.WithChainStreamInterceptor(ledger.Tap(r.ledger))))
	c, err := client.New(names.Scheme()+":///retryd", opts...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			r.t.Error(err)
		}
	})
	return c
}

// startWorkers starts two workers on each replica.
func (r *rig) startWorkers() {
	ctx, cancel := context.WithCancel(context.Background())
	r.finish = cancel
	for i := range 2 * len(r.replicas) {
		via := fmt.Sprintf("worker %d of replica %d", i/2, i%2)
		w, err := client.NewWorker(r.dial(r.replicas[i%2:i%2+1]), []string{"q"}, client.WithLeaseDuration(lease), client.WithMaxInFlight(64),
			client.WithWorkerID(via), client.WithSettled(func(s client.Settled) { r.ledger.Settled(ledger.OutcomeOf(s)) }))
		if err != nil {
			r.t.Fatal(err)
		}
		r.workers.Go(func() {
			if err := w.Run(ctx, r.handler(via)); err != nil {
				r.t.Errorf("%s: %v", via, err)
			}
		})
	}
	r.t.Cleanup(func() {
		cancel()
		r.workers.Wait()
	})
}

// handler fails attempt 2 and succeeds at attempt 3. Now and then it takes long,
// at times longer than a lease.
func (r *rig) handler(via string) client.Handler {
	return func(ctx context.Context, a *client.Attempt) error {
		r.ledger.HandedOut(ledger.HandoutOf(via, a, lease))
		var takes time.Duration
		switch n := rand.IntN(100); {
		case n < 2:
			takes = lease * 3 / 2
		case n < 12:
			takes = lease / 2
		}
		if takes > 0 {
			select {
			case <-time.After(takes):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if a.Number < 3 {
			return client.TimeoutFailure()
		}
		return nil
	}
}

// reporter reports failures of new tasks.
type reporter struct {
	via string
	// to are the replicas that it knows, behind one name.
	to []*process
	// impatient is one that does not repeat what was not answered.
	impatient bool
	// picks, when set, says which tasks it reports.
	picks func(id string) bool
}

// startReporters starts reporters that know both replicas, or one of them.
func (r *rig) startReporters() {
	ctx, cancel := context.WithCancel(context.Background())
	r.reporting, r.stopReports = ctx, cancel
	r.t.Cleanup(func() {
		cancel()
		r.reporters.Wait()
	})
	both, first, second := r.replicas[:], r.replicas[:1], r.replicas[1:]
	for _, rep := range []reporter{
		{via: "both", to: both},
		{via: "both", to: both},
		{via: "0", to: first},
		{via: "0", to: first},
		{via: "1", to: second},
		{via: "1", to: second},
		{via: "0 impatiently", to: first, impatient: true},
		{via: "1 impatiently", to: second, impatient: true},
	} {
		r.startReporter(rep)
	}
}

// startReporter starts one, on connections of its own.
func (r *rig) startReporter(rep reporter) {
	var opts []client.Option
	if rep.impatient {
		opts = append(opts, client.WithRetryTimeout(0))
	}
	c, elsewhere := r.dial(rep.to, opts...), r.dial(r.replicas[:], opts...)
	r.started++
	name := fmt.Sprintf("task-%d", r.started)
	r.reporters.Go(func() {
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for n := 0; r.reporting.Err() == nil; n++ {
			id := fmt.Sprintf("%s-%d", name, n)
			if rep.picks != nil && !rep.picks(id) {
				continue
			}
			err := r.report(c, id, rep.via)
			if err != nil && !rep.impatient {
				r.t.Errorf("a report of %s via %s: %v", id, rep.via, err)
				return
			}
			if n%again == 0 {
				_ = r.report(elsewhere, id, "again")
			}
			<-tick.C
		}
	})
}

// report reports the first failure of a task, under the key that all reports of
// it have.
func (r *rig) report(c *client.Client, id, via string) error {
	// What has been begun is ended also when the reporters are to stop.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d, err := c.ReportFailure(ctx, client.Task{ID: id, Queue: "q", Policy: "soon", Group: group}, client.HTTPFailure(503, ""), client.WithIdempotencyKey(id))
	r.ledger.Reported(id, via, d, err)
	return err
}

// steady waits until both replicas have taken reports and outcomes for a while.
func (r *rig) steady() {
	r.t.Helper()
	for _, via := range []string{"0", "1"} {
		if err := r.ledger.AwaitAcks(r.t.Context(), via, 50); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := r.ledger.AwaitOutcomes(r.t.Context(), 150); err != nil {
		r.t.Fatal(err)
	}
}

// account ends the load, waits until all has drained, and holds the store
// against the ledger. In windows Redis may have lost what it had acknowledged.
func (r *rig) account(windows ...ledger.Window) {
	r.t.Helper()
	r.stopReports()
	r.reporters.Wait()
	stopped := time.Now()
	store := openRedis(r.t, r.cfg)
	r.awaitDrained(store)
	drained := time.Since(stopped)
	r.finish()
	r.workers.Wait()
	sum, found, err := r.ledger.Audit(r.t.Context(), store, ledger.Plan{Attempts: 3, Windows: windows})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, problem := range found {
		r.t.Error(problem)
	}
	r.wantGroup(store, sum.Stored)
	r.t.Logf("%s; drained in %s; refusals %v", &sum, drained.Round(time.Millisecond), r.ledger.Refusals())
}

// awaitDrained waits until nothing is left to do in the queue.
func (r *rig) awaitDrained(store *redisstore.Store) {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(30 * time.Second)
	for {
		counts, err := store.CountQueues(r.t.Context(), []scheduler.QueueKey{{Namespace: "default", Name: "q"}})
		if err == nil && counts[0].Waiting == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-patience:
			r.t.Errorf("not drained within 30 s: %+v, error %v", counts, err)
			return
		}
	}
}

// wantGroup wants the group of all tasks to count each that the store has once,
// as succeeded.
func (r *rig) wantGroup(store *redisstore.Store, kept int) {
	r.t.Helper()
	got, _, err := store.Group(r.t.Context(), scheduler.GroupKey{Namespace: "default", Name: group})
	if want := (scheduler.GroupCount{Total: int64(kept), Completed: int64(kept)}); err != nil || got != want {
		r.t.Errorf("the group counts %+v (error %v), want %+v", got, err, want)
	}
	counts, err := store.CountQueues(r.t.Context(), []scheduler.QueueKey{{Namespace: "default", Name: "q"}})
	if err != nil || counts[0].Leased != 0 || len(counts[0].Open) > 0 {
		r.t.Errorf("once drained, the queue counts %d leased and %v under way (error %v)", counts[0].Leased, counts[0].Open, err)
	}
}
