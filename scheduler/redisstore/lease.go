package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// CheckLeases says which leases are still their tasks'. A task's place in its
// queue's index is its lease's end: where that is the end that the replica
// knows, the lease is taken for held without a look at the record. Should the
// task have come back to the same millisecond by other ways, the mistake lasts
// until then.
func (s *Store) CheckLeases(ctx context.Context, leases []scheduler.LeaseCheck) []scheduler.LeaseChecked {
	out := make([]scheduler.LeaseChecked, len(leases))
	scores := make([]*redis.FloatCmd, len(leases))
	dueOf := func(i int) string { return s.keys.due(s.keys.shardOf(leases[i].Key), leases[i].Queue) }
	s.pipelinedByNode(ctx, len(leases), maxPipelined, dueOf, func(pipe redis.Pipeliner, i int) {
		l := &leases[i]
		scores[i] = pipe.ZScore(ctx, dueOf(i), l.Key.ID)
	})
	var doubtful []int
	for i, cmd := range scores {
		switch score, err := cmd.Result(); {
		case errors.Is(err, redis.Nil):
			// Not in the index, so neither SCHEDULED nor LEASED.
		case err != nil:
			out[i].Err = s.failure("check leases", err)
		case int64(score) == leases[i].LeaseEndMS:
			out[i] = scheduler.LeaseChecked{Held: true, LeaseEndMS: leases[i].LeaseEndMS}
		default:
			doubtful = append(doubtful, i)
		}
	}
	heads := make([]*redis.StringCmd, len(doubtful))
	s.pipelined(ctx, len(doubtful), func(pipe redis.Pipeliner, n int) {
		key := leases[doubtful[n]].Key
		heads[n] = pipe.GetRange(ctx, s.keys.task(s.keys.shardOf(key), key), 0, fenceAt+16-1)
	})
	for n, cmd := range heads {
		i := doubtful[n]
		head, err := cmd.Result()
		if err != nil {
			out[i].Err = s.failure("check leases", err)
			continue
		}
		if fence, endMS, ok := leaseOf(head); ok && fence == leases[i].Fence {
			out[i] = scheduler.LeaseChecked{Held: true, LeaseEndMS: endMS}
		}
	}
	return out
}

// leaseOf reads the lease from the first bytes of a task's record; ok is false
// when the task is not leased.
func leaseOf(head string) (fence scheduler.Fence, endMS int64, ok bool) {
	const state, at = 9, 10
	if len(head) < fenceAt+16 || scheduler.State(head[state]) != scheduler.StateLeased || !mask(head[leaseFlagsAt]).has(leaseHasFence) {
		return scheduler.Fence{}, 0, false
	}
	b := []byte(head)
	fence = scheduler.Fence{Number: int64(binary.BigEndian.Uint64(b[fenceAt:])), Nonce: binary.BigEndian.Uint64(b[fenceAt+8:])}
	d := decoder{s: head[at:]}
	return fence, d.u48(), true
}

// maxPipelined bounds how many commands go in one pipeline, which Redis carries out
// before it does anything else.
const maxPipelined = 1000

// pipelined sends n commands in pipelines of bounded length. Each command holds
// its own error.
func (s *Store) pipelined(ctx context.Context, n int, add func(pipe redis.Pipeliner, i int)) {
	s.pipelinedUpTo(ctx, n, maxPipelined, add)
}

// pipelinedUpTo is pipelined with so many in a pipeline at the most.
func (s *Store) pipelinedUpTo(ctx context.Context, n, most int, add func(pipe redis.Pipeliner, i int)) {
	for from := 0; from < n; from += most {
		pipe := s.client.Pipeline()
		for i := from; i < min(n, from+most); i++ {
			add(pipe, i)
		}
		_, _ = pipe.Exec(ctx)
	}
}

// pipelinedByNode is pipelinedUpTo for what is told of each shard by itself: on a Cluster a
// node that hangs is waited for only so long, and takes none of what others answer. key
// is the one key of a command.
func (s *Store) pipelinedByNode(ctx context.Context, n, most int, key func(i int) string, add func(pipe redis.Pipeliner, i int)) {
	if !s.cluster {
		s.pipelinedUpTo(ctx, n, most, add)
		return
	}
	parts := make(map[redis.UniversalClient][]int)
	for i := range n {
		// Where no node is known, the pipeline tells.
		client, _ := s.nodeFor(ctx, key(i))
		parts[client] = append(parts[client], i)
	}
	ctx, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	var wg sync.WaitGroup
	for client, part := range parts {
		wg.Go(func() {
			s.pipelinedUpTo(ctx, len(part), most, func(pipe redis.Pipeliner, n int) { add(pipe, part[n]) })
			if ctx.Err() != nil && client != nil {
				s.relocate(ctx)
				s.greeter.greet(client)
			}
		})
	}
	wg.Wait()
}
