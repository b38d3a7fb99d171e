package server

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
)

const (
	// maxTakenBack is how many calls a connection may take back within a second
	// before it is closed: a call that is begun and reset over and over costs its
	// client nothing.
	maxTakenBack = 1000
	// maxUnfinished is how many bytes of messages that have not come to their ends
	// the server holds. Beyond it, connections are closed that have more of them
	// than one message.
	maxUnfinished = 128 << 20
	// perMessage is more than the frames around a small message take.
	perMessage = 128
)

// boundedListener keeps the connections below a limit, in total and for each
// host, which may have half of them. It accepts what is over and closes it at
// once: left waiting, the client would not know to try another replica.
type boundedListener struct {
	net.Listener
	most     int
	counters *counters
	// unfinished is what all connections have of messages without ends.
	unfinished atomic.Int64

	mu    sync.Mutex
	open  int
	hosts map[string]*host
}

// host is whom connections come from.
type host struct {
	// connections is guarded by the listener.
	connections int
	streams     atomic.Int64
}

func newBoundedListener(lis net.Listener, most int, c *counters) *boundedListener {
	return &boundedListener{Listener: lis, most: most, counters: c, hosts: make(map[string]*host)}
}

// Accept returns the next connection that there is room for.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(conn); c != nil {
			return c, nil
		}
		l.counters.refusedConnections.Add(1)
		_ = conn.Close()
	}
}

// admit returns nil where there is no room.
func (l *boundedListener) admit(conn net.Conn) *boundedConn {
	name := hostOf(conn.RemoteAddr())
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hosts[name]
	if l.open >= l.most || h != nil && name != "" && h.connections >= half(l.most) {
		return nil
	}
	if h == nil {
		h = &host{}
		l.hosts[name] = h
	}
	h.connections++
	l.open++
	c := &boundedConn{Conn: conn, from: l, opened: time.Now(), hostName: name, host: h}
	c.takenBackAt.Store(time.Now().UnixNano())
	return c
}

func (l *boundedListener) left(c *boundedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if c.host.connections--; c.host.connections == 0 {
		delete(l.hosts, c.hostName)
	}
}

// half of a limit is what one host may have.
func half(most int) int { return (most + 1) / 2 }

// hostOf is the part of an address that one host's connections have in common,
// empty for what comes over no network.
func hostOf(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return ""
	}
	return tcp.IP.String()
}

// boundedConn watches over what comes by a connection.
type boundedConn struct {
	net.Conn
	from     *boundedListener
	opened   time.Time
	hostName string
	host     *host
	once     sync.Once

	// awaited are the unary calls whose messages have not come, streams those that
	// are open; unfinished is, more or less, how much has come of messages that have
	// no end yet.
	awaited, streams, unfinished atomic.Int64
	// takenBack counts the calls that the client took back, takenBackAt is when
	// their number was last a multiple of the limit.
	takenBack, takenBackAt atomic.Int64
	expelled               atomic.Bool
}

// RemoteAddr is the client's address, by which the connection can be found again.
func (c *boundedConn) RemoteAddr() net.Addr { return connAddr{c.Conn.RemoteAddr(), c} }

// connAddr is an address that knows its connection.
type connAddr struct {
	net.Addr
	conn *boundedConn
}

// Read reads from the connection, and closes it when it holds too much while all
// hold too much.
func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		own := c.unfinished.Add(int64(n))
		if c.from.unfinished.Add(int64(n)) > maxUnfinished && own > maxMessageBytes {
			c.expel()
		}
	}
	return n, err
}

// expel closes the connection of a client that hurts others.
func (c *boundedConn) expel() {
	if !c.expelled.Swap(true) {
		c.from.counters.abusedConnections.Add(1)
	}
	_ = c.Close()
}

// Close closes the connection.
func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.from.left(c)
		c.settle()
	})
	return err
}

// connOf is the connection of a call, nil where it did not come by a listener of
// ours.
func connOf(ctx context.Context) *boundedConn {
	if p, ok := peer.FromContext(ctx); ok {
		if at, ok := p.Addr.(connAddr); ok {
			return at.conn
		}
	}
	return nil
}

// age is how long the connection has been open.
func (c *boundedConn) age() time.Duration {
	if c == nil {
		return 0
	}
	return time.Since(c.opened)
}

// await counts a unary call, whose message is to come.
func (c *boundedConn) await() {
	if c != nil {
		c.awaited.Add(1)
	}
}

// arrived takes a unary call's message from what is unfinished.
func (c *boundedConn) arrived(m any) {
	if c == nil {
		return
	}
	c.finished(m)
	c.awaited.Add(-1)
	c.settleIdle()
}

// ended counts the end of a unary call, whose message has come or has not, and
// closes the connection of a client that takes back too many.
func (c *boundedConn) ended(ctx context.Context, come bool) {
	if c == nil {
		return
	}
	if !come {
		c.awaited.Add(-1)
		c.settleIdle()
	}
	c.count(ctx)
}

// finished takes a message that has come to its end from what is unfinished.
func (c *boundedConn) finished(m any) {
	msg, ok := m.(proto.Message)
	if !ok {
		return
	}
	take := int64(proto.Size(msg)) + perMessage
	for {
		held := c.unfinished.Load()
		if c.unfinished.CompareAndSwap(held, held-min(take, held)) {
			c.from.unfinished.Add(-min(take, held))
			return
		}
	}
}

// settleIdle takes what is left for what it is, frames around messages and the
// beginnings of those that will have no end, when no message is to come.
func (c *boundedConn) settleIdle() {
	if c.awaited.Load() == 0 && c.streams.Load() == 0 {
		c.settle()
	}
}

// count closes the connection of a client that takes back too many calls.
func (c *boundedConn) count(ctx context.Context) {
	if !errors.Is(ctx.Err(), context.Canceled) || c.takenBack.Add(1)%maxTakenBack != 0 {
		return
	}
	now := time.Now().UnixNano()
	if now-c.takenBackAt.Swap(now) < int64(time.Second) {
		c.expel()
	}
}

// countedStream is a stream of a connection that is watched over.
type countedStream struct {
	grpc.ServerStream
	conn *boundedConn
}

// RecvMsg receives a message.
func (s *countedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.conn.finished(m)
	}
	return err //nolint:wrapcheck // it is gRPC's own status
}

// streamEnded counts the end of a stream.
func (c *boundedConn) streamEnded(ctx context.Context) {
	c.streams.Add(-1)
	c.settleIdle()
	c.count(ctx)
}

// settle holds nothing any more.
func (c *boundedConn) settle() { c.from.unfinished.Add(-c.unfinished.Swap(0)) }
