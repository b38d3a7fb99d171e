package proc

import (
	"context"
	"fmt"
	"net"
)

// FreeAddr returns an address on loopback on which nobody listened a moment ago.
func FreeAddr(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", fmt.Errorf("free a port: %w", err)
	}
	return addr, nil
}

// Dial connects to addr and hangs up: nil says that somebody listens there.
func Dial(ctx context.Context, addr string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}
