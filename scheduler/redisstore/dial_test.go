package redisstore_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestServesAsSoonAsRedisDoes calls a Redis that is away so often that go-redis would
// try but once a second whether it is there again.
func TestServesAsSoonAsRedisDoes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--port", redistest.FreePort(t))
	s := newStore(t, redisstore.Config{URL: server.URL(), Shards: 2})
	wantDone(t, s.Commit(t.Context(), creations(0, 5)))
	server.Stop(t)
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		callers.Wait()
	})
	var worst time.Duration
	for range 3 {
		answered := make(chan time.Time, 1)
		for range 30 {
			callers.Go(func() {
				for ctx.Err() == nil {
					if s.Load(ctx, []scheduler.TaskKey{aKey})[0].Err == nil {
						select {
						case answered <- time.Now():
						default:
						}
						return
					}
					<-time.After(10 * time.Millisecond)
				}
			})
		}
		// Whoever tries once a second has just done so.
		<-time.After(1100 * time.Millisecond)
		server.Restart(t)
		there := time.Now()
		worst = max(worst, (<-answered).Sub(there))
		callers.Wait()
		server.Stop(t)
	}
	if worst > 500*time.Millisecond {
		t.Errorf("it took up to %s until Redis was used again", worst)
	}
}
