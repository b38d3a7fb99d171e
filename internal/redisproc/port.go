package redisproc

import (
	"context"
	"fmt"
	"net"
	"strconv"
)

// FreePort returns a port on loopback on which nobody listened a moment ago. It
// lies below those from which a Cluster's servers could not derive the port that
// they talk to each other on.
func FreePort(ctx context.Context) (string, error) {
	const highest = 65535 - 10000
	for {
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return "", fmt.Errorf("find a free port: %w", err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return "", fmt.Errorf("free a port: %w", err)
		}
		if port <= highest {
			return strconv.Itoa(port), nil
		}
	}
}
