package redisstore

import (
	"context"

	"github.com/retryd/retryd/scheduler"
)

// What only tests of the read side may use.

var (
	EncodeJob = encodeJob
	DecodeJob = decodeJob
)

// IndexKey names an index in a shard.
func (s *Store) IndexKey(shard int, ix scheduler.Index) string { return s.keys.index(shard, ix) }

// FingerprintsKey names the hash of a queue's fingerprints in a shard.
func (s *Store) FingerprintsKey(shard int, q scheduler.QueueKey) string {
	return s.keys.fingerprints(shard, q)
}

// PausedKey names the hash of a shard's pauses.
func (s *Store) PausedKey(shard int) string { return s.keys.paused(shard) }

// Recent keeps one number as policies and jobs are kept.
type Recent struct{ kept recent[int] }

// Read returns what read did at some moment of the last second.
func (r *Recent) Read(ctx context.Context, read func() int) (int, error) {
	got, err := r.kept.read(ctx, "ns", "id", func(context.Context, string, string) (*int, error) {
		n := read()
		return &n, nil
	})
	return *got, err
}

// ReadFrom is Read from what may hang, which it does where read returns false.
func (r *Recent) ReadFrom(ctx context.Context, read func() (int, bool)) (int, error) {
	got, err := r.kept.read(ctx, "ns", "id", func(ctx context.Context, _, _ string) (*int, error) {
		n, ok := read()
		if !ok {
			<-ctx.Done()
			return nil, unavailable(ctx.Err())
		}
		return &n, nil
	})
	if err != nil {
		return 0, err
	}
	return *got, nil
}

// Changed tells of a write.
func (r *Recent) Changed() { r.kept.changed("ns", "id") }
