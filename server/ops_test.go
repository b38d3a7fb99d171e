package server_test

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

func TestPanicsAreCaught(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		s := setupOn(t, server.Config{}, store)
		s.policy("quick", time.Millisecond)
		s.fail("q", "x", "quick")
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
		a := w.attempt()
		boom := func(context.Context, []scheduler.Change) error {
			panic("the secret of redis://10.0.0.1") //nolint:forbidigo // It is what the test is about.
		}
		store.onCommit.Store(&boom)
		// In a handler.
		_, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "y", Policy: "quick"}, Failure: httpFailure(503)})
		got := tell(err)
		id := got.metadata["error_id"]
		if got.code != "Internal" || id == "" || !strings.Contains(status.Convert(err).Message(), id) || strings.Contains(status.Convert(err).Proto().String(), "redis") {
			t.Errorf("the caller is told %v", err)
		}
		if log := s.log.String(); !strings.Contains(log, id) || !strings.Contains(log, "store_test.go") || !strings.Contains(log, `"code":"Internal"`) {
			t.Errorf("the log tells %s", log)
		}
		// In a goroutine of a stream.
		w.succeed(a.GetLeaseToken())
		if got := tell(w.end()); got.code != "Internal" || got.metadata["error_id"] == "" {
			t.Errorf("the stream ended with %+v", got)
		}
		store.onCommit.Store(nil)
		if got := s.srv.Counters(); got.Panics != 2 || got.InternalErrors != 2 {
			t.Errorf("counted %+v", got)
		}
		// The server goes on.
		s.fail("q", "z", "quick")
		s.open(s.retry, &retryv1.Open{Queues: []string{"q"}}).attempt()
	})
}

func TestUnknownErrorsAreCounted(t *testing.T) {
	t.Parallel()
	store := newHookedStore()
	s := setupOn(t, server.Config{}, store)
	broken := func() error { return errors.New("dial redis://10.0.0.1") }
	store.onPolicy.Store(&broken)
	_, err := s.pol.GetPolicy(s.ctx(), &retryv1.GetPolicyRequest{Id: "x"})
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "redis") || !strings.Contains(s.log.String(), "10.0.0.1") {
		t.Errorf("got %v, logged %s", err, s.log.String())
	}
	if got := s.srv.Counters(); got.InternalErrors != 1 || got.Panics != 0 {
		t.Errorf("counted %+v", got)
	}
}

