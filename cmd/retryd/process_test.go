package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/docstest"
)

// soonPolicy brings attempts back at once.
const soonPolicy = `policies:
  - id: soon
    display_name: At once
    max_retries: 10
    fixed: {delay: 1ms}
    default_action: RETRY
`

// fail reports the first attempt of a task as failed.
func fail(t *testing.T, retry retryv1.RetryServiceClient, id string) {
	t.Helper()
	_, err := retry.ReportFailure(t.Context(), &retryv1.ReportFailureRequest{
		Task:    &retryv1.TaskSpec{Id: id, Queue: "work", Policy: "soon"},
		Failure: &retryv1.Failure{Cause: &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

type subscription = grpc.BidiStreamingClient[retryv1.SubscribeRequest, retryv1.SubscribeResponse]

func subscribe(ctx context.Context, retry retryv1.RetryServiceClient, lease time.Duration) (subscription, error) {
	stream, err := retry.Subscribe(ctx)
	if err != nil {
		return nil, err
	}
	return stream, stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{
		Open: &retryv1.Open{Queues: []string{"work"}, LeaseDuration: durationpb.New(lease)},
	}})
}

func receive(t *testing.T, stream subscription) *retryv1.SubscribeResponse {
	t.Helper()
	got, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestGreetingsCommandsWork(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var commands []string
	for line := range strings.Lines(s.Greeting) {
		if command, ok := strings.CutPrefix(line, "  "); ok {
			commands = append(commands, command)
		}
	}
	if len(commands) != 2 {
		t.Fatalf("the greeting has %d commands, want 2:\n%s", len(commands), s.Greeting)
	}
	session := docstest.NewSession(t, docstest.Root(t), self(t), s)
	session.Play("greeting", []docstest.Block{
		{Lang: "sh", Text: strings.Join(commands, "")},
		{Lang: "json", Info: []string{"output"}, Text: `{
			"decision": {
			"action": "ACTION_RETRY",
			"reason": "REASON_RETRY_SCHEDULED",
			"attempt": 1,
			"nextAttempt": 2,
			"nextAttemptTime": "2026-11-22T08:50:33.976Z",
			"delay": "5s",
			...`},
		{Lang: "json", Info: []string{"output", "Subscribe"}, Text: `{
			"attempt": {
			"taskId": "hello",
			"queue": "demo",
			"attempt": 2,`},
	})
	// The tool that it recommends is the one that was used.
	for line := range strings.Lines(s.Greeting) {
		if _, after, ok := strings.Cut(line, "go install "); ok {
			session.Play("greeting", []docstest.Block{{Lang: "sh", Text: "go install " + strings.TrimSuffix(strings.TrimSpace(after), "):")}})
			return
		}
	}
	t.Error("the greeting does not say where grpcurl comes from")
}

func TestProbes(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for path, want := range map[string]string{"/livez": "200 alive\n", "/readyz": "200 ready\n", "/": "404 404 page not found\n"} {
		if got := get(t, s.Admin, path); got != want {
			t.Errorf("%s answers %q, want %q", path, got, want)
		}
	}
}

func TestDecisionsAreCountedAndLogged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, flag string
		lines      int
	}{{"by default", "--log-level=info", 1}, {"not logged", "--log-decisions=false", 0}, {"at another level", "--log-level=warn", 0}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, c.flag, "--policies="+policyFile(t, soonPolicy))
			fail(t, retryv1.NewRetryServiceClient(dial(t, s.Addr)), "a")
			if got, want := get(t, s.Admin, "/metrics"), `retryd_decisions_total{action="RETRY",reason="RETRY_SCHEDULED"} 1`; !strings.Contains(got, want) {
				t.Errorf("/metrics has no line %s", want)
			}
			s.Signal(os.Interrupt)
			if status := s.Wait(); status != 0 {
				t.Errorf("exit status %d, want 0", status)
			}
			if got := strings.Count(s.Stderr(), "msg=decision namespace=default task=a attempt=1 action=RETRY"); got != c.lines {
				t.Errorf("%d lines of decisions, want %d", got, c.lines)
			}
		})
	}
}

