package e2e_test

import (
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
)

// TestNothingIsLostByKills kills a replica and then Redis, which syncs each
// write, under load.
func TestNothingIsLostByKills(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	r := startRig(t, redis.URL())
	r.steady()

	killed := time.Now()
	r.kill(0)
	<-time.After(time.Second)
	r.start(0)
	r.awaitServing(0)
	r.steady()
	t.Logf("a replica killed: its reporters waited for %s, those who know both for %s",
		r.ledger.Gap("0", killed), r.ledger.Gap("both", killed))

	killed = time.Now()
	redis.Kill(t)
	<-time.After(time.Second)
	restarted := time.Now()
	redis.Restart(t)
	answers := time.Now()
	r.steady()
	t.Logf("redis killed: reporters waited for %s, of which it was away for %s and loaded for %s",
		r.ledger.Gap("both", killed), restarted.Sub(killed).Round(time.Millisecond), answers.Sub(restarted).Round(time.Millisecond))

	r.account()
}
