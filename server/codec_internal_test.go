package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
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

// TestBatchesWaitForRoom has as many reports worked on as may be at once.
func TestBatchesWaitForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lis, _, _ := paced()
		g := visit(t, lis, 1)
		room := lis.batches
		if !room.TryAcquire(maxInBatches - maxBatch) {
			t.Fatal("there is no room at first")
		}
		size := 2 * maxBatch
		batch := func(ctx context.Context) (call *countedStream, received chan error) {
			call = begin(&bodies{ctx: peer.NewContext(ctx, &peer.Peer{Addr: g.bounded.RemoteAddr()}), body: &size}, true)
			received = make(chan error, 1)
			go func() { received <- call.RecvMsg(new(retryv1.BatchReportRequest)) }()
			synctest.Wait()
			return call, received
		}
		first, received := batch(t.Context())
		if err := <-received; err != nil {
			t.Fatal(err)
		}
		second, waits := batch(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		third, late := batch(ctx)
		if len(waits) != 0 {
			t.Fatal("a batch is decoded for which there is no room")
		}
		if err := <-late; status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("a batch whose turn did not come in time: %v", err)
		}
		third.end(ctx)
		first.end(t.Context())
		if err := <-waits; err != nil {
			t.Error(err)
		}
		second.end(t.Context())
		room.Release(maxInBatches - maxBatch)
		if !room.TryAcquire(maxInBatches) {
			t.Error("not all room is free in the end")
		}
	})
}

// TestFewLargeMessagesAreDecodedAtOnce has as many decoded as may be.
func TestFewLargeMessagesAreDecodedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCodec()
		for range cap(c.decoding) {
			c.decoding <- struct{}{}
		}
		decoded := make(chan int, 2)
		for _, n := range []int{largeMessage, 100} {
			body, err := proto.Marshal(&retryv1.TaskSpec{Payload: make([]byte, n)})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				var got retryv1.TaskSpec
				if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(body)}, &got); err != nil {
					t.Error(err)
				}
				decoded <- len(got.GetPayload())
			}()
		}
		synctest.Wait()
		if n := len(decoded); n != 1 || <-decoded != 100 {
			t.Errorf("%d messages are decoded, want the small one", n)
		}
		<-c.decoding
		if n := <-decoded; n != largeMessage {
			t.Errorf("a message of %d bytes is decoded, want the large one", n)
		}
		if n := len(c.decoding); n != cap(c.decoding)-1 {
			t.Errorf("%d are being decoded in the end", n)
		}
	})
}