func TestProfilesAreServedWhereAskedFor(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"/debug/pprof/": "200 <html>", "/debug/pprof/heap?debug=1": "200 heap profile:"} {
		if got := get(t, startServer(t, "--pprof").Admin, path); !strings.HasPrefix(got, want) {
			t.Errorf("%s answers %.50q, want %q", path, got, want)
		}
		if got := get(t, startServer(t).Admin, path); !strings.HasPrefix(got, "404 ") {
			t.Errorf("%s answers %.50q without --pprof, want 404", path, got)
		}
	}
}

func get(t *testing.T, addr, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}

func TestNoAdminPort(t *testing.T) {
	t.Parallel()
	s := start(t, "dev", "--listen=127.0.0.1:0", "--admin-listen=")
	greeting := s.Await("the greeting", func(text string) bool { return strings.HasSuffix(text, "\n\n") && strings.Contains(text, "Policies:") })
	if strings.Contains(greeting, "probes") {
		t.Errorf("it greets with %q", greeting)
	}
	s.Signal(os.Interrupt)
	if status := s.Wait(); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	var listen net.ListenConfig
	taken, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }() // it has served
	for _, flag := range []string{"listen", "admin-listen"} {
		free := map[string]string{"listen": "127.0.0.1:0", "admin-listen": "127.0.0.1:0"}
		free[flag] = taken.Addr().String()
		out, err := execute(t, "dev", "--listen="+free["listen"], "--admin-listen="+free["admin-listen"])
		wantError(t, err, setting(flag)+": listen tcp "+taken.Addr().String())
		if out != "" {
			t.Errorf("it greets all the same: %q", out)
		}
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, c := range []struct {
		name, addr string
		want       int
		says       string
	}{
		{"serving", s.Addr, 0, s.Addr + ": SERVING\n"},
		{"not serving", notServing(t), 1, "answers NOT_SERVING"},
		{"nobody there", "127.0.0.1:1", 5, "127.0.0.1:1 does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "healthcheck", "--address", c.addr)
			if got := p.Wait(); got != c.want {
				t.Errorf("exit status %d, want %d", got, c.want)
			}
			if said := p.Stdout() + p.Stderr(); !strings.Contains(said, c.says) {
				t.Errorf("it says %q, want %q", said, c.says)
			}
		})
	}
}

// notServing returns the address of a server that is not healthy.
func notServing(t *testing.T) string {
	t.Helper()
	var listen net.ListenConfig
	lis, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, h := grpc.NewServer(), health.NewServer()
	h.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(srv, h)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return lis.Addr().String()
}

