package redisstore

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// Queues returns the queues that a shard knows.
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
	return queuesOf(names)
}

// DueQueues returns a page of the queues in which a shard has something due.
func (s *Store) DueQueues(ctx context.Context, shard, skip, limit int) ([]scheduler.QueueKey, error) {
	nowMS, err := s.Now(ctx)
	if err != nil {
		return nil, err
	}
	names, err := s.client.ZRangeArgs(ctx, redis.ZRangeArgs{
		Key: s.keys.heads(shard), Start: "-inf", Stop: strconv.FormatInt(nowMS, 10), ByScore: true, Offset: int64(skip), Count: int64(limit),
	}).Result()
	if err != nil {
		return nil, s.failure("list the queues with something due", err)
	}
	return queuesOf(names)
}

// queuesOf takes the members of an index of queues apart.
func queuesOf(names []string) ([]scheduler.QueueKey, error) {
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

// CountQueues returns what is counted of queues. What it tells of one queue and
// shard is of one moment, but for Open.
func (s *Store) CountQueues(ctx context.Context, queues []scheduler.QueueKey) ([]scheduler.QueueCount, error) {
	nowMS, err := s.Now(ctx)
	if err != nil {
		return nil, err
	}
	calls := make([]*call, 0, len(queues)*s.Shards())
	for _, q := range queues {
		for shard := range s.Shards() {
			calls = append(calls, &call{
				script: s.scripts.countQueue,
				keys:   append([]string{s.keys.queues(shard), s.keys.paused(shard)}, s.queueKeys(shard, q, nowMS)...),
				args:   []any{strconv.FormatInt(nowMS, 10), member(q.Namespace, q.Name), strconv.Itoa(int(scheduler.NumStats))},
			})
		}
	}
	if err := s.runAll(ctx, calls); err != nil {
		return nil, err
	}
	out := make([]scheduler.QueueCount, len(queues))
	for i := range out {
		out[i] = scheduler.QueueCount{NowMS: nowMS, Open: make(map[int64]int64), Stats: make(map[int64]scheduler.QueueStats)}
	}
	// The calls whose shard has tasks of the queue under way.
	var open []int
	for i, c := range calls {
		waiting, err := addCount(&out[i/s.Shards()], c.reply)
		if err != nil {
			return nil, err
		}
		if waiting > 0 {
			open = append(open, i)
		}
	}
	counts := make([]*redis.MapStringStringCmd, len(open))
	s.pipelined(ctx, len(open), func(pipe redis.Pipeliner, n int) {
		i := open[n]
		counts[n] = pipe.HGetAll(ctx, s.keys.count(i%s.Shards(), queues[i/s.Shards()]))
	})
	for n, cmd := range counts {
		if err := s.addOpen(out[open[n]/s.Shards()].Open, cmd); err != nil {
			return nil, err
		}
	}
	for i := range out {
		dropZeros(out[i].Open)
		dropZeros(out[i].Stats)
	}
	return out, nil
}

// queueKeys are the keys that a queue has in a shard as long as it is of any
// interest: its indexes, its counts, and its events of each hour that is told of.
func (s *Store) queueKeys(shard int, q scheduler.QueueKey, nowMS int64) []string {
	keys := []string{
		s.keys.due(shard, q),
		s.keys.index(shard, scheduler.Index{Kind: scheduler.IndexHeld, Namespace: q.Namespace, Name: q.Name}),
		s.keys.index(shard, scheduler.Index{Kind: scheduler.IndexDead, Namespace: q.Namespace, Name: q.Name}),
		s.keys.count(shard, q),
	}
	for i := range toldHours {
		keys = append(keys, s.keys.stats(shard, q, firstHour(nowMS)+int64(i)))
	}
	return keys
}

// toldHours is how many hours' events are looked for: StatHours, and the next
// one, which has begun for an engine that is ahead of the store's clock.
const toldHours = scheduler.StatHours + 1

// firstHour is the first of them.
func firstHour(nowMS int64) int64 { return nowMS/scheduler.HourMS - scheduler.StatHours + 1 }

// addCount adds to c what lua/count_queue.lua says of a shard, and returns how
// many tasks are under way there.
func addCount(c *scheduler.QueueCount, reply []any) (waiting int64, err error) {
	if len(reply) == 0 {
		return 0, nil
	}
	const events = 7
	if len(reply) != events+toldHours {
		return 0, errReply
	}
	c.Known = true
	if v, ok := reply[0].(string); ok {
		if err := addPause(c, v); err != nil {
			return 0, err
		}
	}
	head, ok := scoreOf(reply[4])
	if !ok {
		return 0, errReply
	}
	if head != 0 && (c.HeadMS == 0 || head < c.HeadMS) {
		c.HeadMS = head
	}
	var counts [events]int64
	for _, i := range []int{1, 2, 3, 5, 6} {
		if counts[i], ok = reply[i].(int64); !ok {
			return 0, errReply
		}
	}
	c.Waiting += counts[1]
	c.Due += counts[2]
	c.Leased += counts[3]
	c.Held += counts[5]
	c.Dead += counts[6]
	for i, v := range reply[events:] {
		stats, ok := statsOf(v)
		if !ok {
			return 0, errReply
		}
		hour := firstHour(c.NowMS) + int64(i)
		sum := c.Stats[hour]
		sum.Add(stats)
		c.Stats[hour] = sum
	}
	return counts[1], nil
}

// addPause adds the pause of one shard. Where shards differ, as after a pause that
// failed half-way, the queue is as paused as its most paused shard.
func addPause(c *scheduler.QueueCount, kept string) error {
	untilMS, err := strconv.ParseInt(kept, 10, 64)
	if err != nil {
		return fmt.Errorf("end of a pause in redis: %w", err)
	}
	switch {
	case untilMS != 0 && untilMS <= c.NowMS:
	case !c.Paused:
		c.Paused, c.PausedUntilMS = true, untilMS
	case untilMS == 0 || c.PausedUntilMS == 0:
		c.PausedUntilMS = 0
	default:
		c.PausedUntilMS = max(c.PausedUntilMS, untilMS)
	}
	return nil
}

// statsOf reads the events of an hour, nil being none.
func statsOf(v any) (stats scheduler.QueueStats, ok bool) {
	if v == nil {
		return stats, true
	}
	counts, ok := v.([]any)
	if !ok || len(counts) != len(stats) {
		return stats, false
	}
	for i, n := range counts {
		if n == nil {
			continue
		}
		text, _ := n.(string)
		var err error
		if stats[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return stats, false
		}
	}
	return stats, true
}

// addOpen adds a shard's counts of tasks under way, by hour.
func (s *Store) addOpen(open map[int64]int64, cmd *redis.MapStringStringCmd) error {
	fields, err := cmd.Result()
	if err != nil {
		return s.failure("count queues", err)
	}
	// The number of those LEASED is kept among them.
	delete(fields, fieldLeased)
	for field, value := range fields {
		hour, err1 := strconv.ParseInt(field, 10, 64)
		n, err2 := strconv.ParseInt(value, 10, 64)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("counts of a queue in redis: %q of hour %q is no number", value, field)
		}
		open[hour] += n
	}
	return nil
}

