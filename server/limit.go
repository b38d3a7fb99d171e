package server

import (
	"net"
	"sync"
	"sync/atomic"
)

// cappedListener keeps the number of open connections below a limit. It accepts
// what is over and closes it at once: left waiting, the client would not know to
// try another replica.
type cappedListener struct {
	net.Listener
	most    int64
	open    atomic.Int64
	refused *atomic.Int64
}

// Accept returns the next connection that there is room for.
func (l *cappedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &countedConn{Conn: conn, closed: func() { l.open.Add(-1) }}, nil
		}
		l.open.Add(-1)
		l.refused.Add(1)
		_ = conn.Close()
	}
}

// countedConn tells once that it was closed.
type countedConn struct {
	net.Conn
	once   sync.Once
	closed func()
}

// Close closes the connection.
func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}
