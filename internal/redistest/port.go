package redistest

import (
	"net"
	"strconv"
	"testing"
)

// FreePort returns a port on loopback on which nobody listened a moment ago. It
// lies below those from which a Cluster's servers could not derive the port that
// they talk to each other on.
func FreePort(tb testing.TB) string {
	tb.Helper()
	const highest = 65535 - 10000
	for {
		var config net.ListenConfig
		l, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			tb.Fatal(err)
		}
		if port <= highest {
			return strconv.Itoa(port)
		}
	}
}
