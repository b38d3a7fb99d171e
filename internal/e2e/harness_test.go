// Package e2e_test runs the service as its users do: client, wire, server,
// scheduler and store together, over real connections on loopback.
package e2e_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/server"
)

// newSite makes an empty store for the length of a test. What it returns opens
// it, once for each replica.
type newSite func(tb testing.TB) (open func() scheduler.Store)

// sites are those that every test here is run on.
func sites() map[string]newSite {
	return map[string]newSite{
		"memory": func(testing.TB) func() scheduler.Store {
			store := memstore.New(memstore.Config{})
			return func() scheduler.Store { return store }
		},
		"redis": func(tb testing.TB) func() scheduler.Store {
			cfg := redisstore.Config{
				URL: redistest.Shared(tb).URL(), Prefix: redistest.Prefix(tb), Log: slog.New(slog.DiscardHandler),
			}
			return func() scheduler.Store { return openRedis(tb, cfg) }
		},
	}
}

// newStore returns an empty store for the length of a test.
type newStore func(tb testing.TB) scheduler.Store

// stores are sites for those that need one replica.
func stores() map[string]newStore {
	out := make(map[string]newStore)
	for name, site := range sites() {
		out[name] = func(tb testing.TB) scheduler.Store { return site(tb)() }
	}
	return out
}

// openRedis opens a store on Redis until the test ends.
func openRedis(tb testing.TB, cfg redisstore.Config) *redisstore.Store {
	tb.Helper()
	store, err := redisstore.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Errorf("close the store: %v", err)
		}
	})
	return store
}

// onEachStore runs test once for each store, which open opens once more for each
// replica.
func onEachStore(t *testing.T, test func(t *testing.T, open func() scheduler.Store)) {
	t.Helper()
	t.Parallel()
	for name, site := range sites() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, site(t))
		})
	}
}

// replica is a server over a store, on a port of its own.
type replica struct {
	addr  string
	sched *scheduler.Scheduler
}

// serve runs a replica until the test ends.
func serve(tb testing.TB, store scheduler.Store) *replica {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	sched, err := scheduler.New(store, scheduler.Config{Log: log})
	if err != nil {
		tb.Fatal(err)
	}
	srv, err := server.New(server.Config{Log: log, DrainTimeout: 5 * time.Second}, sched)
	if err != nil {
		tb.Fatal(err)
	}
	lis, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	work, stopWork := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- sched.Run(work) }()
	go func() {
		ended <- srv.Run(ctx, lis)
		stopWork()
	}()
	tb.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				tb.Error(err)
			}
		}
	})
	return &replica{addr: lis.Addr().String(), sched: sched}
}

// client connects to the replica, over a connection of its own.
func (r *replica) client(tb testing.TB) *client.Client {
	tb.Helper()
	c, err := client.New(r.addr, client.WithInsecure(), client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// dial opens a bare connection to the replica, for what the client does not
// show.
func (r *replica) dial(tb testing.TB) *grpc.ClientConn {
	tb.Helper()
	conn, err := grpc.NewClient(r.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (r *replica) stub(tb testing.TB) retryv1.RetryServiceClient {
	tb.Helper()
	return retryv1.NewRetryServiceClient(r.dial(tb))
}

func (r *replica) tasks(tb testing.TB) retryv1.TaskServiceClient {
	tb.Helper()
	return retryv1.NewTaskServiceClient(r.dial(tb))
}

func (r *replica) queues(tb testing.TB) retryv1.QueueServiceClient {
	tb.Helper()
	return retryv1.NewQueueServiceClient(r.dial(tb))
}

// createPolicy makes a policy whose retries come after delay.
func createPolicy(tb testing.TB, c *client.Client, id string, delay time.Duration) {
	tb.Helper()
	_, err := c.Policies().CreatePolicy(tb.Context(), &retryv1.CreatePolicyRequest{Policy: &retryv1.Policy{
		Id: id, DisplayName: id, MaxRetries: 10, DefaultAction: retryv1.Action_ACTION_RETRY,
		Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(delay)}},
	}})
	if err != nil {
		tb.Fatal(err)
	}
}

// work runs a worker of queue q until the test ends or stop is called.
func work(tb testing.TB, c *client.Client, handle client.Handler, opts ...client.WorkerOption) (stop func()) {
	tb.Helper()
	w, err := client.NewWorker(c, []string{"q"}, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.Run(ctx, handle); err != nil {
			tb.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	tb.Cleanup(stop)
	return stop
}
