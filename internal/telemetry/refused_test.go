package telemetry_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/telemetry"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/access"
)

// TestAFloodOfRefusedReportsDoesNotFillTheDisk has reports refused as fast as can be, in
// a bubble in which no time passes but on demand.
func TestAFloodOfRefusedReportsDoesNotFillTheDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		lines := telemetry.NewLogBuffer(&log)
		decisions := telemetry.NewDecisionLog(lines, false)
		refuse := func(kind scheduler.Kind, times int) []string {
			t.Helper()
			log.Reset()
			for range times {
				decisions.Reported(t.Context(), scheduler.ReportEvent{
					Report: &scheduler.Report{Failure: &policy.Failure{}}, Answer: &scheduler.Answer{}, Err: &scheduler.Error{Kind: kind},
				})
			}
			lines.Flush()
			return strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
		}
		wants := func(lines []string, n int, reason, more string) {
			t.Helper()
			if len(lines) != n {
				t.Errorf("there are %d lines of %s, want %d", len(lines), reason, n)
			}
			if first := lines[0]; !strings.HasSuffix(first, " reason="+reason+more) {
				t.Errorf("the first line of %s is %q, want it to end with %q", reason, first, more)
			}
			for _, line := range lines[1:] {
				if !strings.HasSuffix(line, " reason="+reason) {
					t.Errorf("a line of %s is %q", reason, line)
				}
			}
		}
		wants(refuse(scheduler.KindInvalid, 1000), 20, "INVALID_REQUEST", "")
		// The others have their own.
		wants(refuse(scheduler.KindPolicyNotFound, 3), 3, "POLICY_NOT_FOUND", "")
		<-time.After(time.Second)
		wants(refuse(scheduler.KindInvalid, 1000), 5, "INVALID_REQUEST", " unlogged_before=980")
		wants(refuse(scheduler.KindPolicyNotFound, 1), 1, "POLICY_NOT_FOUND", "")
	})
}

// TestRefusedReportIsLoggedWithWhoseItWas shows what a line tells of reports in which
// something is wrong: who has sent them, and of what they hold the namespace alone, where
// it can be one.
func TestRefusedReportIsLoggedWithWhoseItWas(t *testing.T) {
	t.Parallel()
	const token = "s3cr3t-token"
	path := filepath.Join(t.TempDir(), "access.yaml")
	file := fmt.Sprintf("tokens: [{name: till, sha256: %x}]\nbindings: [{identity: token:till, roles: [reporter], namespaces: ['*']}]\n", sha256.Sum256([]byte(token)))
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	control, err := access.New(access.Config{File: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+token))
	ctx = peer.NewContext(ctx, &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}})
	if ctx, err = control.Identify(ctx, retryv1.RetryService_ReportFailure_FullMethodName); err != nil {
		t.Fatal(err)
	}
	const who = " identity=token:till peer=192.0.2.1:7\n"
	tooLarge := policy.Violation{Field: "task.payload", Description: "has s3cr3t"}
	for name, row := range map[string]struct {
		namespace string
		err       error
		want      string
	}{
		"invalid":                    {"shop", scheduler.Invalid(policy.Violation{Field: "task.id"}), " namespace=shop kind=success reason=INVALID_REQUEST"},
		"invalid, namespace as well": {"s3cr3t: no name", scheduler.Invalid(policy.Violation{Field: "namespace"}), " kind=success reason=INVALID_REQUEST"},
		"too large": {
			"shop", &scheduler.Error{Kind: scheduler.KindPayloadTooLarge, Violations: []policy.Violation{tooLarge}},
			" namespace=shop task=s3cr3t kind=success reason=PAYLOAD_TOO_LARGE",
		},
		"too large, and more": {
			"s3cr3t!", &scheduler.Error{Kind: scheduler.KindPayloadTooLarge, Violations: []policy.Violation{tooLarge, {Field: "namespace"}}},
			" kind=success reason=PAYLOAD_TOO_LARGE",
		},
	} {
		var log bytes.Buffer
		lines := telemetry.NewLogBuffer(&log)
		telemetry.NewDecisionLog(lines, false).Reported(ctx, scheduler.ReportEvent{
			Report: &scheduler.Report{
				Namespace: row.namespace, ID: "s3cr3t", Key: "s3cr3t", Token: "s3cr3t", Message: "s3cr3t",
				Spec: scheduler.Spec{Payload: []byte("s3cr3t")},
			},
			Answer: &scheduler.Answer{}, Err: row.err,
		})
		lines.Flush()
		if got := log.String(); !strings.HasSuffix(got, `msg="report refused"`+row.want+who) {
			t.Errorf("%s: the line is %q, want it to end with %q", name, got, row.want+who)
		}
	}
}
