package hostile_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/net/http2"
)

func connectionAttacks() []attack {
	opening := func(sent string) func(context.Context, *assailant) error {
		return func(ctx context.Context, a *assailant) error { return a.manyConnections(ctx, sent) }
	}
	return []attack{
		{name: "6,000 connections that say nothing", run: opening("")},
		{name: "6,000 connections with half a preface", run: opening(http2.ClientPreface[:len(http2.ClientPreface)/2])},
		{name: "6,000 connections without settings", run: opening(http2.ClientPreface)},
		{name: "connections opened and closed", run: churn},
	}
}

// manyConnections opens far more connections than a host may have, and leaves
// each with the same few bytes.
func (a *assailant) manyConnections(ctx context.Context, sent string) error {
	var conns []net.Conn
	defer func() { closeAll(conns) }()
	for range 6000 {
		conn, err := a.connect(ctx)
		if err != nil {
			if ctx.Err() == nil {
				a.saw(1, "connections refused")
			}
			break
		}
		conns = append(conns, conn)
		_, _ = io.WriteString(conn, sent)
	}
	hold(ctx)
	for _, conn := range conns {
		a.saw(1, "connections %s", a.stateOf(conn))
	}
	return nil
}

// stateOf says whether the server has closed a connection.
func (*assailant) stateOf(conn net.Conn) string {
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Microsecond))
	for {
		_, err := conn.Read(make([]byte, 1024))
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "kept"
		default:
			return "closed"
		}
	}
}

// churn opens connections and drops them at once.
func churn(ctx context.Context, a *assailant) error {
	for ctx.Err() == nil {
		c, _, err := a.raw(ctx)
		if err != nil {
			a.saw(1, "connections refused")
			continue
		}
		a.saw(1, "connections")
		_ = c.Close()
	}
	return nil
}
