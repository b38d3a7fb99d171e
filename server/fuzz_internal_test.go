package server

import (
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// FuzzReportFailureRequest holds the checks to an answer for whatever a client
// can send: all that is wrong, or a report that the scheduler may take.
func FuzzReportFailureRequest(f *testing.F) {
	for _, r := range []*retryv1.ReportFailureRequest{
		{},
		{Namespace: "n", Task: &retryv1.TaskSpec{Id: "t", Queue: "q", Policy: "p", TimeZone: "Asia/Tokyo"}, Attempt: 2, Failure: okFailure()},
		{Task: &retryv1.TaskSpec{Deadline: badTime()}, Failure: &retryv1.Failure{RetryAfter: badDuration(), Cause: &retryv1.Failure_Outcome{Outcome: "x"}}},
	} {
		data, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := new(retryv1.ReportFailureRequest)
		if proto.Unmarshal(data, r) != nil {
			return
		}
		var c checker
		report := c.reportFailure(c.namespace(r.GetNamespace()), r)
		if err := c.err(); err != nil {
			e, ok := errors.AsType[*scheduler.Error](err)
			if !ok || len(e.Violations) == 0 {
				t.Fatalf("an error without violations: %v", err)
			}
			for _, v := range e.Violations {
				if v.Field == "" || v.Description == "" || len(v.Description) > 2000 {
					t.Fatalf("violation %+v", v)
				}
			}
			return
		}
		if report.Failure.Validate() != nil || len(report.Failure.Message) > 1024 || report.Namespace == "" || report.Attempt < 0 {
			t.Fatalf("let through: %+v", report)
		}
	})
}

func FuzzPageToken(f *testing.F) {
	list := listing{kind: "policies", namespace: "default", filter: []string{"x"}}
	f.Add("")
	f.Add(list.token("a"))
	f.Add(listing{}.token("a"))
	f.Fuzz(func(t *testing.T, token string) {
		id, ok := list.after(token)
		if ok && list.token(id) != token {
			t.Fatalf("%q is a second spelling of the token of %q", token, id)
		}
	})
}

// FuzzPosition holds the reader of positions to one spelling of each, and to the
// listing's namespace.
func FuzzPosition(f *testing.F) {
	place := scheduler.Place{MS: 7, Key: scheduler.TaskKey{Namespace: "n", ID: "x"}}
	for _, p := range []position{
		{cursor: scheduler.Cursor{Index: scheduler.Index{Kind: scheduler.IndexDue, Namespace: "n"}}},
		{scheduler.Cursor{Index: scheduler.Index{Kind: scheduler.IndexFingerprint, Namespace: "n", Name: "q", Fingerprint: 3}, Place: place}, 9, 8},
	} {
		text, _ := listing{}.after(p.token(listing{}))
		f.Add(text)
	}
	f.Add("")
	f.Add(strings.Repeat("\xff", positionFixed+math.MaxUint8))
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := parsePosition("n", text)
		if !ok {
			return
		}
		index, key := p.cursor.Index, p.cursor.Place.Key
		if index.Namespace != "n" || index.Kind == scheduler.IndexEnding || key.ID != "" && key.Namespace != "n" {
			t.Fatalf("%q leads to %+v", text, p)
		}
		if again, _ := (listing{}).after(p.token(listing{})); again != text {
			t.Fatalf("%q is a second spelling of %+v", text, p)
		}
	})
}
