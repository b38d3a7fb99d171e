package server_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
	"github.com/retryd/retryd/server/access"
)

// own is the namespace to which the tokens of tests are bound, each to the role of
// its name, and foreign one to which none is.
const own, foreign = "own", "foreign"

// tokens is an access file of tokens that are bound to the role of the same name;
// "stranger" is bound to nothing.
func tokens(more string) string {
	var b strings.Builder
	b.WriteString("tokens:\n")
	for _, name := range []string{"reporter", "worker", "operator", "admin", "stranger", "neighbour"} {
		fmt.Fprintf(&b, "- {name: %s, sha256: %x}\n", name, sha256.Sum256([]byte(secretOf(name))))
	}
	b.WriteString("bindings:\n")
	for _, name := range []string{"reporter", "worker", "operator", "admin"} {
		fmt.Fprintf(&b, "- {identity: token:%s, roles: [%[1]s], namespaces: [%s]}\n", name, own)
	}
	fmt.Fprintf(&b, "- {identity: token:neighbour, roles: [reporter, worker, operator, admin], namespaces: [%s]}\n", foreign)
	return b.String() + more
}

// secretOf is the token of a name.
func secretOf(name string) string { return "a-secret-of-" + name }

// accessFile writes an access file.
func accessFile(tb testing.TB, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func control(tb testing.TB, path string, cfg access.Config) *access.Control {
	tb.Helper()
	cfg.File = path
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c, err := access.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// bearer is a token that is sent with every call.
type bearer string

var _ credentials.PerRPCCredentials = bearer("")

// GetRequestMetadata returns the header.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is false: the tests' connections leave no process.
func (bearer) RequireTransportSecurity() bool { return false }

// as is a connection of the bearer of a name's token; empty brings none.
func (s *site) as(name string) *grpc.ClientConn {
	s.t.Helper()
	if name == "" {
		return s.dial()
	}
	return s.dial(grpc.WithPerRPCCredentials(bearer(secretOf(name))))
}

func accessSite(tb testing.TB) *site {
	tb.Helper()
	return setup(tb, server.Config{Reflection: true, Access: control(tb, accessFile(tb, tokens("")), access.Config{})})
}

// TestCallersAreKnownBeforeTheirMessages begins calls and streams without a credential, of
// which not a message ever comes.
func TestCallersAreKnownBeforeTheirMessages(t *testing.T) {
	t.Parallel()
	s := accessSite(t)
	conn := s.dial()
	for _, method := range []string{retryv1.TaskService_GetTask_FullMethodName, retryv1.RetryService_Subscribe_FullMethodName} {
		stream, err := conn.NewStream(s.ctx(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(new(retryv1.GetTaskResponse)); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s ends with %v", method, err)
		}
	}
	if got := s.srv.Denials(access.NoCredential); got != 2 {
		t.Errorf("%d denials were counted, want 2", got)
	}
}

// The token of a lease means nothing in the hands of those who may not call in its
// namespace, whatever they do with it.
func TestTokenOfForeignNamespaceDoesNothing(t *testing.T) {
	t.Parallel()
	s := accessSite(t)
	ours, theirs := retryv1.NewRetryServiceClient(s.as("worker")), retryv1.NewRetryServiceClient(s.as("neighbour"))
	_, err := retryv1.NewPolicyServiceClient(s.as("admin")).CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Namespace: own, Policy: fixed("quick", time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ours.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
		Namespace: own, Task: &retryv1.TaskSpec{Id: "t", Queue: "q", Policy: "quick"}, Failure: httpFailure(503),
	}); err != nil {
		t.Fatal(err)
	}
	w := s.open(ours, &retryv1.Open{Namespace: own, Queues: []string{"q"}})
	token := w.attempt().GetLeaseToken()

	for _, namespace := range []string{own, foreign, ""} {
		calls := map[string]func() error{
			"ReportFailure": func() error {
				_, err := theirs.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{Namespace: namespace, LeaseToken: token, Failure: httpFailure(400)})
				return err
			},
			"ReportSuccess": func() error {
				_, err := theirs.ReportSuccess(s.ctx(), &retryv1.ReportSuccessRequest{Namespace: namespace, LeaseToken: token})
				return err
			},
			"ReleaseLease": func() error {
				_, err := theirs.ReleaseLease(s.ctx(), &retryv1.ReleaseLeaseRequest{Namespace: namespace, LeaseToken: token})
				return err
			},
			"ExtendLease": func() error {
				resp, err := theirs.ExtendLease(s.ctx(), &retryv1.ExtendLeaseRequest{Namespace: namespace, LeaseTokens: []string{token}})
				return itemError(err, resp.GetResults()[:min(1, len(resp.GetResults()))]...)
			},
			"BatchReport": func() error {
				resp, err := theirs.BatchReport(s.ctx(), &retryv1.BatchReportRequest{Namespace: namespace, Reports: []*retryv1.Report{{
					Report: &retryv1.Report_Success{Success: &retryv1.ReportSuccessRequest{LeaseToken: token}},
				}}})
				return itemError(err, resp.GetResults()[:min(1, len(resp.GetResults()))]...)
			},
		}
		want := codes.PermissionDenied
		if namespace == foreign {
			want = codes.InvalidArgument
		}
		for name, call := range calls {
			if err := call(); status.Code(err) != want {
				t.Errorf("%s in namespace %q with a token of another: %v, want %s", name, namespace, err, want)
			}
		}
	}
	stream := s.open(theirs, &retryv1.Open{Namespace: foreign, Queues: []string{"q"}})
	stream.succeed(token)
	stream.fail(token, httpFailure(400))
	stream.outcome(&retryv1.Outcome{LeaseToken: token, Result: &retryv1.Outcome_Release{Release: &retryv1.Release{}}})
	for range 3 {
		if got := stream.result().GetError().GetReason(); got != "INVALID_REQUEST" {
			t.Errorf("an outcome with a token of another namespace: reason %q, want INVALID_REQUEST", got)
		}
	}
	stream.send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Extend{Extend: &retryv1.Extend{LeaseTokens: []string{token}}}})
	if got := stream.recv().GetExtendResult().GetResults()[0].GetError().GetReason(); got != "INVALID_REQUEST" {
		t.Errorf("an extension with a token of another namespace: reason %q, want INVALID_REQUEST", got)
	}
	// Nothing has come of it.
	w.succeed(token)
	if got := w.result(); got.GetSuccess().GetAttempts() != 2 || got.GetSuccess().GetDuplicate() {
		t.Errorf("the worker's own outcome: %v, want a first success at attempt 2", got)
	}
}

// itemError is the error of a call, or of its first item.
func itemError[T interface{ GetError() *retryv1.ReportError }](err error, items ...T) error {
	if err != nil || len(items) == 0 {
		return err
	}
	if e := items[0].GetError(); e != nil {
		return status.Error(codes.Code(e.GetCode()), e.GetMessage()) //nolint:gosec // a code
	}
	return nil
}

// A batch must not carry reports of other namespaces in.
func TestBatchOfForeignReports(t *testing.T) {
	t.Parallel()
	s := accessSite(t)
	_, err := retryv1.NewRetryServiceClient(s.as("reporter")).BatchReport(s.ctx(), &retryv1.BatchReportRequest{Namespace: own, Reports: []*retryv1.Report{
		{Report: &retryv1.Report_Success{Success: &retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: "a"}}}},
		{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{Namespace: foreign, Task: &retryv1.TaskSpec{Id: "b"}}}},
	}})
	if got := tell(err); got.reason != "PERMISSION_DENIED" || got.metadata["identity"] != "token:reporter" {
		t.Errorf("got %+v, want PERMISSION_DENIED", got)
	}
}
