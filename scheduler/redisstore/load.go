package redisstore

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// Load returns tasks as they are.
func (s *Store) Load(ctx context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	out := make([]scheduler.Loaded, len(keys))
	cmds := make([]*redis.StringCmd, len(keys))
	nameOf := func(i int) string { return s.keys.task(s.keys.shardOf(keys[i]), keys[i]) }
	if len(keys) == 1 && !s.cluster {
		cmds[0] = s.client.Get(ctx, nameOf(0))
	} else {
		s.pipelinedByNode(ctx, len(keys), maxPipelined, nameOf, func(pipe redis.Pipeliner, i int) { cmds[i] = pipe.Get(ctx, nameOf(i)) })
	}
	for i, cmd := range cmds {
		record, err := cmd.Result()
		switch {
		case errors.Is(err, redis.Nil):
		case err != nil:
			out[i].Err = s.failure("load", err)
		default:
			out[i].Task, out[i].Err = s.decode(keys[i], record)
			if s.expired(out[i].Task) {
				out[i].Task = nil
			}
			out[i].Unconfirmed = s.confirms()
		}
	}
	return out
}

// expired says whether a task is over that a test's clock has passed; on its own
// clock Redis drops it.
func (s *Store) expired(t *scheduler.Task) bool {
	return s.cfg.NowMS != nil && t != nil && t.State.Ended() && s.cfg.NowMS() >= t.ExpireMS
}

// Now returns the clock of Redis; on a Cluster, that of the node that keeps the
// policies.
func (s *Store) Now(ctx context.Context) (int64, error) {
	if s.cfg.NowMS != nil {
		return s.cfg.NowMS(), nil
	}
	client, err := s.nodeFor(ctx, s.keys.layout())
	if err != nil {
		return 0, err
	}
	t, err := client.Time(ctx).Result()
	if err != nil {
		return 0, s.failure("read the clock", err)
	}
	return t.UnixMilli(), nil
}
