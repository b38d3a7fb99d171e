package server

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/tap"
)

// The limits of what a client may ask of a connection.
const (
	maxStreams        = 1000
	maxMessageBytes   = 512 << 10
	maxHeaderBytes    = 16 << 10
	connectionTimeout = 10 * time.Second
	keepaliveTime     = 30 * time.Second
	keepaliveTimeout  = 10 * time.Second
	minPingInterval   = 15 * time.Second
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

// limits are gRPC's defaults that would let one client hurt all others, made
// tighter.
func (s *Server) limits() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time:                  keepaliveTime,
			Timeout:               keepaliveTimeout,
			MaxConnectionAge:      s.cfg.MaxConnectionAge,
			MaxConnectionAgeGrace: s.cfg.ConnectionAgeGrace,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             minPingInterval,
			PermitWithoutStream: true,
		}),
		grpc.InTapHandle(s.boundArrival),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
	}
	if s.cfg.Credentials != nil {
		opts = append(opts, grpc.Creds(s.cfg.Credentials))
	}
	return opts
}

// noDeadlineKey marks the context of a call that came without a deadline.
type noDeadlineKey struct{}

// boundArrival gives a unary call that has no deadline, or a far one, an end
// before its message is there: interceptors come after it, and a message may
// never come.
func (s *Server) boundArrival(ctx context.Context, info *tap.Info) (context.Context, error) {
	if s.streaming[info.FullMethodName] {
		return ctx, nil
	}
	switch at, given := ctx.Deadline(); {
	case !given:
		ctx = context.WithValue(ctx, noDeadlineKey{}, true)
	case time.Until(at) <= maxDeadline:
		return ctx, nil
	}
	bound, cancel := context.WithTimeout(ctx, maxDeadline)
	// gRPC ends the outer one with the call.
	context.AfterFunc(ctx, cancel)
	return bound, nil
}

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
	c := &boundedConn{Conn: conn, from: l, hostName: name, host: h}
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
	hostName string
	host     *host
	once     sync.Once

	// calls are those under way; unfinished is, more or less, how much has come of
	// messages that have no end yet.
	calls, unfinished atomic.Int64
	// takenBack counts the calls that the client took back, takenBackAt is when
	// their number was last a multiple of the limit.
	takenBack, takenBackAt atomic.Int64
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
			c.from.counters.abusedConnections.Add(1)
			_ = c.Close()
		}
	}
	return n, err
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

// begun counts a call.
func (c *boundedConn) begun() { c.calls.Add(1) }

// finished takes a message that has come to its end from what is unfinished.
func (c *boundedConn) finished(bytes int) {
	take := int64(bytes) + perMessage
	for {
		held := c.unfinished.Load()
		if c.unfinished.CompareAndSwap(held, held-min(take, held)) {
			c.from.unfinished.Add(-min(take, held))
			return
		}
	}
}

// ended counts the end of a call, and closes the connection of a client that
// takes back too many.
func (c *boundedConn) ended(takenBack bool) {
	if c.calls.Add(-1) == 0 {
		// What is left belongs to calls that ended before their messages did.
		c.settle()
	}
	if !takenBack || c.takenBack.Add(1)%maxTakenBack != 0 {
		return
	}
	now := time.Now().UnixNano()
	if now-c.takenBackAt.Swap(now) < int64(time.Second) {
		c.from.counters.abusedConnections.Add(1)
		_ = c.Close()
	}
}

// settle holds nothing any more.
func (c *boundedConn) settle() { c.from.unfinished.Add(-c.unfinished.Swap(0)) }

// enter makes room for a stream, which leave gives back.
func (s *Server) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { s.openStreams.Add(-1) }
	if s.openStreams.Add(1) > int64(s.cfg.MaxStreams) {
		leave()
		return nil, s.tooManyStreams()
	}
	conn := connOf(ctx)
	if conn == nil || conn.hostName == "" {
		return leave, nil
	}
	all := leave
	leave = func() {
		conn.host.streams.Add(-1)
		all()
	}
	if conn.host.streams.Add(1) > int64(half(s.cfg.MaxStreams)) {
		leave()
		return nil, s.tooManyStreams()
	}
	return leave, nil
}

func (s *Server) tooManyStreams() error {
	s.counters.refusedStreams.Add(1)
	return tooManyStreams()
}
