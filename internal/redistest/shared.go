package redistest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/retryd/retryd/internal/redisproc"
)

// shared is the server of this test binary, which is started when a test first
// asks for it.
var shared struct {
	running atomic.Bool
	once    sync.Once
	server  *Server
	err     error
}

// Run runs the tests of a package, and stops its server when they have ended. No
// goroutine of theirs may be left then:
//
//	func TestMain(m *testing.M) { os.Exit(redistest.Run(m)) }
func Run(m *testing.M) int {
	shared.running.Store(true)
	code := m.Run()
	if shared.server != nil && shared.err == nil {
		_ = shared.server.proc.Close()
	}
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Shared returns the server that all tests of this binary share; each keeps to a
// prefix of its own.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	if !shared.running.Load() {
		tb.Fatal("this package's TestMain does not call redistest.Run, so that nobody would stop its Redis")
	}
	shared.once.Do(func() {
		proc, err := redisproc.Start(lasting(tb))
		shared.server, shared.err = &Server{proc}, err
	})
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.server
}

var prefixes atomic.Int64

// Prefix returns a prefix for keys that no other test of this binary has.
func Prefix(tb testing.TB) string {
	tb.Helper()
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, tb.Name())
	return fmt.Sprintf("%.40s-%d", name, prefixes.Add(1))
}
