package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/internal/ledger"
)

// WorkerConfig is what a worker process is started with.
type WorkerConfig struct {
	// Via names the worker in the ledger, and must be one of a kind.
	Via string
	// Servers are the addresses that it knows, all when empty.
	Servers []string
	// Queue is where it takes work; "q" by default.
	Queue string
	// MaxInFlight is how many attempts it holds at a time; 64 by default.
	MaxInFlight int
	// Kind is what it does with an attempt; "" is KindPlain.
	Kind WorkerKind
}

// WorkerKind is what a worker does with an attempt.
type WorkerKind string

const (
	// KindPlain fails the second attempt of each task and succeeds at the third. Now
	// and then it takes long, at times longer than a lease.
	KindPlain WorkerKind = ""
	// KindQuick is KindPlain without what takes long.
	KindQuick WorkerKind = "quick"
	// KindHold takes attempts and never ends one.
	KindHold WorkerKind = "hold"
	// KindStale takes attempts, and when it goes on after it was stopped, tries all
	// that can be done under their leases: see stale.go.
	KindStale WorkerKind = "stale"
)

// lease is that of all workers: short, so that leases end within outages.
const lease = 2 * time.Second

// attempts is with which attempt each task succeeds.
const attempts = 3

// Worker is a worker process that runs.
type Worker struct {
	*Process
	Via  string
	w    *World
	read chan error
	once sync.Once
	err  error
}

// workerCommand makes this program a worker; its configuration follows.
const workerCommand = "worker"

// StartWorker starts a worker process, which tells the ledger all that it is told.
func (w *World) StartWorker(cfg WorkerConfig) (*Worker, error) {
	if cfg.Via == "" {
		return nil, errors.New("a worker needs a name")
	}
	if len(cfg.Servers) == 0 {
		cfg.Servers = addrs(w.Servers)
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	r, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Via, err)
	}
	one := &Worker{Via: cfg.Via, w: w, read: make(chan error, 1)}
	one.Process, err = startProcess(w.Dir, cfg.Via, out, self, workerCommand, string(text))
	// Its end of the pipe is its alone, so that its end is the end of what we read.
	err = errors.Join(err, out.Close())
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	go func() {
		err := ledger.Read(r, w.Ledger)
		one.read <- errors.Join(err, r.Close())
	}()
	w.workers = append(w.workers, one)
	return one, nil
}

// Kill ends the worker as a crash would: what it held it holds for ever.
func (one *Worker) Kill() error {
	one.w.Ledger.Killed(one.Via)
	if err := one.Process.Kill(); err != nil {
		return err
	}
	return one.await()
}

// Stop ends the worker, which hands back what it has not begun.
func (one *Worker) Stop() error { return errors.Join(one.Process.Stop(), one.await()) }

// await waits until all that the worker has told is in the ledger.
func (one *Worker) await() error {
	one.once.Do(func() { one.err = <-one.read })
	return one.err
}

// runWorker is what a worker process does until it is told to end.
func runWorker(ctx context.Context, text string, out io.Writer, log *slog.Logger) error {
	var cfg WorkerConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return fmt.Errorf("read the configuration of a worker: %w", err)
	}
	if cfg.Queue == "" {
		cfg.Queue = queue
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 64
	}
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer cancel()
	sink := ledger.NewWriter(out)
	c, err := dial(cfg.Servers, client.WithLogger(log), client.WithDialOptions(grpc.WithChainStreamInterceptor(ledger.Tap(sink))))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	handle := handler(cfg, sink)
	if cfg.Kind == KindStale {
		handle = staleHandler(ctx, cfg, c, sink)
	}
	worker, err := client.NewWorker(c, []string{cfg.Queue}, client.WithLeaseDuration(lease), client.WithMaxInFlight(cfg.MaxInFlight),
		client.WithWorkerID(cfg.Via), client.WithSettled(func(s client.Settled) { sink.Settled(ledger.OutcomeOf(s)) }))
	if err != nil {
		return err
	}
	return errors.Join(worker.Run(ctx, handle), sink.Err())
}

func handler(cfg WorkerConfig, sink ledger.Sink) client.Handler {
	return func(ctx context.Context, a *client.Attempt) error {
		sink.HandedOut(ledger.HandoutOf(cfg.Via, a, lease))
		if cfg.Kind == KindHold {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		if takes := duration(cfg.Kind); takes > 0 {
			select {
			case <-time.After(takes):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if a.Number < attempts {
			return client.TimeoutFailure()
		}
		return nil
	}
}

// duration is how long an attempt takes.
func duration(kind WorkerKind) time.Duration {
	if kind == KindQuick {
		return 0
	}
	switch n := rand.IntN(100); { //nolint:gosec // any will do
	case n < 1:
		return lease * 3 / 2
	case n < 6:
		return lease / 2
	}
	return 0
}

// dial returns a client of some servers behind one name.
func dial(addrs []string, opts ...client.Option) (*client.Client, error) {
	names := manual.NewBuilderWithScheme("servers")
	var state resolver.State
	for _, addr := range addrs {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	names.InitialState(state)
	return client.New(names.Scheme()+":///retryd", append([]client.Option{
		client.WithInsecure(), client.WithDialOptions(grpc.WithResolvers(names)),
	}, opts...)...)
}

func addrs(of []*Server) []string {
	var out []string
	for _, s := range of {
		out = append(out, s.Addr)
	}
	return out
}
