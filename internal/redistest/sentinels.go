package redistest

import (
	"testing"

	"github.com/retryd/retryd/internal/redisproc"
)

// Sentinels watch over a master and its replica.
type Sentinels struct {
	// Master and Replica are what they were at the start.
	Master, Replica *Server
	proc            *redisproc.Sentinels
}

// StartSentinels starts a master, a replica, with settings as of [Start], and n
// Sentinels, of which more than half must agree that a master is down. All end
// with the test. A master counts as down after a second without an answer.
func StartSentinels(tb testing.TB, n int, settings ...string) *Sentinels {
	tb.Helper()
	s, err := redisproc.StartSentinels(lasting(tb), n, 1, settings...)
	must(tb, err)
	endWith(tb, s.Close)
	return &Sentinels{Master: &Server{s.Master}, Replica: &Server{s.Replicas[0]}, proc: s}
}

// URL names the Sentinels and what they watch over.
func (s *Sentinels) URL() string { return s.proc.URL() }

// SentinelURL is where one of the Sentinels is, taken for a server.
func (s *Sentinels) SentinelURL() string { return s.proc.Watchers[0].URL() }

// Failover asks for one while the master is up, until it is granted.
func (s *Sentinels) Failover(tb testing.TB) {
	tb.Helper()
	must(tb, s.proc.Failover(lasting(tb)))
}

// AwaitMaster waits until all Sentinels say that a server is the master.
func (s *Sentinels) AwaitMaster(tb testing.TB, server *Server) {
	tb.Helper()
	must(tb, s.proc.AwaitMaster(lasting(tb), server.proc))
}
