package server

import (
	"net"
	"runtime"

	"google.golang.org/grpc/credentials"
)

// watchingCredentials watch over what comes by the connections that they have set
// up, where it can be read.
type watchingCredentials struct {
	credentials.TransportCredentials
}

// ServerHandshake sets up a connection, once it is its host's turn: until then it takes
// next to nothing.
func (w watchingCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	bounded, ok := raw.(*boundedConn)
	if ok {
		bounded.charge(freeOfCall)
		if _, open := bounded.standBack(mostPauseOfNew); !open {
			return nil, nil, net.ErrClosed
		}
	}
	conn, info, err := w.TransportCredentials.ServerHandshake(raw)
	if ok && err == nil {
		conn = &watchedConn{Conn: conn, bounded: bounded, frames: newFrames()}
	}
	return conn, info, err //nolint:wrapcheck // gRPC knows some of them by what they are
}

const (
	// receiveBytes is how much is received from the network at once.
	receiveBytes = 32 << 10
	// turn is how often gRPC reads, twice a frame, before others have their turns, of
	// which the beginning of a call counts for many. What the frames that come at once
	// begin would otherwise be done before anything else, and thousands of calls may
	// begin in them.
	turn       = 64
	turnOfCall = 12
	// firstReads is how often gRPC reads until a connection is set up: its preface, the
	// settings, a window update, and the answer to the server's own settings.
	firstReads = 8
)

// watchedConn counts what comes of messages, and sees to it that no client's frames
// are all there is to do. gRPC has to read from it without a buffer of its own, frame
// by frame.
type watchedConn struct {
	net.Conn
	bounded *boundedConn
	frames  frames
	// buf has what was received, come is what of that has not been read, and broken the
	// error that follows it.
	buf, come []byte
	broken    error
	// reads is how often gRPC has read, taken how much of the turn under way has been.
	reads, taken int
}

// Read reads from the connection as fast as its host may, and has some connections
// closed when all hold too much.
func (c *watchedConn) Read(p []byte) (int, error) {
	// At first its host has just had the turn: a connection that is closed by now is not to
	// be kept, with all that has been made for it.
	if c.reads++; c.reads > firstReads && !c.bounded.keepPace() {
		// What has come already is of no use to anybody.
		return 0, net.ErrClosed
	}
	if c.taken >= turn {
		c.taken = 0
		runtime.Gosched()
	}
	n, err := c.receive(p)
	bytes, tiny, crumbs, calls := c.frames.read(p[:n])
	c.taken += 1 + calls*turnOfCall
	if crumbs > 0 {
		c.bounded.charge(int64(crumbs))
	}
	if bytes > 0 {
		c.bounded.add(0, bytes, tiny)
		c.bounded.from.relieve()
	}
	return n, err
}

// receive reads what was received, and more from the network when that is all.
func (c *watchedConn) receive(p []byte) (int, error) {
	if len(c.come) == 0 && c.broken == nil {
		if c.buf == nil {
			c.buf = make([]byte, receiveBytes)
		}
		n, err := c.Conn.Read(c.buf)
		c.come, c.broken = c.buf[:n], err
	}
	if len(c.come) == 0 {
		return 0, c.broken
	}
	n := copy(p, c.come)
	c.come = c.come[n:]
	return n, nil
}
