package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/server"
)

// listen serves on a port of loopback until the test ends, so that clients may
// come from several hosts, and returns it.
func listen(t *testing.T, cfg server.Config) (srv *server.Server, addr string) {
	t.Helper()
	sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.DrainTimeout = time.Second
	if srv, err = server.New(cfg, sched); err != nil {
		t.Fatal(err)
	}
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- srv.Run(ctx, lis) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return srv, lis.Addr().String()
}

// connectFrom connects by gRPC from one of the addresses of loopback, each of
// which is a host.
func connectFrom(t *testing.T, host byte, addr string) *grpc.ClientConn {
	t.Helper()
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return from.DialContext(ctx, "tcp", addr) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestHostMayHaveHalfOfTheConnections(t *testing.T) {
	t.Parallel()
	srv, addr := listen(t, server.Config{MaxConnections: 4})
	check := func(conn *grpc.ClientConn) error {
		_, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		return err
	}
	first := connectFrom(t, 2, addr)
	for _, conn := range []*grpc.ClientConn{first, connectFrom(t, 2, addr)} {
		if err := check(conn); err != nil {
			t.Fatal(err)
		}
	}
	third := connectFrom(t, 2, addr)
	if err := check(third); status.Code(err) != codes.Unavailable {
		t.Errorf("a third of one host: %v", err)
	}
	if srv.Counters().RefusedConnections == 0 {
		t.Error("no refused connection was counted")
	}
	if err := check(connectFrom(t, 3, addr)); err != nil {
		t.Errorf("one of another host: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := healthpb.NewHealthClient(third).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}

func TestStreamsAreCapped(t *testing.T) {
	t.Parallel()
	srv, addr := listen(t, server.Config{MaxStreams: 4, Reflection: true})
	open := func(host byte) (leave context.CancelFunc, err error) {
		ctx, cancel := context.WithCancel(t.Context())
		return cancel, openStream(ctx, connectFrom(t, host, addr))
	}
	refused := func(what string, err error) {
		t.Helper()
		if got := tell(err); got.code != "Unavailable" || got.reason != "TOO_MANY_STREAMS" || !got.retry {
			t.Errorf("%s: %+v, error %v", what, got, err)
		}
	}
	leave, err := open(2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = open(2); err != nil {
		t.Fatal(err)
	}
	_, err = open(2)
	refused("a third of one host", err)
	for range 2 {
		if _, err := open(3); err != nil {
			t.Errorf("one of another host: %v", err)
		}
	}
	_, err = open(4)
	refused("one too many of all", err)
	if got := srv.Counters().RefusedStreams; got != 2 {
		t.Errorf("%d refused streams were counted, want 2", got)
	}
	leave()
	// There is room again as soon as the server has seen the first one go.
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err = open(4); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}

// openStream opens a stream of reflection, which answers at once, until ctx ends.
func openStream(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	// Recv tells what became of it.
	_ = stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	_, err = stream.Recv()
	return err
}

// TestHealthWatchesTakeNoRoomOfStreams has hosts watch health, for which nobody needs a
// credential, as much as they may.
func TestHealthWatchesTakeNoRoomOfStreams(t *testing.T) {
	t.Parallel()
	srv, addr := listen(t, server.Config{MaxStreams: 2, Reflection: true})
	watch := func(conn *grpc.ClientConn) (leave context.CancelFunc, err error) {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return cancel, err
	}
	refused := func(what string, err error) {
		t.Helper()
		if got := tell(err); got.code != "ResourceExhausted" || got.reason != "TOO_MANY_WATCHES" || !got.retry || !strings.Contains(err.Error(), "256") {
			t.Errorf("%s: %+v, error %v", what, got, err)
		}
	}
	var leave context.CancelFunc
	for host := byte(2); host <= 3; host++ {
		conn := connectFrom(t, host, addr)
		for i := range 128 {
			var err error
			if leave, err = watch(conn); err != nil {
				t.Fatalf("watch %d of host %d: %v", i, host, err)
			}
		}
		if host == 2 {
			_, err := watch(conn)
			refused("one more of one host", err)
		}
	}
	fourth := connectFrom(t, 4, addr)
	_, err := watch(fourth)
	refused("one too many of all", err)
	if _, err := healthpb.NewHealthClient(fourth).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("a check beside them: %v", err)
	}
	if got := srv.Counters().RefusedStreams; got != 2 {
		t.Errorf("%d refused streams were counted, want 2", got)
	}
	if got := srv.OpenStreams(); got != 0 {
		t.Errorf("%d streams are told beside watches, want none", got)
	}
	if err := openStream(t.Context(), connectFrom(t, 2, addr)); err != nil {
		t.Errorf("a stream beside them: %v", err)
	}
	leave()
	// There is room again as soon as the server has seen the last one go.
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err = watch(fourth); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}

// TestUnaryCallsAreNoStreams has calls come while there is no room for a stream:
// gRPC knows them as streams, of one message each way, but must not treat them so.
func TestUnaryCallsAreNoStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{MaxStreams: 1, Reflection: true})
		if err := openStream(t.Context(), s.dial()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.queues.ListQueues(s.ctx(), &retryv1.ListQueuesRequest{}); err != nil {
			t.Errorf("a call beside the one stream that there may be: %v", err)
		}
		synctest.Wait()
		if got := strings.Count(s.log.String(), `"method":"retry.v1.QueueService/ListQueues"`); got != 1 {
			t.Errorf("it was logged %d times, want once: %s", got, s.log.String())
		}
	})
}

// TestRefusedCallsAreNotTakenBack sends what cannot be decoded, as often as nobody
// may take calls back.
func TestRefusedCallsAreNotTakenBack(t *testing.T) {
	t.Parallel()
	srv, addr := listen(t, server.Config{})
	conn := connectFrom(t, 1, addr)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				err := conn.Invoke(t.Context(), retryv1.TaskService_GetTask_FullMethodName, "", nil, grpc.ForceCodecV2(broken{}))
				if status.Code(err) != codes.Internal {
					t.Errorf("got %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := srv.Counters().SlowedReads; got != 0 {
		t.Errorf("reading was put off %d times, want never", got)
	}
}

// broken is a codec of which every message is the same broken one.
type broken struct{}

func (broken) Name() string { return "proto" }

func (broken) Marshal(any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer("\xff\xff")}, nil
}

func (broken) Unmarshal(mem.BufferSlice, any) error { return nil }

func TestStreamsMustBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		stream, err := s.retry.Subscribe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// The call begins with its headers.
		synctest.Wait()
		began := time.Now()
		_, err = stream.Recv()
		if got := tell(err); got.reason != "INVALID_REQUEST" || len(got.violations) != 1 {
			t.Errorf("a stream that says nothing: %+v, error %v", got, err)
		}
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("it was ended after %s, want 10 s", d)
		}
	})
}

func TestCallMustArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		// A unary call whose message never comes, as a stream of the client's.
		stream, err := s.dial().NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, retryv1.TaskService_GetTask_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		if err := stream.RecvMsg(new(retryv1.GetTaskResponse)); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("it was ended with %v", err)
		}
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("it was ended after %s, want 5 s", d)
		}
	})
}

// frames is a connection on which frames are written by hand.
type frames struct {
	*http2.Framer
	conn  net.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
	next  uint32
}

func writeFrames(t *testing.T, addr string) *frames {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	f := &frames{Framer: http2.NewFramer(conn, conn), conn: conn, next: 1}
	f.enc = hpack.NewEncoder(&f.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// call begins a call without a message.
func (f *frames) call(method string) (id uint32, err error) {
	id = f.next
	f.next += 2
	f.block.Reset()
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		if err := f.enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			return 0, err
		}
	}
	return id, f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.block.Bytes(), EndHeaders: true})
}

// TestHostThatTakesBackCallsIsReadSlowly begins calls and takes them back, more than a
// host may at once.
func TestHostThatTakesBackCallsIsReadSlowly(t *testing.T) {
	t.Parallel()
	srv, addr := listen(t, server.Config{})
	f := writeFrames(t, addr)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(io.Discard, f.conn) })
	for deadline := time.Now().Add(20 * time.Second); srv.Counters().SlowedReads == 0; {
		id, err := f.call(retryv1.RetryService_Subscribe_FullMethodName)
		if err == nil {
			err = f.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		if err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("it is still read from as fast as it sends")
		}
	}
	if err := f.conn.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// TestCompressedMessagesAreRefused sends them to a server whose process knows how to read
// them, as one that exports traces does.
func TestCompressedMessagesAreRefused(t *testing.T) {
	t.Parallel()
	_, addr := listen(t, server.Config{})
	conn := connectFrom(t, 1, addr)
	retry := retryv1.NewRetryServiceClient(conn)
	_, err := retry.ReportFailure(t.Context(), &retryv1.ReportFailureRequest{}, grpc.UseCompressor(gzip.Name))
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), `"gzip"`) {
		t.Errorf("a compressed call ends with %v", err)
	}
	stream, err := retry.Subscribe(t.Context(), grpc.UseCompressor(gzip.Name))
	if err == nil {
		err = stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: &retryv1.Open{Queues: []string{"q"}}}})
	}
	if err == nil || errors.Is(err, io.EOF) { // it may have ended before
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("a compressed stream ends with %v", err)
	}
	if _, err := retry.ReportFailure(t.Context(), &retryv1.ReportFailureRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a call that is not compressed ends with %v, want it to be read", err)
	}
}
