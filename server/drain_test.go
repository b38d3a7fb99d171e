package server_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

// opened is a worker whose stream the server has taken notice of.
func (s *site) opened() (*worker, *retryv1.Attempt) {
	s.t.Helper()
	s.fail("q", "first", "quick")
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: 1})
	a := w.attempt()
	return w, a
}

func TestDrainTakesOutcomesToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{DrainTimeout: 20 * time.Second})
		s.policy("quick", time.Millisecond)
		w, a := s.opened()
		s.fail("q", "later", "quick")
		pass(time.Second)
		start := time.Now()
		stopped := make(chan struct{})
		go func() { s.stopServer(); close(stopped) }()
		if msg := w.recv(); msg.GetDrain() == nil {
			t.Fatalf("got %v, want Drain", msg)
		}
		pass(10 * time.Second)
		w.succeed(a.GetLeaseToken())
		if got := w.result().GetSuccess(); got.GetAttempts() != 2 {
			t.Errorf("after Drain: %v", got)
		}
		// The credit is free again, but nothing more is sent.
		pass(2 * time.Second)
		_ = w.stream.CloseSend()
		if msg, err := w.stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("after closing: %v, %v", msg, err)
		}
		<-stopped
		if took := time.Since(start); took > 13*time.Second {
			t.Errorf("the server took %s to stop after its last worker had left", took)
		}
	})
}

func TestDrainHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{DrainTimeout: 20 * time.Second})
		s.policy("quick", time.Millisecond)
		w, _ := s.opened()
		start := time.Now()
		s.stopServer()
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("the server took %s to stop", took)
		}
		if msg := w.recv(); msg.GetDrain() == nil {
			t.Fatalf("got %v, want Drain", msg)
		}
		if err := w.end(); !errors.Is(err, io.EOF) {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

func TestDrainEndsHalfClosedStreamsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{DrainTimeout: 20 * time.Second})
		s.policy("quick", time.Millisecond)
		w, _ := s.opened()
		_ = w.stream.CloseSend()
		observer := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, Observe: true})
		_ = observer.stream.CloseSend()
		unopened, err := s.retry.Subscribe(s.ctx())
		if err != nil {
			t.Fatal(err)
		}
		if err := unopened.Send(&retryv1.SubscribeRequest{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		s.stopServer()
		if took := time.Since(start); took > time.Second {
			t.Errorf("the server took %s to stop", took)
		}
		if err := w.end(); !errors.Is(err, io.EOF) {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

func TestDrainGivesBackWhatWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		one, two := setupOn(t, server.Config{DrainTimeout: 30 * time.Second}, store), setupOn(t, server.Config{}, store)
		one.policy("quick", time.Millisecond)
		for _, id := range []string{"a", "b", "c", "d"} {
			if _, err := one.retry.ReportFailure(one.ctx(), &retryv1.ReportFailureRequest{
				Task:    &retryv1.TaskSpec{Id: id, Queue: "q", Policy: "quick", Payload: make([]byte, 120<<10)},
				Failure: httpFailure(503),
			}); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		slow := one.open(retryv1.NewRetryServiceClient(one.dial(smallWindows()...)), &retryv1.Open{Queues: []string{"q"}, LeaseDuration: durationpb.New(time.Hour)})
		synctest.Wait()
		go one.stopServer()
		got := two.open(two.retry, &retryv1.Open{Queues: []string{"q"}}).receiveAll()
		pass(15 * time.Second)
		written := 0
		for {
			if msg, err := slow.stream.Recv(); err != nil {
				break
			} else if msg.GetAttempt() != nil {
				written++
			}
		}
		if others := len(got()); others == 0 || written+others < 3 || written+others > 4 {
			t.Errorf("%d were written to the one, %d given to the other, of 4", written, others)
		}
		for _, a := range got() {
			if a.GetDelivery() != 1 {
				t.Errorf("delivery %d", a.GetDelivery())
			}
		}
	})
}

func TestStreamsLeaveBeforeTheirConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("quick", time.Millisecond)
		start := time.Now()
		w, a := s.opened()
		w.succeed(a.GetLeaseToken())
		w.result()
		if msg := w.recv(); msg.GetDrain() == nil {
			t.Fatalf("got %v, want Drain", msg)
		}
		if age := time.Since(start); age < 25*time.Minute || age > 30*time.Minute {
			t.Errorf("told to leave after %s", age)
		}
		s.fail("q", "later", "quick")
		pass(10 * time.Second)
		_ = w.stream.CloseSend()
		if msg, err := w.stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("after Drain: %v, %v", msg, err)
		}
		// The server itself goes on, on another connection if need be.
		s.open(s.retry, &retryv1.Open{Queues: []string{"q"}}).attempt()
	})
}

