package redisstore

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// Heads returns the earliest LookMS of each queue, by shard.
func (s *Store) Heads(ctx context.Context, queues []scheduler.QueueKey) ([][]int64, error) {
	members := make([]string, len(queues))
	out := make([][]int64, len(queues))
	for i, q := range queues {
		members[i] = member(q.Namespace, q.Name)
		out[i] = make([]int64, s.Shards())
	}
	// One command asks one shard for a bounded number of queues.
	parts := (len(queues) + maxPerScript - 1) / maxPerScript
	cmds := make([]*redis.Cmd, parts*s.Shards())
	s.pipelined(ctx, len(cmds), func(pipe redis.Pipeliner, i int) {
		shard, from := i/parts, i%parts*maxPerScript
		args := []any{"zmscore", s.keys.heads(shard)}
		for _, m := range members[from:min(len(members), from+maxPerScript)] {
			args = append(args, m)
		}
		cmds[i] = pipe.Do(ctx, args...)
	})
	for i, cmd := range cmds {
		shard, from := i/parts, i%parts*maxPerScript
		scores, err := cmd.Slice()
		if err != nil {
			return nil, s.failure("read the heads", err)
		}
		for n, v := range scores {
			if v == nil {
				continue
			}
			ms, ok := scoreOf(v)
			if !ok {
				return nil, errReply
			}
			out[from+n][shard] = ms
		}
	}
	return out, nil
}

// Queues returns the queues in which a shard has something to look at.
func (s *Store) Queues(ctx context.Context, shard int, after scheduler.QueueKey, limit int) ([]scheduler.QueueKey, error) {
	from := "-"
	if after != (scheduler.QueueKey{}) {
		from = "(" + member(after.Namespace, after.Name)
	}
	names, err := s.client.ZRangeArgs(ctx, redis.ZRangeArgs{
		Key: s.keys.queues(shard), Start: from, Stop: "+", ByLex: true, Count: int64(limit),
	}).Result()
	if err != nil {
		return nil, s.failure("list the queues", err)
	}
	var out []scheduler.QueueKey
	for _, m := range names {
		namespace, name, err := splitMember(m)
		if err != nil {
			return nil, err
		}
		out = append(out, scheduler.QueueKey{Namespace: namespace, Name: name})
	}
	return out, nil
}

// Due returns a page of what is due, of at most 100 tasks.
func (s *Store) Due(ctx context.Context, queue scheduler.QueueKey, shard int, after scheduler.Place, limit int) (scheduler.Page, error) {
	key := func(id string) (scheduler.TaskKey, error) {
		return scheduler.TaskKey{Namespace: queue.Namespace, ID: id}, nil
	}
	namespace := escape(queue.Namespace) + ","
	tasks, nextMS, err := s.page(ctx, s.keys.due(shard, queue), s.keys.shards[shard]+"t:"+namespace, key, after.MS, after.Key.ID, limit)
	return scheduler.Page{Tasks: tasks, NextMS: nextMS}, err
}

// Ending returns a page of what is to end, of at most 100 tasks.
func (s *Store) Ending(ctx context.Context, shard int, after scheduler.Place, limit int) ([]*scheduler.Task, error) {
	key := func(name string) (scheduler.TaskKey, error) {
		namespace, id, err := splitMember(name)
		return scheduler.TaskKey{Namespace: namespace, ID: id}, err
	}
	var name string
	if after.Key != (scheduler.TaskKey{}) {
		name = member(after.Key.Namespace, after.Key.ID)
	}
	tasks, _, err := s.page(ctx, s.keys.ending(shard), s.keys.shards[shard]+"t:", key, after.MS, name, limit)
	return tasks, err
}

// page reads an index until there are as many tasks as asked for: entries without
// a record, which should not be, and those whose record another version has
// written must neither look like the index's end to a caller who gets fewer nor
// keep the tasks behind them from being seen. key is the task of an entry.
func (s *Store) page(ctx context.Context, index, taskPrefix string, key func(member string) (scheduler.TaskKey, error), afterMS int64, after string, limit int) ([]*scheduler.Task, int64, error) {
	limit = min(limit, maxPerScript)
	var tasks []*scheduler.Task
	for {
		c := &call{
			script: s.scripts.page,
			keys:   []string{index},
			args:   []any{s.nowArg(), taskPrefix, strconv.FormatInt(afterMS, 10), after, strconv.Itoa(limit - len(tasks))},
		}
		s.run(ctx, c)
		if c.err != nil {
			return nil, 0, c.err
		}
		if len(c.reply) < 2 {
			return nil, 0, errReply
		}
		nextMS, ok := scoreOf(c.reply[1])
		found := c.reply[2:]
		if !ok || len(found)%3 != 0 {
			return nil, 0, errReply
		}
		asked := limit - len(tasks)
		for i := 0; i < len(found); i += 3 {
			m, ok1 := found[i].(string)
			ms, ok2 := scoreOf(found[i+1])
			if !ok1 || !ok2 {
				return nil, 0, errReply
			}
			if record, ok := found[i+2].(string); ok {
				if t, err := s.entry(m, record, key); err == nil {
					tasks = append(tasks, t)
				} else {
					s.log.ErrorContext(ctx, "a task cannot be read and is passed over", "index", index, "error", err)
				}
			}
			afterMS, after = ms, m
		}
		if len(tasks) >= limit || len(found)/3 < asked {
			return tasks, nextMS, nil
		}
	}
}

// entry decodes the task of an entry of an index.
func (s *Store) entry(member, record string, key func(member string) (scheduler.TaskKey, error)) (*scheduler.Task, error) {
	k, err := key(member)
	if err != nil {
		return nil, err
	}
	return s.decode(k, record)
}
