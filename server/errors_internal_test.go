package server

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// documented are the rows of the API's table of errors, those aside that nothing
// leads to yet.
func documented() map[string]codes.Code {
	return map[string]codes.Code{
		"INVALID_REQUEST":        codes.InvalidArgument,
		"PAYLOAD_TOO_LARGE":      codes.InvalidArgument,
		"POLICY_NOT_FOUND":       codes.NotFound,
		"JOB_NOT_FOUND":          codes.NotFound,
		"TASK_NOT_FOUND":         codes.NotFound,
		"QUEUE_NOT_FOUND":        codes.NotFound,
		"GROUP_NOT_FOUND":        codes.NotFound,
		"POLICY_EXISTS":          codes.AlreadyExists,
		"JOB_EXISTS":             codes.AlreadyExists,
		"KEY_REUSED":             codes.AlreadyExists,
		"POLICY_DELETED":         codes.FailedPrecondition,
		"POLICY_IN_USE":          codes.FailedPrecondition,
		"LEASE_LOST":             codes.FailedPrecondition,
		"LEASE_REQUIRED":         codes.FailedPrecondition,
		"ATTEMPT_OUT_OF_ORDER":   codes.FailedPrecondition,
		"WRONG_STATE":            codes.FailedPrecondition,
		"ETAG_MISMATCH":          codes.Aborted,
		"STORE_UNAVAILABLE":      codes.Unavailable,
		"DURABILITY_NOT_REACHED": codes.Unavailable,
		"STORE_FULL":             codes.ResourceExhausted,
		"QUOTA_EXCEEDED":         codes.ResourceExhausted,
	}
}

// kinds are all that the scheduler declares, read from its source, so that a new
// one cannot be forgotten here.
func kinds(t *testing.T) []scheduler.Kind {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../scheduler/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Kind") {
			n++
		}
		return true
	})
	if n < 2 {
		t.Fatal("no kinds found")
	}
	var out []scheduler.Kind
	for k := scheduler.KindUnspecified + 1; int(k) < n; k++ {
		out = append(out, k)
	}
	return out
}

func TestErrorTableIsComplete(t *testing.T) {
	t.Parallel()
	want := documented()
	got := make(map[string]codes.Code)
	for _, kind := range kinds(t) {
		o, ok := outcomeOf(kind)
		if !ok {
			t.Errorf("kind %d is not in the table", kind)
			continue
		}
		if _, twice := got[o.reason]; twice {
			t.Errorf("two kinds have the reason %s", o.reason)
		}
		got[o.reason] = o.code
		retryable := o.code == codes.Unavailable || o.code == codes.ResourceExhausted
		if (o.retryDelay > 0) != retryable {
			t.Errorf("%s: retry delay %s", o.reason, o.retryDelay)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the table says\n%v\nthe contract\n%v", got, want)
	}
	if _, ok := outcomeOf(scheduler.KindUnspecified); ok {
		t.Error("no kind at all is in the table")
	}
}

// TestErrorsTellTheSameEverywhere holds a call's status and an item's error to
// each other, for every kind.
func TestErrorsTellTheSameEverywhere(t *testing.T) {
	t.Parallel()
	f := newFailures(slog.New(slog.DiscardHandler))
	for _, kind := range kinds(t) {
		err := fmt.Errorf("wrapped: %w", &scheduler.Error{
			Kind: kind, Message: "what is wrong", Metadata: map[string]string{"a": "b"},
			Violations: []policy.Violation{{Field: "x", Description: "1"}, {Field: "y", Description: "2"}},
			RetryDelay: 3 * time.Second, Cause: errors.New("redis://secret:6379"),
		})
		s := status.Convert(f.status(t.Context(), err))
		item := f.item(t.Context(), err)
		var info *errdetails.ErrorInfo
		var fields, described []string
		var delay time.Duration
		for _, d := range s.Details() {
			switch d := d.(type) {
			case *errdetails.ErrorInfo:
				info = d
			case *errdetails.BadRequest:
				for _, v := range d.GetFieldViolations() {
					fields = append(fields, v.GetField()+v.GetDescription())
				}
			case *errdetails.RetryInfo:
				delay = d.GetRetryDelay().AsDuration()
			}
		}
		for _, v := range item.GetViolations() {
			described = append(described, v.GetField()+v.GetDescription())
		}
		switch {
		case info.GetDomain() != "retryd" || info.GetReason() != item.GetReason() || !maps.Equal(info.GetMetadata(), item.GetMetadata()):
			t.Errorf("kind %d: %v and %v", kind, info, item)
		case int32(s.Code()) != item.GetCode() || s.Message() != item.GetMessage():
			t.Errorf("kind %d: %v and %v", kind, s, item)
		case !slices.Equal(fields, described) || len(fields) != 2:
			t.Errorf("kind %d: violations %v and %v", kind, fields, described)
		case delay != item.GetRetryDelay().AsDuration():
			t.Errorf("kind %d: retry after %v and %v", kind, delay, item.GetRetryDelay().AsDuration())
		case delay != 0 && delay != 3*time.Second:
			t.Errorf("kind %d: the error's own delay is lost: %v", kind, delay)
		case strings.Contains(fmt.Sprint(s.Proto(), item), "redis"):
			t.Errorf("kind %d: the cause reaches the client: %v", kind, s)
		}
	}
}

func TestWhatIsNotInTheTable(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	f := newFailures(slog.New(slog.NewTextHandler(&log, nil)))
	for _, tc := range []struct {
		err  error
		code codes.Code
	}{
		{fmt.Errorf("x: %w", context.DeadlineExceeded), codes.DeadlineExceeded},
		{fmt.Errorf("x: %w", context.Canceled), codes.Canceled},
		{status.Error(codes.ResourceExhausted, "grpc: too large"), codes.ResourceExhausted},
	} {
		if got := status.Code(f.status(t.Context(), tc.err)); got != tc.code {
			t.Errorf("%v: got %v, want %v", tc.err, got, tc.code)
		}
	}
	if f.internal.Load() != 0 || log.Len() > 0 {
		t.Errorf("counted %d, logged %q", f.internal.Load(), log.String())
	}
	for i, err := range []error{errors.New("dial redis://10.0.0.1"), &scheduler.Error{Kind: 200, Message: "dial redis://10.0.0.1"}} {
		s := status.Convert(f.status(t.Context(), err))
		if s.Code() != codes.Internal || strings.Contains(s.String(), "redis") {
			t.Errorf("%v: got %v", err, s)
		}
		id := s.Details()[0].(*errdetails.ErrorInfo).GetMetadata()["error_id"]
		if !strings.Contains(s.Message(), id) || !strings.Contains(log.String(), "error_id="+id) || !strings.Contains(log.String(), "10.0.0.1") {
			t.Errorf("the log does not tell of %q: %s", id, log.String())
		}
		if got := f.internal.Load(); got != int64(i+1) {
			t.Errorf("counted %d", got)
		}
	}
	if f.status(t.Context(), nil) != nil {
		t.Error("no error is one")
	}
}
