package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// A hint says that a task has come to the head of a queue's index. The script
// that put it there publishes it on one channel: who sends it (8 bytes), then
// per queue the shard (2), the time (6), the length of the queue's name (2) and
// the name. Plain Pub/Sub is used on a Cluster too: it carries hints to all
// nodes, which costs little because a busy queue's head seldom comes forward, and
// a replica then listens on one connection instead of one per shard.
const hintIDBytes = 8

const (
	// hintPing is after how much silence the connection is tried, since one that
	// has died without a word looks like one on which nothing happens.
	hintPing = time.Second
	// hintRetryPause is how long a failed subscription waits.
	hintRetryPause = 100 * time.Millisecond
)

// errNoServer is why hints are no longer taken from a node that keeps no shard any more:
// it may have been taken out of the Cluster, and hear of none.
var errNoServer = errors.New("the node keeps no shard")

// Hints tells of work that other replicas have put at the head of a queue, until
// ctx ends. It subscribes again whenever the connection is lost, on a Cluster to another
// node where there is one.
func (s *Store) Hints(ctx context.Context, hint func(scheduler.Hint), missed func()) error {
	last := ""
	for ctx.Err() == nil {
		server, client := s.hinter(ctx, last)
		last = server
		if err := s.listen(ctx, client, server, hint, missed); err != nil && ctx.Err() == nil {
			s.log.DebugContext(ctx, "the subscription to hints is renewed", "error", err)
			s.relocate(ctx)
		}
		select {
		case <-ctx.Done():
		case <-time.After(hintRetryPause):
		}
	}
	return nil
}

// hinter is whom to take hints from: on a Cluster, where each node has all of them, one
// that is not the last, if another is known.
func (s *Store) hinter(ctx context.Context, last string) (server string, client redis.UniversalClient) {
	if !s.cluster {
		return "", s.client
	}
	// They are not all to listen to the same one.
	first := rand.IntN(s.Shards())
	for i := range s.Shards() {
		node, err := s.nodeFor(ctx, s.keys.heads((first+i)%s.Shards()))
		if err != nil {
			break
		}
		if addr := addrOf(node); client == nil || addr != last {
			server, client = addr, node
		}
		if server != last {
			break
		}
	}
	if client == nil {
		return "", s.client
	}
	return server, client
}

// listen takes hints from one subscription until it fails.
func (s *Store) listen(ctx context.Context, client redis.UniversalClient, server string, hint func(scheduler.Hint), missed func()) error {
	// A node that hangs is not waited for as long as a call may take.
	greeting, cancel := context.WithTimeout(ctx, hintPing)
	sub := client.Subscribe(greeting, s.hintChannel)
	cancel()
	// A read that waits does not look at ctx.
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer func() {
		if stop() {
			_ = sub.Close()
		}
	}()
	receive := func() (any, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*hintPing)
		defer cancel()
		return sub.ReceiveTimeout(ctx, hintPing)
	}
	silent := false
	for {
		got, err := receive()
		var timeout net.Error
		switch {
		case err == nil:
		case errors.As(err, &timeout) && timeout.Timeout() && !silent:
			if servers := s.Servers(ctx); servers != nil && !slices.Contains(servers, server) {
				return errNoServer
			}
			silent = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		silent = false
		switch m := got.(type) {
		case *redis.Subscription:
			missed()
		case *redis.Message:
			s.deliver(m.Payload, hint)
		}
	}
}

// deliver takes a message apart. What is not understood is left out: hints may be
// lost.
func (s *Store) deliver(message string, hint func(scheduler.Hint)) {
	if len(message) < hintIDBytes || message[:hintIDBytes] == string(s.id[:]) {
		return
	}
	const head = 2 + 6 + 2
	for rest := []byte(message[hintIDBytes:]); len(rest) >= head; {
		shard := int(binary.BigEndian.Uint16(rest))
		d := decoder{s: string(rest[2:8])}
		dueMS := d.u48()
		end := head + int(binary.BigEndian.Uint16(rest[8:]))
		if end > len(rest) {
			return
		}
		namespace, name, err := splitMember(string(rest[head:end]))
		if err != nil {
			return
		}
		hint(scheduler.Hint{Queue: scheduler.QueueKey{Namespace: namespace, Name: name}, Shard: shard, DueMS: dueMS})
		rest = rest[end:]
	}
}
