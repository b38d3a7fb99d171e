package redisstore

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// Group returns a group's counts.
func (s *Store) Group(ctx context.Context, group scheduler.GroupKey) (scheduler.GroupCount, bool, error) {
	var sum scheduler.GroupCount
	found := false
	parts := make([]*redis.SliceCmd, s.Shards())
	s.pipelined(ctx, len(parts), func(pipe redis.Pipeliner, shard int) {
		parts[shard] = pipe.HMGet(ctx, s.keys.group(shard, group), fieldTotal, fieldCompleted, fieldFailed, fieldInProgress)
	})
	for _, cmd := range parts {
		fields, err := cmd.Result()
		if err != nil {
			return sum, false, s.failure("read the counts of a group", err)
		}
		for i, n := range []*int64{&sum.Total, &sum.Completed, &sum.Failed, &sum.InProgress} {
			text, ok := fields[i].(string)
			if !ok {
				continue
			}
			found = true
			count, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return sum, false, fmt.Errorf("counts of group %s in redis: %w", group.Name, err)
			}
			*n += count
		}
	}
	return sum, found, nil
}

// DeleteGroup forgets a group's counts.
func (s *Store) DeleteGroup(ctx context.Context, group scheduler.GroupKey) (bool, error) {
	calls := make([]*call, s.Shards())
	for shard := range calls {
		calls[shard] = s.forgetGroup(shard, group, "+inf", 0)
	}
	if err := s.runAll(ctx, calls); err != nil {
		return false, err
	}
	found := false
	for _, c := range calls {
		found = found || c.yes()
	}
	return found, nil
}

// forgetGroup forgets a group in a shard, if nothing has changed in it since
// before; changeMS is when something has changed in any shard.
func (s *Store) forgetGroup(shard int, group scheduler.GroupKey, before string, changeMS int64) *call {
	return &call{
		script: s.scripts.forgetGroup,
		keys:   []string{s.keys.groups(shard), s.keys.group(shard, group)},
		args:   []any{member(group.Namespace, group.Name), before, strconv.FormatInt(changeMS, 10)},
	}
}

// ForgetGroups forgets groups in which nothing changes any more. Those that have
// changed in other shards are noted here as changed then, so that they are not in
// the way of the next.
func (s *Store) ForgetGroups(ctx context.Context, shard int, beforeMS int64, limit int) (int, error) {
	before := strconv.FormatInt(beforeMS, 10)
	names, err := s.client.ZRangeArgs(ctx, redis.ZRangeArgs{
		Key: s.keys.groups(shard), Start: "-inf", Stop: "(" + before, ByScore: true, Count: int64(min(limit, maxPerScript)),
	}).Result()
	if err != nil {
		return 0, s.failure("list the groups", err)
	}
	if len(names) == 0 {
		return 0, nil
	}
	changes := make([]*redis.FloatSliceCmd, s.Shards())
	s.pipelined(ctx, len(changes), func(pipe redis.Pipeliner, i int) {
		changes[i] = pipe.ZMScore(ctx, s.keys.groups(i), names...)
	})
	changeMS := make([]int64, len(names))
	for _, cmd := range changes {
		scores, err := cmd.Result()
		if err != nil {
			return 0, s.failure("list the groups", err)
		}
		for n, score := range scores {
			changeMS[n] = max(changeMS[n], int64(score))
		}
	}
	var here, elsewhere []*call
	for n, m := range names {
		namespace, name, err := splitMember(m)
		if err != nil {
			return 0, err
		}
		group := scheduler.GroupKey{Namespace: namespace, Name: name}
		here = append(here, s.forgetGroup(shard, group, before, changeMS[n]))
		if changeMS[n] >= beforeMS {
			continue
		}
		for other := range s.Shards() {
			if other != shard {
				elsewhere = append(elsewhere, s.forgetGroup(other, group, before, 0))
			}
		}
	}
	// Here last: what is left elsewhere when it fails is found again from here.
	if err := s.runAll(ctx, elsewhere); err != nil {
		return 0, err
	}
	if err := s.runAll(ctx, here); err != nil {
		return 0, err
	}
	forgotten := 0
	for _, c := range here {
		if c.yes() {
			forgotten++
		}
	}
	return forgotten, nil
}
