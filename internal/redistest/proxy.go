package redistest

import (
	"testing"

	"github.com/retryd/retryd/internal/respproxy"
)

// StartProxy starts a proxy to s that lets all pass until it is told otherwise, and
// ends with the test.
func StartProxy(tb testing.TB, s *Server) *respproxy.Proxy {
	tb.Helper()
	p, err := respproxy.Start(lasting(tb), respproxy.Config{Network: "unix", Addr: s.proc.Socket(), Seed: 1})
	must(tb, err)
	endWith(tb, p.Close)
	return p
}
