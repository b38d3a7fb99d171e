package redisstore

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// greeter connects to nodes of a Cluster aside from the calls for them. A new connection
// has to be greeted before it is of use, which takes several answers. A node of which each
// takes long would be given up before the last, with the connection, time and again; so
// whoever gives one up has it greeted, and those that come later find a connection.
type greeter struct {
	ctx    context.Context //nolint:containedctx // it ends with the store
	cancel context.CancelFunc
	greets sync.WaitGroup

	mu    sync.Mutex
	ended bool
	// under has the nodes that are being greeted.
	under map[redis.UniversalClient]bool
}

// greetTime is how long that may take; one that hangs does not answer at all.
const greetTime = 3 * time.Second

func newGreeter() *greeter {
	g := &greeter{under: make(map[redis.UniversalClient]bool)}
	g.ctx, g.cancel = context.WithCancel(context.Background()) //nolint:forbidigo // none of its callers waits for it
	return g
}

// greet greets a node, unless it is being greeted, and does not wait for it.
func (g *greeter) greet(node redis.UniversalClient) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || g.under[node] {
		return
	}
	g.under[node] = true
	g.greets.Go(func() {
		ctx, cancel := context.WithTimeout(g.ctx, greetTime)
		defer cancel()
		// Pipelines have connections of their own.
		var both sync.WaitGroup
		both.Go(func() { node.Ping(ctx) })
		both.Go(func() {
			pipe := node.Pipeline()
			pipe.Ping(ctx)
			_, _ = pipe.Exec(ctx)
		})
		both.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.under, node)
	})
}

// close ends it, and returns when nothing of it runs any more.
func (g *greeter) close() {
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	g.cancel()
	g.greets.Wait()
}