func TestNextAttemptIsAnsweredWhenTheServerDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		answered := make(chan error)
		go func() {
			resp, err := s.retry.NextAttempt(t.Context(), &retryv1.NextAttemptRequest{
				Target: &retryv1.NextAttemptRequest_Queue{Queue: "q"}, Wait: durationpb.New(time.Minute),
			})
			if err == nil && resp.GetDue() {
				err = errors.New("something was due")
			}
			answered <- err
		}()
		synctest.Wait()
		go s.stopServer()
		if err := <-answered; err != nil {
			t.Error(err)
		}
	})
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{DrainTimeout: 20 * time.Second})
		health := healthpb.NewHealthClient(s.dial())
		check := func(want healthpb.HealthCheckResponse_ServingStatus) {
			t.Helper()
			for _, name := range append(services(), "") {
				got, err := health.Check(s.ctx(), &healthpb.HealthCheckRequest{Service: name})
				if err != nil || got.GetStatus() != want {
					t.Errorf("%q: %v, %v", name, got, err)
				}
			}
		}
		check(healthpb.HealthCheckResponse_SERVING)
		s.srv.SetServing(false)
		check(healthpb.HealthCheckResponse_NOT_SERVING)
		s.srv.SetServing(true)
		check(healthpb.HealthCheckResponse_SERVING)
		if _, err := health.Check(s.ctx(), &healthpb.HealthCheckRequest{Service: "nope"}); status.Code(err) != codes.NotFound {
			t.Errorf("an unknown service: %v", err)
		}
		watch, err := health.Watch(context.WithoutCancel(t.Context()), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		next := func() healthpb.HealthCheckResponse_ServingStatus {
			t.Helper()
			got, err := watch.Recv()
			if err != nil {
				t.Fatal(err)
			}
			return got.GetStatus()
		}
		if got := next(); got != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("watched: %v", got)
		}
		start := time.Now()
		s.stopServer()
		if took := time.Since(start); took > time.Second {
			t.Errorf("a watch kept the server from stopping for %s", took)
		}
		if got := next(); got != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("watched at the end: %v", got)
		}
		for err == nil {
			_, err = watch.Recv()
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("the watch ended with %v", err)
		}
	})
}

func TestConnectionsAreCapped(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{MaxConnections: 2})
	call := func(conn *grpc.ClientConn) error {
		_, err := healthpb.NewHealthClient(conn).Check(s.ctx(), &healthpb.HealthCheckRequest{})
		return err
	}
	one, two := s.dial(), s.dial()
	for _, conn := range []*grpc.ClientConn{one, two} {
		if err := call(conn); err != nil {
			t.Fatal(err)
		}
	}
	three := s.dial()
	if err := call(three); status.Code(err) != codes.Unavailable {
		t.Errorf("a third connection: %v", err)
	}
	if got := s.srv.Counters().RefusedConnections; got == 0 {
		t.Error("no refused connection was counted")
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	// There is room again as soon as the server has seen the first one go.
	if _, err := healthpb.NewHealthClient(three).Check(s.ctx(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}
