package hostile_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func bodyAttacks() []attack {
	return []attack{
		{name: "bodies of 5 MB", run: sending(5_000_000, codes.ResourceExhausted)},
		{name: "gzip bombs", run: sending(100_000_000, codes.Unimplemented, grpc.UseCompressor(gzip.Name))},
		{name: "messages nested 100,000 deep", run: nested},
		{name: "full batches", run: fullBatches},
		{name: "7,900 batches whose answers are not read", run: unreadBatches, most: 500 * time.Millisecond},
		{name: "bodies that never end", run: unfinishedBodies(4, 900)},
		{name: "one body that never ends on each of 1,500 connections", run: unfinishedBodies(1500, 1)},
	}
}

// sending sends bodies of a size, again and again, and wants each to be refused
// with a code.
func sending(size int, want codes.Code, opts ...grpc.CallOption) func(context.Context, *assailant) error {
	return func(ctx context.Context, a *assailant) error {
		return a.sendAll(ctx, 4, protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, size)), want, opts...)
	}
}

// sendAll calls with one body over and over, from several callers.
func (a *assailant) sendAll(ctx context.Context, callers int, body []byte, want codes.Code, opts ...grpc.CallOption) error {
	conn, err := a.dial(grpc.WithDefaultCallOptions(append(slices.Clone(opts), grpc.ForceCodec(asIs{}))...))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var wg sync.WaitGroup
	var once sync.Once
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				var reply []byte
				got := conn.Invoke(ctx, retryv1.RetryService_BatchReport_FullMethodName, body, &reply)
				if ended(ctx, got) {
					return
				}
				a.sawStatus(got)
				if status.Code(got) != want {
					once.Do(func() { err = fmt.Errorf("want %s: %w", want, got) })
					return
				}
			}
		})
	}
	wg.Wait()
	return err
}

// nested sends groups within groups, which a reader of what it does not know
// follows down.
func nested(ctx context.Context, a *assailant) error {
	var body []byte
	for range 100_000 {
		body = protowire.AppendTag(body, 100, protowire.StartGroupType)
	}
	for range 100_000 {
		body = protowire.AppendTag(body, 100, protowire.EndGroupType)
	}
	return a.sendAll(ctx, 4, body, codes.Internal)
}

// fullBatches sends as many reports as a call holds, each wrong in many ways.
func fullBatches(ctx context.Context, a *assailant) error {
	report := protowire.AppendTag(nil, 2, protowire.BytesType)
	report = protowire.AppendBytes(report, nil)
	body := bytes.Repeat(report, 400_000/len(report))
	return a.sendAll(ctx, 8, body, codes.InvalidArgument)
}

// unreadBatches sends batches of empty reports, and reads nothing of what is wrong with
// each of them.
func unreadBatches(ctx context.Context, a *assailant) error {
	const conns, each = 8, 990
	batch := new(retryv1.BatchReportRequest)
	for range 1000 {
		batch.Reports = append(batch.Reports, &retryv1.Report{})
	}
	var open []*grpc.ClientConn
	defer func() { closeAll(open) }()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range conns {
		conn, err := a.dial(grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<16))
		if err != nil {
			return err
		}
		open = append(open, conn)
		for range each {
			wg.Go(func() {
				stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, retryv1.RetryService_BatchReport_FullMethodName)
				if err == nil && stream.SendMsg(batch) == nil && stream.CloseSend() == nil {
					a.saw(1, "batches")
				}
			})
		}
	}
	hold(ctx)
	return nil
}

// unfinishedBodies leaves calls alone just before their messages end, which by
// then are held in memory, as many on each connection.
func unfinishedBodies(conns, calls int) func(context.Context, *assailant) error {
	return func(ctx context.Context, a *assailant) error {
		var wg sync.WaitGroup
		for range conns {
			transport := &http.Transport{
				Protocols:   new(http.Protocols),
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return a.connect(ctx) },
			}
			transport.Protocols.SetUnencryptedHTTP2(true)
			for range calls {
				wg.Go(func() { a.unfinishedBody(ctx, transport) })
			}
		}
		wg.Wait()
		return nil
	}
}

func (a *assailant) unfinishedBody(ctx context.Context, transport *http.Transport) {
	const size = 500_000
	head := binary.BigEndian.AppendUint32([]byte{0}, size)
	body := &unfinished{ctx: ctx, head: head}
	body.left.Store(size - 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.addr+retryv1.RetryService_BatchReport_FullMethodName, body)
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	resp, err := transport.RoundTrip(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		a.saw(1, "ended with grpc-status %s", cmp.Or(resp.Trailer.Get("Grpc-Status"), resp.Header.Get("Grpc-Status")))
	} else if ctx.Err() == nil {
		a.saw(1, "ended without an answer")
	}
	a.saw((size-int(body.left.Load()))>>10, "KiB sent")
}

// unfinished is a body whose last byte never comes.
type unfinished struct {
	ctx  context.Context //nolint:containedctx // a reader takes none
	head []byte
	// left is read while an answer that came early has the body go on.
	left atomic.Int64
}

func (u *unfinished) Read(p []byte) (int, error) {
	if len(u.head) > 0 {
		n := copy(p, u.head)
		u.head = u.head[n:]
		return n, nil
	}
	left := int(u.left.Load())
	if left == 0 {
		<-u.ctx.Done()
		return 0, u.ctx.Err()
	}
	n := min(len(p), left)
	clear(p[:n])
	u.left.Add(-int64(n))
	return n, nil
}
