package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
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
	hintPing = 10 * time.Second
	// hintRetryPause is how long a failed subscription waits.
	hintRetryPause = 500 * time.Millisecond
)

// Hints tells of work that other replicas have put at the head of a queue, until
// ctx ends. It subscribes again whenever the connection is lost.
func (s *Store) Hints(ctx context.Context, hint func(scheduler.Hint)) error {
	for ctx.Err() == nil {
		if err := s.listen(ctx, hint); err != nil && ctx.Err() == nil {
			s.log.DebugContext(ctx, "the subscription to hints is renewed", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(hintRetryPause):
		}
	}
	return nil
}

// listen takes hints from one subscription until it fails.
func (s *Store) listen(ctx context.Context, hint func(scheduler.Hint)) error {
	sub := s.client.Subscribe(ctx, s.hintChannel)
	// A read that waits does not look at ctx.
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer func() {
		if stop() {
			_ = sub.Close()
		}
	}()
	silent := false
	for {
		got, err := sub.ReceiveTimeout(ctx, hintPing)
		var timeout net.Error
		switch {
		case err == nil:
		case errors.As(err, &timeout) && timeout.Timeout() && !silent:
			silent = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		silent = false
		if m, ok := got.(*redis.Message); ok {
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
