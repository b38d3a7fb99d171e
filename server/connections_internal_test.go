package server

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// scripted is a connection of a host that has what it is given to read.
type scripted struct {
	net.Conn
	addr   net.Addr
	next   []byte
	closed bool
}

func (s *scripted) Read(p []byte) (int, error) {
	n := copy(p, s.next)
	s.next = s.next[n:]
	return n, nil
}
func (s *scripted) Close() error         { s.closed = true; return nil }
func (s *scripted) RemoteAddr() net.Addr { return s.addr }

// guest is a client of a listener's.
type guest struct {
	t testing.TB
	*scripted
	bounded *boundedConn
	watched net.Conn
	buf     [32 << 10]byte
}

// visit opens a connection from a host and has its preface read.
func visit(tb testing.TB, lis *boundedListener, hostNumber byte) *guest {
	tb.Helper()
	g := &guest{t: tb, scripted: &scripted{addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, hostNumber)}}}
	if g.bounded = lis.admit(g.scripted); g.bounded == nil {
		tb.Fatal("there was no room for a connection")
	}
	var err error
	if g.watched, _, err = (watchingCredentials{insecure.NewCredentials()}).ServerHandshake(g.bounded); err != nil {
		tb.Fatal(err)
	}
	g.reads(make([]byte, prefaceBytes))
	return g
}

func (g *guest) reads(p []byte) {
	g.t.Helper()
	g.next = p
	for len(g.next) > 0 {
		if _, err := g.watched.Read(g.buf[:]); err != nil {
			g.t.Fatal(err)
		}
	}
}

// sends has a frame read.
func (g *guest) sends(frameType byte, n int) {
	g.t.Helper()
	g.reads(frame(frameType, n))
}

// frame is one of a type with n bytes in it.
func frame(frameType byte, n int) []byte {
	head := binary.BigEndian.AppendUint32(nil, uint32(n)<<8|uint32(frameType))
	return append(head, make([]byte, frameHeadBytes-len(head)+n)...)
}

func (g *guest) holds(want int64) {
	g.t.Helper()
	if got := g.bounded.held.Load(); got != want {
		g.t.Errorf("it holds %d bytes, want %d", got, want)
	}
}

// call begins a call or a stream of the guest's, whose messages are as long as
// body.
func (g *guest) call(single bool, body *int) *countedStream {
	ctx := peer.NewContext(g.t.Context(), &peer.Peer{Addr: g.bounded.RemoteAddr()})
	return begin(&bodies{ctx: ctx, body: body}, single)
}

// bodies is a stream whose messages come from nowhere.
type bodies struct {
	grpc.ServerStream
	ctx  context.Context //nolint:containedctx // as every stream's
	body *int
	err  error
}

func (b *bodies) Context() context.Context { return b.ctx }

func (b *bodies) RecvMsg(m any) error {
	if b.body == nil {
		return b.err
	}
	_ = newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(make([]byte, *b.body))}, m)
	return b.err
}

func (b *bodies) SendMsg(any) error { return b.err }

// receive receives a message.
func (s *countedStream) receive(tb testing.TB) {
	tb.Helper()
	if err := s.RecvMsg(&wrapperspb.BytesValue{}); err != nil {
		tb.Fatal(err)
	}
}

func TestMessagesThatEndAreNotHeld(t *testing.T) {
	t.Parallel()
	var c counters
	lis := newBoundedListener(nil, 10, &c, slog.New(slog.DiscardHandler))
	g := visit(t, lis, 1)
	const headers = 1
	size := 9
	// A connection that is never idle, with a stream and a call beside the others.
	stream, beside := g.call(false, &size), g.call(true, &size)
	for range 10_000 {
		call := g.call(true, &size)
		g.sends(headers, 500)
		g.sends(dataFrame, prefixBytes+size)
		call.receive(t)
		call.end(t.Context())
		g.sends(dataFrame, prefixBytes+size)
		stream.receive(t)
	}
	g.holds(0)
	// What is left of calls that have ended goes when no more is to come.
	g.sends(dataFrame, 1000)
	beside.end(t.Context())
	g.holds(1000)
	stream.end(t.Context())
	g.holds(0)
}

// TestMessagesAreSeenThroughTLS has a message come that is counted as what it is,
// not as what it takes on its way.
func TestMessagesAreSeenThroughTLS(t *testing.T) {
	t.Parallel()
	site := httptest.NewTLSServer(nil)
	defer site.Close()
	var c counters
	lis := newBoundedListener(nil, 10, &c, slog.New(slog.DiscardHandler))
	near, far := net.Pipe()
	g := &guest{t: t, bounded: lis.admit(near)}
	const size = 100_000
	var sent sync.WaitGroup
	sent.Go(func() {
		conn := tls.Client(far, &tls.Config{ServerName: "example.com", RootCAs: site.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, NextProtos: []string{"h2"}}) //nolint:forcetypeassert // it is one
		_, err := conn.Write(append(make([]byte, prefaceBytes), frame(dataFrame, size)...))
		if err = errors.Join(err, conn.Close()); err != nil {
			t.Error(err)
		}
	})
	conn, _, err := watchingCredentials{credentials.NewServerTLSFromCert(&site.TLS.Certificates[0])}.ServerHandshake(g.bounded)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Error(err)
	}
	sent.Wait()
	g.holds(size)
	if at, ok := conn.RemoteAddr().(connAddr); !ok || at.conn != g.bounded {
		t.Errorf("the connection's address is %v, which does not lead back to it", conn.RemoteAddr())
	}
	_ = conn.Close() // nobody is there to take TLS's own farewell
	g.holds(0)
}