func TestTerminationDrains(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--policies", policyFile(t, soonPolicy))
	retry := retryv1.NewRetryServiceClient(dial(t, s.Addr))
	stream, err := subscribe(t.Context(), retry, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	fail(t, retry, "task-1")
	token := receive(t, stream).GetAttempt().GetLeaseToken()

	s.Signal(syscall.SIGTERM)
	if got := receive(t, stream); got.GetDrain() == nil {
		t.Fatalf("it sends %v, want drain", got)
	}
	if got := get(t, s.Admin, "/readyz"); got != "503 not ready\n" {
		t.Errorf("/readyz answers %q while it drains", got)
	}
	if got := get(t, s.Admin, "/livez"); got != "200 alive\n" {
		t.Errorf("/livez answers %q while it drains", got)
	}
	// What was handed out before is still taken.
	err = stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{
		LeaseToken: token, Result: &retryv1.Outcome_Success{Success: &retryv1.Success{}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := receive(t, stream).GetOutcomeResult().GetSuccess(); got.GetAttempts() != 2 {
		t.Errorf("the outcome is answered with %v", got)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if status := s.Wait(); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	if strings.Contains(s.Stderr(), "are cut") {
		t.Errorf("it did not wait:\n%s", s.Stderr())
	}
	// Whoever finds it gone reads in the log that it was told to go.
	_, after, _ := strings.Cut(s.Stderr(), "msg=\"stopping: what is under way is brought to its end\"")
	if !strings.HasSuffix(after, "msg=stopped\n") {
		t.Errorf("the log does not tell of its end:\n%s", s.Stderr())
	}
}

func TestTerminationEndsBeforeItsDeadline(t *testing.T) {
	t.Parallel()
	// Far more than it takes, and far less than the default.
	const deadline = 2 * time.Second
	s := startServer(t, "--drain-timeout", deadline.String(), "--policies", policyFile(t, soonPolicy))
	retry := retryv1.NewRetryServiceClient(dial(t, s.Addr))
	stream, err := subscribe(t.Context(), retry, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	fail(t, retry, "task-1")
	if a := receive(t, stream).GetAttempt(); a == nil {
		t.Fatal("no attempt")
	}
	begin := time.Now()
	s.Signal(syscall.SIGTERM)
	if got := receive(t, stream); got.GetDrain() == nil {
		t.Fatalf("it sends %v, want drain", got)
	}
	// The worker stays, and its attempt is not settled.
	if got, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream goes on with %v, %v; want its end", got, err)
	}
	if status := s.Wait(); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	if took := time.Since(begin); took > deadline+time.Second {
		t.Errorf("it took %s, with a deadline of %s", took, deadline)
	}
}

// A worker that is killed in the midst of an attempt costs no retry: the attempt
// is delivered again once its lease has expired.
func TestAttemptOfAKilledWorkerIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--policies", policyFile(t, soonPolicy))
	first := docstest.StartProcess(t, "", []string{roleWorker}, self(t), s.Addr)
	fail(t, retryv1.NewRetryServiceClient(dial(t, s.Addr)), "task-1")
	a := deliveryOf(t, first)
	if a.attempt != 2 || a.delivery != 1 || a.retriesLeft != 9 {
		t.Fatalf("the first worker is given %+v", a)
	}

	second := docstest.StartProcess(t, "", []string{roleWorker}, self(t), s.Addr)
	first.Signal(syscall.SIGKILL)
	if status := first.Wait(); status != -1 {
		t.Fatalf("the first worker ended with %d, and not by the signal", status)
	}
	b := deliveryOf(t, second)
	if b.attempt != 2 || b.delivery != 2 || b.retriesLeft != 9 {
		t.Errorf("the second worker is given %+v, want attempt 2, delivery 2 and 9 retries left", b)
	}
	handedOutMS := b.leaseEndMS - workerLease.Milliseconds()
	if late := handedOutMS - a.leaseEndMS; late < 0 || late > 1000 {
		t.Errorf("handed out again %d ms after the lease had expired, want 0 to 1000", late)
	}
}

// workerLease is that of the worker's process.
const workerLease = time.Second

const deliveryFormat = "attempt %d delivery %d retries_left %d lease_end_ms %d\n"

type delivery struct {
	attempt, delivery, retriesLeft int
	leaseEndMS                     int64
}

func deliveryOf(t *testing.T, worker *docstest.Process) delivery {
	t.Helper()
	var d delivery
	worker.Await("an attempt", func(text string) bool {
		_, err := fmt.Sscanf(text, deliveryFormat, &d.attempt, &d.delivery, &d.retriesLeft, &d.leaseEndMS)
		return err == nil
	})
	return d
}

// work is the process of a worker: it takes attempts, tells them, and does not
// come to an end with any.
func work(addr string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	stream, err := subscribe(context.Background(), retryv1.NewRetryServiceClient(conn), workerLease)
	for err == nil {
		var got *retryv1.SubscribeResponse
		if got, err = stream.Recv(); err == nil && got.GetAttempt() != nil {
			a := got.GetAttempt()
			fmt.Printf(deliveryFormat, a.GetAttempt(), a.GetDelivery(), a.GetRetriesLeft(), a.GetLeaseExpireTime().AsTime().UnixMilli())
		}
	}
	return err
}
