package server

import (
	"net"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// endless is a connection that always has something to read.
type endless struct {
	net.Conn
	closed bool
}

func (*endless) Read(p []byte) (int, error) { return len(p), nil }
func (e *endless) Close() error             { e.closed = true; return nil }
func (*endless) RemoteAddr() net.Addr       { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// TestUnfinishedMessagesAreBounded has messages come that have no end: whoever has
// more of them than one message has to go, and nobody else.
func TestUnfinishedMessagesAreBounded(t *testing.T) {
	t.Parallel()
	var c counters
	lis := newBoundedListener(nil, 10, &c)
	open := func() (*endless, *boundedConn) {
		e := &endless{}
		return e, lis.admit(e)
	}
	read := func(conn *boundedConn, n int) {
		t.Helper()
		if _, err := conn.Read(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	greedy, hoard := open()
	modest, batch := open()
	busy, calls := open()
	read(batch, maxMessageBytes)
	// Whose messages come to their ends may send any number, beside a stream too.
	calls.streams.Add(1)
	for range 3 * maxUnfinished / maxMessageBytes {
		calls.await()
		read(calls, maxMessageBytes)
		calls.arrived(wrapperspb.Bytes(make([]byte, maxMessageBytes)))
		calls.ended(t.Context(), true)
	}
	calls.streamEnded(t.Context())
	// So may one whose calls have all ended before their messages did.
	for range 3 * maxUnfinished / maxMessageBytes {
		calls.await()
		read(calls, maxMessageBytes)
		calls.ended(t.Context(), false)
	}
	// And one that is never idle, and has more in its headers than in its messages.
	calls.await()
	for range 3 * maxUnfinished / maxHeaderBytes {
		read(calls, maxHeaderBytes)
		calls.arrived(wrapperspb.Bytes(nil))
		calls.await()
		calls.ended(t.Context(), true)
	}
	calls.ended(t.Context(), false)
	read(hoard, maxUnfinished-2*maxMessageBytes)
	if greedy.closed || modest.closed || busy.closed {
		t.Fatal("a connection was closed while there was room")
	}
	read(hoard, 2*maxMessageBytes)
	if !greedy.closed || modest.closed || busy.closed {
		t.Errorf("closed: %t for the one with all of it, %t for one with a message, %t for one with none; want the first alone", greedy.closed, modest.closed, busy.closed)
	}
	if got := c.abusedConnections.Load(); got != 1 {
		t.Errorf("%d abused connections were counted, want 1", got)
	}
	if got := lis.unfinished.Load(); got != maxMessageBytes {
		t.Errorf("%d bytes are held, want those of one message", got)
	}
	for _, conn := range []*boundedConn{hoard, batch, calls} {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if lis.open != 0 || len(lis.hosts) != 0 || lis.unfinished.Load() != 0 {
		t.Errorf("once all are closed: %d open, %d hosts, %d bytes", lis.open, len(lis.hosts), lis.unfinished.Load())
	}
}
