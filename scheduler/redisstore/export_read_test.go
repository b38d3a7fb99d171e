package redisstore

import "github.com/retryd/retryd/scheduler"

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