// dropZeros drops the hours in which nothing was, all in all.
func dropZeros[V comparable](byHour map[int64]V) {
	var zero V
	maps.DeleteFunc(byHour, func(_ int64, v V) bool { return v == zero })
}

// PauseQueue stops claims from a queue. A claim looks into its own shard, so the
// pause is written into each.
func (s *Store) PauseQueue(ctx context.Context, queue scheduler.QueueKey, untilMS int64) error {
	return s.setPause(ctx, queue, strconv.FormatInt(untilMS, 10))
}

// ResumeQueue ends a queue's pause.
func (s *Store) ResumeQueue(ctx context.Context, queue scheduler.QueueKey) error {
	return s.setPause(ctx, queue, "")
}

func (s *Store) setPause(ctx context.Context, queue scheduler.QueueKey, until string) error {
	calls := make([]*call, s.Shards())
	for shard := range calls {
		calls[shard] = &call{
			script: s.scripts.pause,
			keys:   []string{s.keys.queues(shard), s.keys.paused(shard)},
			args:   []any{member(queue.Namespace, queue.Name), until},
		}
	}
	return s.runAll(ctx, calls)
}

// ForgetQueues forgets queues of a shard that are of no use any more.
func (s *Store) ForgetQueues(ctx context.Context, shard int, after scheduler.QueueKey, limit int) (scheduler.QueueKey, error) {
	page, err := s.Queues(ctx, shard, after, limit)
	if err != nil || len(page) == 0 {
		return scheduler.QueueKey{}, err
	}
	nowMS, err := s.Now(ctx)
	if err != nil {
		return scheduler.QueueKey{}, err
	}
	calls := make([]*call, len(page))
	for i, q := range page {
		calls[i] = &call{
			script: s.scripts.forgetQueue,
			keys:   append([]string{s.keys.queues(shard), s.keys.paused(shard)}, s.queueKeys(shard, q, nowMS)...),
			args:   []any{s.nowArg(), member(q.Namespace, q.Name)},
		}
	}
	if err := s.runAll(ctx, calls); err != nil {
		return scheduler.QueueKey{}, err
	}
	if len(page) < limit {
		return scheduler.QueueKey{}, nil
	}
	return page[len(page)-1], nil
}
