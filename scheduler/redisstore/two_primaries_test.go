package redisstore_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
)

// switchboard is an address whose new connections lead to the server that was set
// last; those that there are stay.
type switchboard struct {
	listener net.Listener
	to       atomic.Pointer[redistest.Server]
}

func newSwitchboard(t *testing.T, to *redistest.Server) *switchboard {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &switchboard{listener: listener}
	b.to.Store(to)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			var dialer net.Dialer
			server, err := dialer.DialContext(t.Context(), "tcp", b.to.Load().Addr())
			if err != nil {
				_ = client.Close()
				continue
			}
			carry := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				_, _ = to.Close(), from.Close()
			}
			wg.Go(func() { carry(server, client) })
			wg.Go(func() { carry(client, server) })
		}
	})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return b
}

func (b *switchboard) url() string { return "redis://" + b.listener.Addr().String() }

// TestConfirmationByTheReplicasOfAnOldPrimary makes one of two replicas the primary as
// SENTINEL FAILOVER does: for a while the old one takes writes, which the other
// confirms, and there are connections to both.
func TestConfirmationByTheReplicasOfAnOldPrimary(t *testing.T) {
	t.Parallel()
	old, replicas := replicated(t, 2)
	heir := replicas[0]
	board := newSwitchboard(t, old)
	s := checked(t, board.url(), 0)
	wantDone(t, s.Commit(t.Context(), creations(0, 10)))
	// Calls hold the connections to the old one, until one finds the new one. Those of
	// more than one change go to Redis at once, and not with others.
	thaw := freeze(t, old)
	if heir.Do(t, "REPLICAOF", "NO", "ONE"); !strings.Contains(heir.Do(t, "ROLE"), "master") {
		t.Fatal("it is not the primary")
	}
	board.to.Store(heir)
	var begun int
	ended := make(chan error, 1000)
	begin := func() {
		changes := creations(100+2*begun, 2)
		begun++
		go func() { ended <- s.Commit(t.Context(), changes)[0].Err }()
	}
	await(t, "an answer of the new one", func() bool {
		begin()
		return len(ended) > 0
	})
	thaw()
	for range begun {
		wantKind(t, <-ended, scheduler.KindUnconfirmed)
	}
	// As many at once as there were go by all connections that there are.
	before, connections := changes(t, old), begun
	for range connections {
		begin()
	}
	for range connections {
		wantKind(t, <-ended, scheduler.KindUnconfirmed)
	}
	if changes(t, old) == before {
		t.Error("none went to the old one, so that nothing is shown")
	}
}
