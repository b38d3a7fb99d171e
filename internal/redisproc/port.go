package redisproc

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports from lowestPort on are given out. They lie below those that outgoing
// connections get, so that nobody is given one by chance while its server is away,
// and below those from which a Cluster's servers could not derive the port that they
// talk to each other on.
const (
	lowestPort = 10_000
	ports      = 5_000
)

// FreePort returns a port on loopback on which nobody listened a moment ago.
func FreePort(ctx context.Context) (string, error) {
	for range ports {
		port := strconv.Itoa(lowestPort + rand.IntN(ports)) //nolint:gosec // it only has to be free
		var config net.ListenConfig
		if l, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return port, l.Close()
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
	return "", errors.New("no port from 10000 to 14999 is free")
}
