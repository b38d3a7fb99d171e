package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/teststore"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

// site is a server on a store in memory, and what talks to it.
type site struct {
	t      testing.TB
	sched  *scheduler.Scheduler
	srv    *server.Server
	lis    *bufconn.Listener
	log    *syncBuffer
	retry  retryv1.RetryServiceClient
	pol    retryv1.PolicyServiceClient
	jobs   retryv1.JobServiceClient
	tasks  retryv1.TaskServiceClient
	queues retryv1.QueueServiceClient
	groups retryv1.GroupServiceClient
	server retryv1.ServerServiceClient

	stopServer func()
}

// setup serves until the test ends.
func setup(tb testing.TB, cfg server.Config) *site {
	tb.Helper()
	return setupOn(tb, cfg, teststore.New(tb))
}

func setupOn(tb testing.TB, cfg server.Config, store scheduler.Store) *site {
	tb.Helper()
	s := &site{t: tb, lis: bufconn.Listen(1 << 20), log: &syncBuffer{}}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 5 * time.Second
	}
	var err error
	if s.sched, err = scheduler.New(store, scheduler.Config{Log: cfg.Log}); err != nil {
		tb.Fatal(err)
	}
	if s.srv, err = server.New(cfg, s.sched); err != nil {
		tb.Fatal(err)
	}
	serving, stopServing := context.WithCancel(tb.Context())
	running, stopRunning := context.WithCancel(context.WithoutCancel(tb.Context()))
	var scheduled, served sync.WaitGroup
	scheduled.Go(func() {
		if err := s.sched.Run(running); err != nil {
			tb.Errorf("scheduler: %v", err)
		}
	})
	served.Go(func() {
		if err := s.srv.Run(serving, s.lis); err != nil {
			tb.Errorf("server: %v", err)
		}
	})
	s.stopServer = func() {
		stopServing()
		served.Wait()
	}
	conn := s.dial()
	s.retry, s.pol = retryv1.NewRetryServiceClient(conn), retryv1.NewPolicyServiceClient(conn)
	s.jobs, s.tasks = retryv1.NewJobServiceClient(conn), retryv1.NewTaskServiceClient(conn)
	s.queues, s.groups = retryv1.NewQueueServiceClient(conn), retryv1.NewGroupServiceClient(conn)
	s.server = retryv1.NewServerServiceClient(conn)
	tb.Cleanup(func() {
		s.stopServer()
		stopRunning()
		scheduled.Wait()
	})
	return s
}

// dial opens a connection of its own, closed before the server is stopped.
func (s *site) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.lis.DialContext(ctx) }),
	}, opts...)
	conn, err := grpc.NewClient("passthrough:///bufconn", opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ctx ends before the test's own patience does.
func (s *site) ctx() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	s.t.Cleanup(cancel)
	return ctx
}

// policy creates one that retries everything after the delay.
func (s *site) policy(id string, delay time.Duration) {
	s.t.Helper()
	_, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: fixed(id, delay)})
	if err != nil {
		s.t.Fatal(err)
	}
}

func fixed(id string, delay time.Duration) *retryv1.Policy {
	return &retryv1.Policy{
		Id: id, DisplayName: id, MaxRetries: 3, DefaultAction: retryv1.Action_ACTION_RETRY,
		Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(delay)}},
	}
}

func httpFailure(status int32) *retryv1.Failure {
	return &retryv1.Failure{Cause: &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: status}}}
}

// fail reports a first failure of a task.
func (s *site) fail(queue, id, policy string) *retryv1.ReportFailureResponse {
	s.t.Helper()
	resp, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
		Task:    &retryv1.TaskSpec{Id: id, Queue: queue, Policy: policy, Payload: []byte("payload of " + id)},
		Failure: httpFailure(503),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

// worker is a stream opened on some queues. Attempts and the results of
// outcomes come in no order between them: what comes while the other is waited
// for is set aside.
type worker struct {
	t      testing.TB
	stream retryv1.RetryService_SubscribeClient
	cancel context.CancelFunc
	aside  []*retryv1.SubscribeResponse
}

func (s *site) open(client retryv1.RetryServiceClient, open *retryv1.Open) *worker {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	stream, err := client.Subscribe(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	w := &worker{t: s.t, stream: stream, cancel: cancel}
	w.send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: open}})
	return w
}

