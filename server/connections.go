package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/peer"

	"github.com/retryd/retryd/internal/logbound"
)

const (
	// maxUnfinished is how many bytes the server holds of messages that have not come to
	// their ends, and of what waits in streams to be settled, or to be read by the client.
	// Beyond it, the host that has most of them loses the connection that has most.
	maxUnfinished = 128 << 20
	// maxInBatches is how many reports of batches, and extensions of streams, are worked on
	// at once. What comes beyond that waits for its turn, batches undecoded.
	maxInBatches = 16 * maxBatch
	// hostBits are what the addresses of one host have in common, where it has more
	// than one: whoever has an IPv6 address has 2^64 of them.
	hostBits = 64
)

// boundedListener keeps the connections below a limit, in total and for each
// host, which may have half of them. It accepts what is over and closes it at
// once: left waiting, the client would not know to try another replica.
type boundedListener struct {
	net.Listener
	most     int
	counters *counters
	paced    paceLog
	// unfinished is what all connections hold.
	unfinished atomic.Int64
	// batches has room for what comes in batches.
	batches *semaphore.Weighted

	mu    sync.Mutex
	open  int
	hosts map[string]*host
}

// host is whom connections come from.
type host struct {
	// conns and forgetting are guarded by the listener; forgetting is whether it is to be
	// forgotten when it has no connections then.
	conns      map[*boundedConn]struct{}
	forgetting bool
	streams    openStreams
	pace       pace
	// turn is that of the next of its batches.
	turn *semaphore.Weighted
}

func newBoundedListener(lis net.Listener, most int, c *counters, log *slog.Logger) *boundedListener {
	return &boundedListener{
		Listener: lis, most: most, counters: c, paced: paceLog{log, logbound.New()}, hosts: make(map[string]*host),
		batches: semaphore.NewWeighted(maxInBatches),
	}
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
	if l.open >= l.most || h != nil && name != "" && len(h.conns) >= half(l.most) {
		return nil
	}
	if h == nil {
		h = &host{conns: make(map[*boundedConn]struct{}), pace: pace{at: time.Now()}, turn: semaphore.NewWeighted(1)}
		l.hosts[name] = h
	}
	c := &boundedConn{Conn: conn, from: l, opened: time.Now(), hostName: name, host: h, gone: make(chan struct{})}
	h.conns[c] = struct{}{}
	l.open++
	return c
}

func (l *boundedListener) left(c *boundedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	delete(c.host.conns, c)
	l.forget(c.hostName)
}

// forget forgets a host that has no connections and owes nothing. One that does is
// remembered until that is past, or it would only have to come again. Callers hold mu.
func (l *boundedListener) forget(name string) {
	h := l.hosts[name]
	if h == nil || len(h.conns) > 0 || h.forgetting {
		return
	}
	owed := h.pace.owed.Load()
	if owed <= freeOfCall || len(l.hosts) > l.most {
		delete(l.hosts, name)
		return
	}
	h.forgetting = true
	time.AfterFunc(time.Duration(owed)*time.Second/paceRate, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		h.forgetting = false
		if len(h.conns) == 0 {
			delete(l.hosts, name)
		}
	})
}

// relieve closes connections for as long as all hold too much together.
func (l *boundedListener) relieve() {
	for l.unfinished.Load() > maxUnfinished {
		c := l.greediest()
		if c == nil {
			return
		}
		c.expel()
	}
}

// greediest is the connection that holds most, of the host that holds most: a
// client that sends one large message is not to pay for one that has thousands of
// connections with a small one each. It is nil when nobody holds anything.
func (l *boundedListener) greediest() *boundedConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	var worst *boundedConn
	var most int64
	for _, h := range l.hosts {
		var all, own int64
		var first *boundedConn
		for c := range h.conns {
			held := c.held.Load()
			if all += held; held > own {
				own, first = held, c
			}
		}
		if all > most {
			most, worst = all, first
		}
	}
	return worst
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
	if ip := tcp.IP.To4(); ip != nil {
		return ip.String()
	}
	return tcp.IP.Mask(net.CIDRMask(hostBits, 8*net.IPv6len)).String()
}

// boundedConn watches over what comes by a connection.
type boundedConn struct {
	net.Conn
	from     *boundedListener
	opened   time.Time
	hostName string
	host     *host
	once     sync.Once
	// gone is closed when it is.
	gone chan struct{}

	// account is of what it holds, held how much memory that takes.
	account  account
	held     atomic.Int64
	expelled atomic.Bool
}

// RemoteAddr is the client's address, by which the connection can be found again.
func (c *boundedConn) RemoteAddr() net.Addr { return connAddr{c.Conn.RemoteAddr(), c} }

// connAddr is an address that knows its connection.
type connAddr struct {
	net.Addr
	conn *boundedConn
}

// expel closes the connection of a client that hurts others.
func (c *boundedConn) expel() {
	if !c.expelled.Swap(true) {
		c.from.counters.abusedConnections.Add(1)
	}
	_ = c.Close()
}

// enter waits until there is room for so many of what comes in batches, and until their
// host may go on: what thousands of calls have brought by then would otherwise be done
// before anything was held against it. Of a connection that is gone it waits for room alone.
func (c *boundedConn) enter(ctx context.Context, n int) (leave func(), err error) {
	if c == nil {
		return func() {}, nil
	}
	if err := c.host.turn.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait for the host's turn: %w", err)
	}
	// Thousands that all looked whether it is time would take longer than what they wait for.
	defer c.host.turn.Release(1)
	_ = c.keepPace()
	room, weight := c.from.batches, int64(min(n, maxBatch))
	if err := room.Acquire(ctx, weight); err != nil {
		return nil, fmt.Errorf("wait for room: %w", err)
	}
	return func() { room.Release(weight) }, nil
}

// wasExpelled says whether it was closed for that.
func (c *boundedConn) wasExpelled() bool { return c != nil && c.expelled.Load() }

// Close closes the connection.
func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		close(c.gone)
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