// TestSecretsAreNotLogged makes every call, well and badly, with secrets that
// can be told again.
func TestSecretsAreNotLogged(t *testing.T) {
	t.Parallel()
	store := newHookedStore()
	s := setupOn(t, server.Config{}, store)
	s.policy("quick", time.Millisecond)
	secret := "s3cr3t"
	spec := func(id string) *retryv1.TaskSpec {
		return &retryv1.TaskSpec{
			Id: id, Queue: "q", Policy: "quick", Payload: []byte("payload-" + secret),
			Attributes: map[string]string{"authorization": "attribute-" + secret},
		}
	}
	failure := func() *retryv1.Failure {
		f := httpFailure(503)
		f.Message = "message-" + secret
		return f
	}
	report := func(r *retryv1.ReportFailureRequest) error {
		_, err := s.retry.ReportFailure(s.ctx(), r)
		return err
	}
	var tokens []string
	for _, id := range []string{"a", "b", "c"} {
		if err := report(&retryv1.ReportFailureRequest{Task: spec(id), Failure: failure(), IdempotencyKey: "key-" + secret}); err != nil {
			t.Fatal(err)
		}
	}
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	for range 3 {
		tokens = append(tokens, w.attempt().GetLeaseToken())
	}
	w.flow(0)
	changed := spec("a")
	changed.Payload = []byte("other-" + secret)
	bad := spec("d")
	bad.Queue = "no good " + secret
	bad.Attributes = map[string]string{secret: strings.Repeat(secret, 3000)}
	forged := base64.RawURLEncoding.EncodeToString([]byte(secret))
	for _, r := range []*retryv1.ReportFailureRequest{
		{Task: changed, Failure: failure(), LeaseToken: tokens[0]},
		{Task: spec("a"), Failure: httpFailure(500), IdempotencyKey: "key-" + secret},
		{Task: bad, Failure: failure(), IdempotencyKey: strings.Repeat(secret, 100)},
		{Task: spec("a"), Failure: failure(), LeaseToken: forged},
		{Task: spec("a"), Failure: failure(), LeaseToken: tokens[1]},
	} {
		if err := report(r); err == nil {
			t.Errorf("%v was taken", r)
		}
	}
	w.fail(tokens[0], failure())
	w.result()
	w.succeed(forged)
	w.result()
	panics := func(context.Context, []scheduler.Change) error {
		panic("boom") //nolint:forbidigo // It is what the test is about.
	}
	store.onCommit.Store(&panics)
	_ = report(&retryv1.ReportFailureRequest{Task: spec("e"), Failure: failure(), IdempotencyKey: "key-" + secret})
	fails := func(context.Context, []scheduler.Change) error { return errors.New("broken") }
	store.onCommit.Store(&fails)
	_ = report(&retryv1.ReportFailureRequest{Task: spec("f"), Failure: failure(), IdempotencyKey: "key-" + secret})
	store.onCommit.Store(nil)
	_, _ = s.retry.ExtendLease(s.ctx(), &retryv1.ExtendLeaseRequest{LeaseTokens: []string{tokens[1], forged}})
	_, _ = s.retry.ReleaseLease(s.ctx(), &retryv1.ReleaseLeaseRequest{LeaseToken: tokens[1]})
	_, _ = s.retry.ReleaseLease(s.ctx(), &retryv1.ReleaseLeaseRequest{LeaseToken: forged})
	_, _ = s.pol.ListPolicies(s.ctx(), &retryv1.ListPoliciesRequest{PageToken: secret})
	for _, id := range []string{"a", "b", secret} {
		for _, operate := range s.operations() {
			_, _ = operate(s.ctx(), "", id)
		}
	}
	_, _ = s.tasks.ListTasks(s.ctx(), &retryv1.ListTasksRequest{PageToken: secret})
	_, _ = s.tasks.ListDeadLetterGroups(s.ctx(), &retryv1.ListDeadLetterGroupsRequest{})
	_, _ = s.tasks.DiscardTasks(s.ctx(), &retryv1.DiscardTasksRequest{State: retryv1.Task_STATE_DEAD, PageToken: secret})
	_, _ = s.jobs.CreateJob(s.ctx(), &retryv1.CreateJobRequest{Job: &retryv1.Job{Id: secret, Etag: secret, DisplayName: secret}})
	_, _ = s.queues.GetQueue(s.ctx(), &retryv1.GetQueueRequest{Queue: secret})
	_, _ = s.groups.GetGroup(s.ctx(), &retryv1.GetGroupRequest{Group: secret})
	w.flow(-1)
	_ = w.end()
	s.stopServer()
	log := s.log.String()
	for _, word := range append([]string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), forged}, tokens...) {
		if strings.Contains(log, word) {
			t.Errorf("%q is in the log", word)
		}
	}
	for _, word := range []string{"RetryService/ReportFailure", "RetryService/Subscribe", "INVALID_REQUEST", `"code":"Internal"`, "boom", "duration_ms", "peer"} {
		if !strings.Contains(log, word) {
			t.Errorf("%q is not in the log:\n%s", word, log)
		}
	}
}

func TestReflection(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{Reflection: true})
	conn := s.dial()
	v1, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(s.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if err := v1.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	got, err := v1.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, service := range got.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	for _, want := range append(services(), "grpc.health.v1.Health") {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not told among %q", want, names)
		}
	}
	alpha, err := reflectionv1alpha.NewServerReflectionClient(conn).ServerReflectionInfo(s.ctx())
	if err != nil {
		t.Fatal(err)
	}
	//nolint:staticcheck // Older tools speak nothing else.
	if err := alpha.Send(&reflectionv1alpha.ServerReflectionRequest{MessageRequest: &reflectionv1alpha.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := alpha.Recv(); err != nil {
		t.Errorf("v1alpha: %v", err)
	}
	_ = v1.CloseSend()
	_ = alpha.CloseSend()

	hidden := setup(t, server.Config{})
	stream, err := reflectionv1.NewServerReflectionClient(hidden.dial()).ServerReflectionInfo(s.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("without the flag: %v", err)
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	if _, err := server.New(server.Config{}, nil); err == nil {
		t.Error("a server without a scheduler was made")
	}
	_, err := server.New(server.Config{MaxConnections: -1, MaxStreams: -1, DrainTimeout: -1, SendTimeout: -1, MaxConnectionAge: -1, ConnectionAgeGrace: -1}, s.sched)
	if err == nil || strings.Count(err.Error(), "cannot be negative") != 6 {
		t.Errorf("got %v", err)
	}
}
