package redisstore

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// relocate has a Cluster's client ask which node has what: another may be in the place of
// one that does not answer, which nothing tells as long as that one hangs. It does not
// wait for it.
func (s *Store) relocate(ctx context.Context) {
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

// Servers names the node of a Cluster that keeps each shard, as far as its client knows.
func (s *Store) Servers(ctx context.Context) []string {
	if !s.cluster {
		return nil
	}
	servers := make([]string, s.Shards())
	for shard := range servers {
		node, err := s.nodeFor(ctx, s.keys.heads(shard))
		if err != nil {
			// Then nothing else can be told apart either.
			return nil
		}
		servers[shard] = addrOf(node)
	}
	return servers
}

// addrOf is the address of a node of a Cluster, and empty for what is none.
func addrOf(client redis.UniversalClient) string {
	if one, ok := client.(*redis.Client); ok {
		return one.Options().Addr
	}
	return ""
}

// slotsHook bounds how long a node of a Cluster may take to tell which has what. Of
// nodes asked in turn the client forgets none that hangs, and waits for each in the time
// in which others would have told it that another is in its place.
type slotsHook struct {
	// greet greets the node.
	greet func()
}

// slotsPatience is many times what the answer takes.
const slotsPatience = 250 * time.Millisecond

// ProcessHook implements [redis.Hook].
func (h slotsHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.FullName() != "cluster slots" {
			return next(ctx, cmd)
		}
		ctx, cancel := context.WithTimeout(ctx, slotsPatience)
		defer cancel()
		err := next(ctx, cmd)
		if ctx.Err() != nil {
			h.greet()
		}
		return err
	}
}

// DialHook implements [redis.Hook].
func (slotsHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements [redis.Hook].
func (slotsHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
