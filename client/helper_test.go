package client_test

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/teststore"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

// wire is a way to a server that tests can move to another server.
type wire struct {
	mu    sync.Mutex
	lis   *bufconn.Listener
	dials int
}

var errUnplugged = errors.New("unplugged")

func (w *wire) plug(lis *bufconn.Listener) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lis = lis
}

func (w *wire) dial(ctx context.Context, _ string) (net.Conn, error) {
	w.mu.Lock()
	lis := w.lis
	w.dials++
	w.mu.Unlock()
	if lis == nil {
		return nil, errUnplugged
	}
	return lis.DialContext(ctx)
}

// client makes one that is closed when the test ends.
func (w *wire) client(t *testing.T, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New("passthrough:///test", append([]client.Option{
		client.WithInsecure(),
		client.WithLogger(slog.New(slog.DiscardHandler)),
		client.WithDialOptions(grpc.WithContextDialer(w.dial)),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// site is a store in memory, and at most one server on it.
type site struct {
	wire
	t     *testing.T
	store scheduler.Store

	mu   sync.Mutex
	halt func()
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, store: teststore.New(t)}
	s.serve()
	t.Cleanup(s.stop)
	return s
}

// serve runs a server, as a process of its own would, until stop.
func (s *site) serve() {
	log := slog.New(slog.DiscardHandler)
	sched, err := scheduler.New(s.store, scheduler.Config{Log: log})
	if err != nil {
		s.t.Error(err)
		return
	}
	srv, err := server.New(server.Config{Log: log, DrainTimeout: time.Second}, sched)
	if err != nil {
		s.t.Error(err)
		return
	}
	lis := bufconn.Listen(1 << 20)
	scheduling, unschedule := context.WithCancel(context.WithoutCancel(s.t.Context()))
	serving, unserve := context.WithCancel(scheduling)
	var scheduled, served sync.WaitGroup
	scheduled.Go(func() {
		if err := sched.Run(scheduling); err != nil {
			s.t.Errorf("scheduler: %v", err)
		}
	})
	served.Go(func() {
		if err := srv.Run(serving, lis); err != nil {
			s.t.Errorf("server: %v", err)
		}
	})
	s.plug(lis)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt = func() {
		s.plug(nil)
		unserve()
		served.Wait()
		unschedule()
		scheduled.Wait()
	}
}

// stop stops the server, as a signal to its process would, and waits for it.
func (s *site) stop() {
	s.mu.Lock()
	halt := s.halt
	s.mu.Unlock()
	halt()
}

// policy creates "p", which retries everything after the delay.
func policy(t *testing.T, c *client.Client, delay time.Duration, retries int32) {
	t.Helper()
	_, err := c.Policies().CreatePolicy(t.Context(), &retryv1.CreatePolicyRequest{Policy: &retryv1.Policy{
		Id: "p", DisplayName: "P", MaxRetries: retries, DefaultAction: retryv1.Action_ACTION_RETRY,
		Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(delay)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// running is a worker at work.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// work runs a worker until stop, at the latest when the test ends.
func work(t *testing.T, c *client.Client, queues []string, h client.Handler, opts ...client.WorkerOption) *running {
	t.Helper()
	w, err := client.NewWorker(c, queues, opts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{t: t, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = w.Run(ctx, h)
	}()
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// stop ends the worker and gives back what Run returned.
func (r *running) stop() error {
	r.cancel()
	<-r.done
	return r.err
}

// recv waits for a value, but not for ever.
func recv[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	var v T
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		t.Fatal("nothing came in a minute")
	}
	return v
}

// fail reports the first failure of a task under "p".
func fail(t *testing.T, c *client.Client, queue, id string) *client.Decision {
	t.Helper()
	d, err := c.ReportFailure(t.Context(), client.Task{
		ID: id, Queue: queue, Policy: "p", Payload: []byte("payload of " + id),
	}, client.HTTPFailure(503, ""), client.WithAttempt(1))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// stateOf asks where a task stands.
func stateOf(t *testing.T, c *client.Client, id string) *client.NextAttempt {
	t.Helper()
	n, err := c.NextAttempt(t.Context(), client.Next{TaskID: id})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func discardLog() *log.Logger { return slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) }
