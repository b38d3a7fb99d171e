package redisstore_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/scheduler/storetest"
)

// manyDead is how many dead letters the benchmarks of reading have.
const manyDead = 1_000_000

// pipelined writes n items, many at a time.
func pipelined(b *testing.B, s *redisstore.Store, n int, write func(pipe redis.Pipeliner, i int)) {
	b.Helper()
	const atOnce = 10_000
	for from := 0; from < n; from += atOnce {
		_, err := s.Client().Pipelined(b.Context(), func(pipe redis.Pipeliner) error {
			for i := from; i < min(n, from+atOnce); i++ {
				write(pipe, i)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBrowse reads pages of 50 of an index of a million, from all shards: the
// first one, one in its midst, and one in the midst of a million of the same time.
func BenchmarkBrowse(b *testing.B) {
	s := benchStore(b)
	spread := scheduler.Index{Kind: scheduler.IndexDead, Namespace: "ns", Name: "q"}
	tied := scheduler.Index{Kind: scheduler.IndexDead, Namespace: "ns", Name: "tied"}
	pipelined(b, s, manyDead, func(pipe redis.Pipeliner, i int) {
		id := fmt.Sprintf("order-%08d", i)
		shard := scheduler.ShardOf(scheduler.TaskKey{Namespace: "ns", ID: id}, s.Shards())
		pipe.ZAdd(b.Context(), s.IndexKey(shard, spread), redis.Z{Score: float64(startMS + int64(i)), Member: id})
		pipe.ZAdd(b.Context(), s.IndexKey(shard, tied), redis.Z{Score: float64(startMS), Member: id})
	})
	midst := scheduler.TaskKey{Namespace: "ns", ID: fmt.Sprintf("order-%08d", manyDead/2)}
	for _, c := range []struct {
		name  string
		index scheduler.Index
		after scheduler.Place
	}{
		{"first", spread, scheduler.Place{}},
		{"midst", spread, scheduler.Place{MS: startMS + manyDead/2, Key: midst}},
		{"tied", tied, scheduler.Place{MS: startMS, Key: midst}},
	} {
		b.Run(c.name, func(b *testing.B) {
			parts := make([]scheduler.Part, s.Shards())
			for shard := range parts {
				parts[shard] = scheduler.Part{Index: c.index, Shard: shard, After: c.after, Limit: 50}
			}
			for b.Loop() {
				for _, got := range s.Browse(b.Context(), parts) {
					if got.Err != nil || len(got.Places) != 50 {
						b.Fatalf("%d places, error %v", len(got.Places), got.Err)
					}
				}
			}
		})
	}
}

// BenchmarkDeadLetterGroups reads the 1,000 fingerprints of a queue, each of which
// is in all shards.
func BenchmarkDeadLetterGroups(b *testing.B) {
	const prints = 1000
	s := benchStore(b)
	value := binary.BigEndian.AppendUint32(nil, manyDead/prints/uint32(s.Shards()))
	value = append(value, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2)
	pipelined(b, s, prints*s.Shards(), func(pipe redis.Pipeliner, i int) {
		field := scheduler.Fingerprint(uint64(i/s.Shards()+1) << 40).String()
		pipe.HSet(b.Context(), s.FingerprintsKey(i%s.Shards(), queueQ), field, fmt.Sprintf("%sorder-%08d", value, i))
	})
	for b.Loop() {
		if got, err := s.DeadLetterGroups(b.Context(), queueQ); err != nil || len(got) != prints {
			b.Fatalf("%d groups, error %v", len(got), err)
		}
	}
}

// BenchmarkCountQueues counts a page of 50 queues, each of which has tasks in most
// shards.
func BenchmarkCountQueues(b *testing.B) {
	const queues = 50
	s := benchStore(b)
	keys := make([]scheduler.QueueKey, queues)
	for i := range keys {
		keys[i] = scheduler.QueueKey{Namespace: "ns", Name: fmt.Sprint("queue-", i)}
		changes := storetest.BenchChanges(100, "")
		for n := range changes {
			changes[n].Task.Spec.Queue = keys[i].Name
		}
		wantDone(b, s.Commit(b.Context(), changes))
	}
	for _, n := range []int{1, queues} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if got, err := s.CountQueues(b.Context(), keys[:n]); err != nil || got[n-1].Waiting != 100 {
					b.Fatalf("%+v, error %v", got, err)
				}
			}
		})
	}
}