// TestUnfinishedMessageStaysHeld has many small messages come beside one without
// an end, which must not make up for it.
func TestUnfinishedMessageStaysHeld(t *testing.T) {
	t.Parallel()
	var c counters
	g := visit(t, newBoundedListener(nil, 10, &c, slog.New(slog.DiscardHandler)), 1)
	const unfinished = 100_000
	g.sends(dataFrame, unfinished)
	size := 4
	stream := g.call(false, &size)
	for range 1000 {
		g.sends(dataFrame, 10*(prefixBytes+size))
		for range 10 {
			stream.receive(t)
		}
		call := g.call(true, &size)
		g.sends(dataFrame, prefixBytes+size)
		call.receive(t)
		call.end(t.Context())
	}
	g.holds(unfinished)
	// Frames that hold next to nothing take memory too.
	for range 1000 {
		g.sends(dataFrame, 1)
	}
	g.holds(unfinished + 1000 + 1000*tinyFrame)
}

// TestWhatStreamsKeepIsBounded has streams of one host keep more than all may.
func TestWhatStreamsKeepIsBounded(t *testing.T) {
	t.Parallel()
	var c counters
	lis := newBoundedListener(nil, 10, &c, slog.New(slog.DiscardHandler))
	modest, greedy := visit(t, lis, 1), visit(t, lis, 2)
	of := func(g *guest) budget { return newBudget(g.bounded, resultWeight) }
	little, much := of(modest), of(greedy)
	little.take(1000)
	modest.holds(1000 * resultWeight)
	much.take(maxUnfinished/resultWeight - 1000)
	if modest.closed || greedy.closed {
		t.Error("a connection was closed while all hold what they may")
	}
	much.take(1000)
	if modest.closed || !greedy.closed || !greedy.bounded.wasExpelled() {
		t.Error("the connection that keeps most was not closed, or another was")
	}
	// What it kept is not counted any more, when it goes as well as before.
	much.free(1000)
	little.free(1000)
	if got := lis.unfinished.Load(); got != 0 {
		t.Errorf("%d bytes are held in the end", got)
	}
}

// TestUnfinishedMessagesAreBounded has messages come that have no end: the host
// that has most of them loses connections, and nobody else.
func TestUnfinishedMessagesAreBounded(t *testing.T) {
	t.Parallel()
	const most = 1000
	for name, attack := range map[string]struct{ connections, each int }{
		"one that has much":     {1, maxUnfinished},
		"many that have little": {300, maxMessageBytes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c counters
			lis := newBoundedListener(nil, most, &c, slog.New(slog.DiscardHandler))
			modest := visit(t, lis, 2)
			modest.sends(dataFrame, maxMessageBytes)
			var attackers []*guest
			for range attack.connections {
				g := visit(t, lis, 3)
				attackers = append(attackers, g)
				for left := attack.each; left > 0 && !g.closed; left -= 1 << 14 {
					g.sends(dataFrame, 1<<14)
				}
			}
			if got := lis.unfinished.Load(); got > maxUnfinished {
				t.Errorf("%d bytes are held, want at most %d", got, maxUnfinished)
			}
			modest.sends(dataFrame, maxMessageBytes)
			if modest.closed {
				t.Error("a client with two messages was closed")
			}
			closed := int64(0)
			for _, g := range attackers {
				if g.closed {
					closed++
				}
			}
			if got := c.abusedConnections.Load(); got == 0 || got != closed {
				t.Errorf("%d abused connections were counted, %d closed", got, closed)
			}
			for _, g := range append(attackers, modest) {
				if err := g.bounded.Close(); err != nil {
					t.Fatal(err)
				}
			}
			// A read beside the close may still bring something.
			modest.bounded.add(0, 1000, 0)
			if lis.open != 0 || lis.unfinished.Load() != 0 {
				t.Errorf("once all are closed: %d open, %d bytes", lis.open, lis.unfinished.Load())
			}
		})
	}
}

func TestHostOf(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.1":         "192.0.2.1",
		"::ffff:192.0.2.1":  "192.0.2.1",
		"2001:db8:1:2:3::4": "2001:db8:1:2::",
		"2001:db8:1:2::5":   "2001:db8:1:2::",
		"2001:db8:1:3:3::4": "2001:db8:1:3::",
	} {
		if got := hostOf(&net.TCPAddr{IP: net.ParseIP(addr), Port: 1}); got != want {
			t.Errorf("%s is of host %s, want %s", addr, got, want)
		}
	}
	if got := hostOf(&net.UnixAddr{Name: "x"}); got != "" {
		t.Errorf("what comes over no network is of host %q", got)
	}
}

// TestPanicOutsideTheInterceptor is one that only the call itself can recover.
func TestPanicOutsideTheInterceptor(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Log: log}, sched)
	if err != nil {
		t.Fatal(err)
	}
	defer s.grpc.Stop()
	handle := s.unaryHandler("", func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		return nil, decode(nil)
	}, nil)
	if err := handle(nil, &panicking{}); status.Code(err) != codes.Internal {
		t.Errorf("a call whose message cannot be decoded for a bug ended with %v", err)
	}
	if got := s.Counters().Panics; got != 1 {
		t.Errorf("%d panics were counted, want 1", got)
	}
}

// panicking is a stream with a bug: there is none.
type panicking struct{ grpc.ServerStream }

func (*panicking) Context() context.Context { return context.Background() }