func (w *worker) send(msg *retryv1.SubscribeRequest) {
	w.t.Helper()
	if err := w.stream.Send(msg); err != nil {
		w.t.Fatal(err)
	}
}

// recv is the next message as it comes, or the first that was set aside.
func (w *worker) recv() *retryv1.SubscribeResponse {
	w.t.Helper()
	return w.await(func(*retryv1.SubscribeResponse) bool { return true })
}

func (w *worker) attempt() *retryv1.Attempt {
	w.t.Helper()
	return w.await(func(m *retryv1.SubscribeResponse) bool { return m.GetAttempt() != nil }).GetAttempt()
}

func (w *worker) result() *retryv1.OutcomeResult {
	w.t.Helper()
	return w.await(func(m *retryv1.SubscribeResponse) bool { return m.GetOutcomeResult() != nil }).GetOutcomeResult()
}

// await is the first message that is wanted, of those set aside and those that
// come.
func (w *worker) await(wanted func(*retryv1.SubscribeResponse) bool) *retryv1.SubscribeResponse {
	w.t.Helper()
	if i := slices.IndexFunc(w.aside, wanted); i >= 0 {
		msg := w.aside[i]
		w.aside = slices.Delete(w.aside, i, i+1)
		return msg
	}
	for {
		msg, err := w.stream.Recv()
		if err != nil {
			w.t.Fatalf("%v, after what was not waited for: %v", err, w.aside)
		}
		if wanted(msg) {
			return msg
		}
		w.aside = append(w.aside, msg)
	}
}

func (w *worker) succeed(token string) {
	w.t.Helper()
	w.outcome(&retryv1.Outcome{LeaseToken: token, Result: &retryv1.Outcome_Success{Success: &retryv1.Success{}}})
}

func (w *worker) fail(token string, f *retryv1.Failure) {
	w.t.Helper()
	w.outcome(&retryv1.Outcome{LeaseToken: token, Result: &retryv1.Outcome_Failure{Failure: f}})
}

func (w *worker) outcome(o *retryv1.Outcome) {
	w.t.Helper()
	w.send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Outcome{Outcome: o}})
}

func (w *worker) flow(n int32) {
	w.t.Helper()
	w.send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Flow{Flow: &retryv1.Flow{MaxInFlight: n}}})
}

// end is the status that the stream ends with; whatever comes before it is
// passed over.
func (w *worker) end() error {
	w.t.Helper()
	for {
		if _, err := w.stream.Recv(); err != nil {
			return err
		}
	}
}

// told is what an error tells its caller.
type told struct {
	code       string
	reason     string
	metadata   map[string]string
	violations []string
	retry      bool
}

func tell(err error) told {
	s := status.Convert(err)
	out := told{code: s.Code().String()}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			out.reason, out.metadata = d.GetReason(), d.GetMetadata()
			if d.GetDomain() != "retryd" {
				out.reason = "domain " + d.GetDomain()
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				out.violations = append(out.violations, v.GetField())
			}
		case *errdetails.RetryInfo:
			out.retry = d.GetRetryDelay().AsDuration() > 0
		}
	}
	return out
}

// syncBuffer is a log that tests may read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends to the log.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what has been written.
func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// smallWindows are a client's that takes 64 KiB unread and no more.
func smallWindows() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithInitialWindowSize(64 << 10), grpc.WithInitialConnWindowSize(64 << 10)}
}

// services are the names of the API's own services, read from its files, so that
// a new one cannot be forgotten.
func services() []string {
	var names []string
	protoregistry.GlobalFiles.RangeFilesByPackage(retryv1.File_retry_v1_task_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			names = append(names, string(file.Services().Get(i).FullName()))
		}
		return true
	})
	return names
}

// pass lets time go by, which in a bubble takes none.
func pass(d time.Duration) { <-time.After(d) }
