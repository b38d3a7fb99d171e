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
	namespace := escape(queue.Namespace) + ","
	entries, nextMS, err := s.page(ctx, s.keys.due(shard, queue), s.keys.shards[shard]+"t:"+namespace, after.MS, after.Key.ID, limit)
	page := scheduler.Page{NextMS: nextMS}
	for _, e := range entries {
		t, err := s.decode(scheduler.TaskKey{Namespace: queue.Namespace, ID: e.member}, e.record)
		if err != nil {
			return scheduler.Page{}, err
		}
		page.Tasks = append(page.Tasks, t)
	}
	return page, err
}

// Ending returns a page of what is to end, of at most 100 tasks.
func (s *Store) Ending(ctx context.Context, shard int, after scheduler.Place, limit int) ([]*scheduler.Task, error) {
	var name string
	if after.Key != (scheduler.TaskKey{}) {
		name = member(after.Key.Namespace, after.Key.ID)
	}
	entries, _, err := s.page(ctx, s.keys.ending(shard), s.keys.shards[shard]+"t:", after.MS, name, limit)
	var out []*scheduler.Task
	for _, e := range entries {
		t, err := s.member(e.member, e.record)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, err
}

// entry is one of an index's: a member and its task's record.
type entry struct{ member, record string }

// page reads entries until there are as many as asked for: those without a
// record, which should not be, must not look like the index's end to a caller
// who gets fewer.
func (s *Store) page(ctx context.Context, index, taskPrefix string, afterMS int64, after string, limit int) ([]entry, int64, error) {
	limit = min(limit, maxPerScript)
	var entries []entry
	for {
		c := &call{
			script: s.scripts.page,
			keys:   []string{index},
			args:   []any{s.nowArg(), taskPrefix, strconv.FormatInt(afterMS, 10), after, strconv.Itoa(limit - len(entries))},
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
		asked := limit - len(entries)
		for i := 0; i < len(found); i += 3 {
			m, ok1 := found[i].(string)
			ms, ok2 := scoreOf(found[i+1])
			if !ok1 || !ok2 {
				return nil, 0, errReply
			}
			if record, ok := found[i+2].(string); ok {
				entries = append(entries, entry{m, record})
			}
			afterMS, after = ms, m
		}
		if len(entries) >= limit || len(found)/3 < asked {
			return entries, nextMS, nil
		}
	}
}
