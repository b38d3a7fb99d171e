package server

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/encoding/protowire"
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

// FuzzFrames holds the reader of frames to the same counts, however what a client sends
// is cut into pieces: it counts before anything else has looked at it.
func FuzzFrames(f *testing.F) {
	var sent bytes.Buffer
	out := http2.NewFramer(&sent, nil)
	for _, err := range []error{
		out.WriteSettings(),
		out.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("x"), EndHeaders: true}),
		out.WriteDataPadded(1, false, []byte("abcd"), make([]byte, 3)),
		out.WriteData(1, true, make([]byte, tinyFrame)),
		out.WriteDataPadded(3, false, nil, nil),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	for _, cuts := range []string{"", "\x00", "\x02\x06", "\xff"} {
		f.Add([]byte(http2.ClientPreface+sent.String()), []byte(cuts))
	}
	// A padded frame without room for what says how much.
	f.Add([]byte(http2.ClientPreface+"\x00\x00\x00\x00\x08\x00\x00\x00\x01"+"\x00\x00\x01\x00\x08\x00\x00\x00\x01\xff"), []byte{9})
	f.Fuzz(func(t *testing.T, sent, cuts []byte) {
		type sums struct{ bytes, tiny, crumbs, calls int }
		whole, inPieces := newFrames(), newFrames()
		var want, got sums
		want.bytes, want.tiny, want.crumbs, want.calls = whole.read(sent)
		for i, rest := 0, sent; len(rest) > 0; i++ {
			n := len(rest)
			if len(cuts) > 0 {
				n = min(n, 1+int(cuts[i%len(cuts)]))
			}
			bytes, tiny, crumbs, calls := inPieces.read(rest[:n])
			got = sums{got.bytes + bytes, got.tiny + tiny, got.crumbs + crumbs, got.calls + calls}
			rest = rest[n:]
		}
		if got != want || inPieces != whole {
			t.Errorf("in pieces: %+v and then %+v, at once: %+v and then %+v", got, inPieces, want, whole)
		}
		frames := len(sent) / frameHeadBytes
		if want.bytes > len(sent) || want.tiny > frames || want.crumbs+want.calls > frames || whole.left < 0 {
			t.Errorf("of %d bytes: %+v and then %+v", len(sent), want, whole)
		}
	})
}

// FuzzCutBatch has batches cut: of one that can be decoded no report is left out that may
// be taken, nor changed, and no more are decoded than show that there are too many.
func FuzzCutBatch(f *testing.F) {
	one, err := proto.Marshal(&retryv1.BatchReportRequest{Namespace: "n", Reports: []*retryv1.Report{
		{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "t"}, Failure: okFailure()}}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	empty := protowire.AppendBytes(protowire.AppendTag(nil, reportsField, protowire.BytesType), nil)
	other := protowire.AppendVarint(protowire.AppendTag(nil, reportsField, protowire.VarintType), 1)
	for _, middle := range [][]byte{nil, empty, other, one, protowire.AppendTag(nil, reportsField, protowire.StartGroupType)} {
		for _, times := range []uint16{0, 1, maxBatch - 1, maxBatch, maxBatch + 1} {
			f.Add(one, middle, times, one)
		}
	}
	f.Add([]byte{0xff}, empty, uint16(maxBatch+1), []byte{})
	f.Fuzz(func(t *testing.T, first, middle []byte, times uint16, last []byte) {
		sent := append(bytes.Clone(first), bytes.Repeat(middle, int(times)%(2*maxBatch))...)
		sent = append(sent, last...)
		kept := cutBatch(sent)
		if !bytes.HasPrefix(sent, kept) {
			t.Fatalf("%d bytes became %d others", len(sent), len(kept))
		}
		var want, got retryv1.BatchReportRequest
		if proto.Unmarshal(sent, &want) != nil {
			return
		}
		if err := proto.Unmarshal(kept, &got); err != nil {
			t.Fatalf("what is kept of a batch in order cannot be decoded: %v", err)
		}
		if n := len(want.GetReports()); n <= maxBatch && len(kept) < len(sent) {
			t.Fatalf("a batch of %d reports was cut", n)
		}
		want.Reports = want.GetReports()[:min(len(want.GetReports()), maxBatch+1)]
		if len(got.GetReports()) != len(want.GetReports()) {
			t.Fatalf("%d reports were kept, want %d", len(got.GetReports()), len(want.GetReports()))
		}
		for i, r := range got.GetReports() {
			if !proto.Equal(r, want.GetReports()[i]) {
				t.Fatalf("report %d became another", i)
			}
		}
	})
}
