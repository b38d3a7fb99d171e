package main

import (
	"context"
	"fmt"

	"github.com/retryd/retryd/internal/redisproc"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// shardOf is the shard of a task on a Cluster.
func shardOf(id string) int {
	return scheduler.ShardOf(scheduler.TaskKey{Namespace: "default", ID: id}, redisstore.DefaultClusterShards)
}

// shardKey is a key of a shard, for its slot.
func shardKey(shard int) string { return fmt.Sprintf("%s:{%d}:", redisstore.DefaultPrefix, shard) }

// mastersOfShards tells for each shard which of the Cluster's masters has it.
func (w *World) mastersOfShards(ctx context.Context) ([]*redisproc.Server, error) {
	out := make([]*redisproc.Server, redisstore.DefaultClusterShards)
	for shard := range out {
		var err error
		if out[shard], _, err = w.Redis.Cluster.MasterOf(ctx, shardKey(shard)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// startShardProbes starts reporters of tasks of some shards alone that do not repeat
// what fails, to see when those can be written.
func (w *World) startShardProbes(ctx context.Context, name string, has func(shard int) bool) error {
	return w.StartLoad(ctx, Load{
		Rate: 60, Impatient: true, Prefix: name, Via: name, NoWorkers: true,
		Only: func(id string) bool { return has(shardOf(id)) },
	})
}
