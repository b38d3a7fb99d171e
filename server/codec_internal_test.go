package server

import (
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// TestCodecDecodesNoMoreThanItMust has batches come that are in order, too large,
// and broken.
func TestCodecDecodesNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	encoded := func(reports int) []byte {
		r := &retryv1.BatchReportRequest{Namespace: "n"}
		for range reports {
			r.Reports = append(r.Reports, &retryv1.Report{})
		}
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for sent, want := range map[int]int{0: 0, 1: 1, maxBatch: maxBatch, maxBatch + 1: maxBatch + 1, 200_000: maxBatch + 1} {
		body := encoded(sent)
		var got retryv1.BatchReportRequest
		in := arrival{msg: &got}
		if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(body[:1]), mem.SliceBuffer(body[1:])}, &in); err != nil {
			t.Fatal(err)
		}
		if len(got.GetReports()) != want || got.GetNamespace() != "n" {
			t.Errorf("of %d reports %d were decoded, in namespace %q; want %d", sent, len(got.GetReports()), got.GetNamespace(), want)
		}
		if cut := sent > maxBatch+1; in.cut != cut {
			t.Errorf("of %d reports some were left out: %t, want %t", sent, in.cut, cut)
		}
		if in.bytes != prefixBytes+len(body) {
			t.Errorf("a message of %d bytes took %d; want 5 more", len(body), in.bytes)
		}
	}
	broken := append(encoded(maxBatch), 0xff)
	if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(broken)}, &retryv1.BatchReportRequest{}); err == nil {
		t.Error("a broken batch was decoded")
	}
}
