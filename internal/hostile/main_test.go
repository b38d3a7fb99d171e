// Package hostile_test attacks a real `retryd serve` while a well-behaved client
// works with it, and looks at what the client notices.
//
// Every attack runs in a process of its own, at the lowest priority, so that its
// own hunger for the processor is not taken for what it does to the server. That
// process is this test binary again, told by its environment what to do.
//
// By default each attack is short and the figures are only logged. From 5 s on the
// test fails when the client has to wait, except where an attack is known to take
// the processor. To measure:
//
//	go test ./internal/hostile -run TestHostileClients -v -window 10s
package hostile_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
)

// window is how long each attack lasts, and the calm before it.
var window = flag.Duration("window", 500*time.Millisecond, "how long each attack lasts, and the calm before each")

func TestMain(m *testing.M) {
	flag.Parse()
	if name := os.Getenv(attackEnv); name != "" {
		os.Exit(attackMain(name))
	}
	os.Exit(redistest.Run(m))
}
