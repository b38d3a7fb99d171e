package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// dialer dials as go-redis does, but tells a failure by the first use of the
// connection that it returns. go-redis counts dials that fail, and after some of
// them tries but once a second whether the server is there again.
type dialer struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu sync.Mutex
	// failed are the addresses where nobody answered of late.
	failed map[string]*failedDial
}

// failedDial is what came of the last dial to an address.
type failedDial struct {
	err error
	at  time.Time
}

// redialPause is how long after a dial to an address has begun that follows on a
// failed one the next may begin. Whoever asks between is told the failure: a server
// that is away should cost neither it nor us a dial for every call.
const redialPause = 50 * time.Millisecond

func newDialer(o *redis.Options, ask func() *tls.Config) *dialer {
	d := &dialer{dial: redis.NewDialer(o), failed: make(map[string]*failedDial)}
	if o.TLSConfig != nil {
		d.dial = dialTLS(o, ask)
	}
	return d
}

// dialTLS dials by TLS. Each server is to have a certificate of the name by which
// it is dialled: the nodes of a Cluster have names of their own, which the URL does
// not hold.
func dialTLS(o *redis.Options, ask func() *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: o.DialTimeout, KeepAlive: 5 * time.Minute}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		cfg := &tls.Config{MinVersion: tls.VersionTLS12}
		if ask != nil {
			cfg = ask()
		}
		cfg.InsecureSkipVerify = o.TLSConfig.InsecureSkipVerify //nolint:gosec // by the URL's skip_verify alone
		// The time-out is for the handshake, too.
		ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
		defer cancel()
		return (&tls.Dialer{NetDialer: plain, Config: cfg}).DialContext(ctx, network, addr)
	}
}

// connect implements the Dialer of go-redis's options. It returns no error.
func (d *dialer) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := d.lately(addr); err != nil {
		return deadConn{err}, nil
	}
	conn, err := d.dial(ctx, network, addr)
	d.mu.Lock()
	defer d.mu.Unlock()
	if errors.Is(ctx.Err(), context.Canceled) {
		// It tells of whoever has left, and nothing of the server.
		if err != nil {
			return deadConn{err}, nil
		}
		return conn, nil
	}
	if err != nil {
		d.failed[addr] = &failedDial{err: err, at: time.Now()}
		return deadConn{err}, nil
	}
	delete(d.failed, addr)
	return conn, nil
}

// lately is the error of a dial to addr that is too fresh to be tried again. When it
// is not, the caller is the one to try.
func (d *dialer) lately(addr string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.failed[addr]
	now := time.Now()
	switch {
	case last == nil:
		return nil
	case now.Sub(last.at) < redialPause:
		return last.err
	}
	last.at = now
	return nil
}

// deadConn is a connection that there is none of.
type deadConn struct{ err error }

// Read implements [net.Conn].
func (c deadConn) Read([]byte) (int, error) { return 0, c.err }

// Write implements [net.Conn].
func (c deadConn) Write([]byte) (int, error) { return 0, c.err }

// Close implements [net.Conn].
func (deadConn) Close() error { return nil }

// LocalAddr implements [net.Conn].
func (deadConn) LocalAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// RemoteAddr implements [net.Conn].
func (deadConn) RemoteAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// SetDeadline implements [net.Conn].
func (deadConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements [net.Conn].
func (deadConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements [net.Conn].
func (deadConn) SetWriteDeadline(time.Time) error { return nil }
