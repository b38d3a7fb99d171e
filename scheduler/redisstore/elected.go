package redisstore

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// elected has the client ask its Sentinel, the one of all that it goes by, which server is
// the primary. It tells by itself once all replicas follow the new one, which is a second or
// more after it has taken over; whoever asks is told at once. Until then the old one takes
// writes that its replicas, on their way to the new one, no longer confirm, and that are
// lost.
type elected struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu   sync.Mutex
	last time.Time
}

const (
	// askPause is how long after it was asked it is asked again. Each time costs a connection
	// to the primary, for as long as there are too few replicas.
	askPause = 100 * time.Millisecond
	// askTime is how long it may take.
	askTime = 200 * time.Millisecond
)

// follow makes it ask for a client of Sentinels.
func (e *elected) follow(client redis.UniversalClient) {
	if one, ok := client.(*redis.Client); ok {
		e.dial = one.Options().Dialer
	}
}

// ask asks, unless there is no Sentinel or it has been asked just now. Where another
// server is the primary, the client leaves the old one, with all its connections.
func (e *elected) ask(ctx context.Context) {
	if e.dial == nil {
		return
	}
	e.mu.Lock()
	now := time.Now()
	if now.Sub(e.last) < askPause {
		e.mu.Unlock()
		return
	}
	e.last = now
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	// It asks with each new connection, and by no other call.
	if conn, err := e.dial(ctx, "tcp", ""); err == nil {
		_ = conn.Close()
	}
}
