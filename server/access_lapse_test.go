package server_test

import (
	"os"
	"strings"
	"testing"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
	"github.com/retryd/retryd/server/access"
)

// A stream whose caller loses what it was opened with is drained, may settle what it
// holds, and ends.
func TestStreamsEndWithTheirCredentials(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, reason string }{
		{"the token is taken out", "UNAUTHENTICATED"},
		{"the role is taken away", "PERMISSION_DENIED"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			text := tokens("")
			path := accessFile(t, text)
			s := setup(t, server.Config{Access: control(t, path, access.Config{})})
			client := retryv1.NewRetryServiceClient(s.as("worker"))
			if _, err := retryv1.NewPolicyServiceClient(s.as("admin")).CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Namespace: own, Policy: fixed("quick", time.Millisecond)}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
				Namespace: own, Task: &retryv1.TaskSpec{Id: "t", Queue: "q", Policy: "quick"}, Failure: httpFailure(503),
			}); err != nil {
				t.Fatal(err)
			}
			w := s.open(client, &retryv1.Open{Namespace: own, Queues: []string{"q"}})
			token := w.attempt().GetLeaseToken()
			var left []string
			for line := range strings.Lines(text) {
				if strings.Contains(line, "token:worker") || row.reason == "UNAUTHENTICATED" && strings.Contains(line, "name: worker") {
					continue
				}
				left = append(left, line)
			}
			if err := os.WriteFile(path, []byte(strings.Join(left, "")), 0o600); err != nil {
				t.Fatal(err)
			}
			if msg := w.recv(); msg.GetDrain() == nil {
				t.Fatalf("got %v, want drain", msg)
			}
			w.succeed(token)
			if got := w.result(); got.GetSuccess() == nil {
				t.Errorf("the outcome after drain: %v", got)
			}
			if got := tell(w.end()); got.reason != row.reason {
				t.Errorf("the stream ended with %+v, want %s", got, row.reason)
			}
			_, err := client.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{Namespace: own})
			if got := tell(err); got.reason != row.reason {
				t.Errorf("a call is answered %+v, want %s", got, row.reason)
			}
		})
	}
}

func TestStreamsEndWhenTokensExpire(t *testing.T) {
	t.Parallel()
	ends := time.Now().Add(4 * time.Second).UTC().Format(time.RFC3339Nano)
	text := strings.Replace(tokens(""), "{name: worker,", "{name: worker, expires: "+ends+",", 1)
	s := setup(t, server.Config{Access: control(t, accessFile(t, text), access.Config{})})
	w := s.open(retryv1.NewRetryServiceClient(s.as("worker")), &retryv1.Open{Namespace: own, Queues: []string{"q"}})
	if msg := w.recv(); msg.GetDrain() == nil {
		t.Fatalf("got %v, want drain", msg)
	}
	if got := tell(w.end()); got.reason != "UNAUTHENTICATED" {
		t.Errorf("the stream ended with %+v", got)
	}
}
