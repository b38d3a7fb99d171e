package redisstore

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// maxBrowsed is how many places one part of an index has at the most.
const maxBrowsed = 1000

// maxHeadsPipelined bounds how many times a hundred queues are asked about in a pipeline,
// so that thousands of them keep nobody waiting.
const maxHeadsPipelined = 20

// Heads returns the heads of each queue, by shard. Each command reads one key: on a
// Cluster it is answered also while its slot is on the move, when a script waits for all
// of its keys to be in one place.
func (s *Store) Heads(ctx context.Context, queues []scheduler.QueueKey) ([][]scheduler.Head, error) {
	names := make([]string, len(queues))
	out := make([][]scheduler.Head, len(queues))
	for i, q := range queues {
		names[i] = member(q.Namespace, q.Name)
		out[i] = make([]scheduler.Head, s.Shards())
	}
	// One command asks one shard for a bounded number of queues.
	parts := (len(queues) + maxPerScript - 1) / maxPerScript
	heads := make([]*redis.FloatSliceCmd, parts*s.Shards())
	s.pipelinedByNode(ctx, len(heads), maxHeadsPipelined, func(i int) string { return s.keys.heads(i / parts) }, func(pipe redis.Pipeliner, i int) {
		from := i % parts * maxPerScript
		heads[i] = pipe.ZMScore(ctx, s.keys.heads(i/parts), names[from:min(len(names), from+maxPerScript)]...)
	})
	var failed error
	answered := false
	var found []*foundHeads
	for i, cmd := range heads {
		scores, err := cmd.Result()
		if err != nil {
			failed = s.failure("read the heads", err)
			continue
		}
		answered = true
		f := &foundHeads{shard: i / parts}
		for n, score := range scores {
			if score != 0 {
				f.add(i%parts*maxPerScript+n, names, int64(score))
			}
		}
		if len(f.at) > 0 {
			found = append(found, f)
		}
	}
	if err := s.readPauses(ctx, found); err != nil {
		failed = err
	}
	var nowMS int64
	for _, f := range found {
		for n, at := range f.at {
			head := scheduler.Head{LookMS: f.looksMS[n], OpenMS: f.looksMS[n]}
			if kept, paused := f.ends[n].(string); paused {
				// Few queues are paused, and only with these it matters what time it is.
				var err error
				if nowMS == 0 {
					if nowMS, err = s.Now(ctx); err != nil {
						return nil, err
					}
				}
				if head.OpenMS, err = openHead(head.LookMS, kept, nowMS); err != nil {
					return nil, err
				}
			}
			out[at][f.shard] = head
		}
	}
	if failed != nil && !answered {
		out = nil
	}
	return out, failed
}

// foundHeads are those of a part of the queues that have something in a shard.
type foundHeads struct {
	shard int
	// at are the queues' places among those asked for.
	at      []int
	names   []string
	looksMS []int64
	// ends are what is kept of their pauses.
	ends []any
}

func (f *foundHeads) add(at int, names []string, lookMS int64) {
	f.at, f.names, f.looksMS = append(f.at, at), append(f.names, names[at]), append(f.looksMS, lookMS)
}

// readPauses reads the pauses of queues that have something: most of many have not. Where
// they cannot be read, the queues are found no more.
func (s *Store) readPauses(ctx context.Context, found []*foundHeads) error {
	pauses := make([]*redis.SliceCmd, len(found))
	keyOf := func(i int) string { return s.keys.paused(found[i].shard) }
	s.pipelinedByNode(ctx, len(found), maxHeadsPipelined, keyOf, func(pipe redis.Pipeliner, i int) {
		pauses[i] = pipe.HMGet(ctx, keyOf(i), found[i].names...)
	})
	var failed error
	for i, f := range found {
		var err error
		if f.ends, err = pauses[i].Result(); err != nil {
			failed = s.failure("read the pauses", err)
			f.at = nil
		}
	}
	return failed
}

// openHead is when a queue's earliest can be claimed beside what is kept of its pause.
func openHead(headMS int64, kept string, nowMS int64) (int64, error) {
	untilMS, err := strconv.ParseInt(kept, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("end of a pause in redis: %w", err)
	case untilMS == 0:
		return 0, nil
	case untilMS <= nowMS:
		return headMS, nil
	default:
		return max(headMS, untilMS), nil
	}
}

// Due returns a page of what is due, of at most 100 tasks.
func (s *Store) Due(ctx context.Context, queue scheduler.QueueKey, shard int, after scheduler.Place, limit int) (scheduler.Page, error) {
	due := scheduler.Index{Kind: scheduler.IndexDue, Namespace: queue.Namespace, Name: queue.Name}
	tasks, nextMS, err := s.page(ctx, due, shard, after, limit)
	return scheduler.Page{Tasks: tasks, NextMS: nextMS}, err
}

// Ending returns a page of what is to end, of at most 100 tasks.
func (s *Store) Ending(ctx context.Context, shard int, after scheduler.Place, limit int) ([]*scheduler.Task, error) {
	tasks, _, err := s.page(ctx, scheduler.Index{Kind: scheduler.IndexEnding}, shard, after, limit)
	return tasks, err
}

// page reads an index until there are as many tasks as asked for: entries without
// a record, which should not be, and those whose record another version has
// written must neither look like the index's end to a caller who gets fewer nor
// keep the tasks behind them from being seen.
func (s *Store) page(ctx context.Context, ix scheduler.Index, shard int, place scheduler.Place, limit int) ([]*scheduler.Task, int64, error) {
	limit = min(limit, maxPerScript)
	index, taskPrefix := s.keys.index(shard, ix), s.keys.shards[shard]+"t:"
	if ix.Kind != scheduler.IndexEnding {
		taskPrefix += member(ix.Namespace, "")
	}
	var tasks []*scheduler.Task
	afterMS, after := place.MS, entryOf(ix, place.Key)
	for {
		asked := limit - len(tasks)
		c := &call{
			script: s.scripts.page,
			keys:   []string{index},
			args:   []any{strconv.FormatInt(afterMS, 10), after, strconv.Itoa(asked), s.nowArg(), taskPrefix},
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
		for i := 0; i < len(found); i += 3 {
			m, ok1 := found[i].(string)
			ms, ok2 := scoreOf(found[i+1])
			if !ok1 || !ok2 {
				return nil, 0, errReply
			}
			if record, ok := found[i+2].(string); ok {
				if t, err := s.entry(ix, m, record); err == nil {
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
func (s *Store) entry(ix scheduler.Index, member, record string) (*scheduler.Task, error) {
	key, err := taskOf(ix, member)
	if err != nil {
		return nil, err
	}
	return s.decode(key, record)
}

// entryOf is the member that stands for a task in an index, empty for the zero
// key.
func entryOf(ix scheduler.Index, key scheduler.TaskKey) string {
	if ix.Kind != scheduler.IndexEnding || key == (scheduler.TaskKey{}) {
		return key.ID
	}
	return member(key.Namespace, key.ID)
}

// taskOf is the task that a member of an index stands for.
func taskOf(ix scheduler.Index, member string) (scheduler.TaskKey, error) {
	if ix.Kind != scheduler.IndexEnding {
		return scheduler.TaskKey{Namespace: ix.Namespace, ID: member}, nil
	}
	namespace, id, err := splitMember(member)
	return scheduler.TaskKey{Namespace: namespace, ID: id}, err
}

// Browse reads parts of indexes.
func (s *Store) Browse(ctx context.Context, parts []scheduler.Part) []scheduler.Browsed {
	calls := make([]*call, len(parts))
	for i := range parts {
		p := &parts[i]
		calls[i] = &call{
			script: s.scripts.browse,
			keys:   []string{s.keys.index(p.Shard, p.Index)},
			args:   []any{strconv.FormatInt(p.After.MS, 10), entryOf(p.Index, p.After.Key), strconv.Itoa(min(p.Limit, maxBrowsed))},
		}
	}
	s.run(ctx, calls...)
	out := make([]scheduler.Browsed, len(parts))
	for i, c := range calls {
		out[i] = browsed(parts[i].Index, c)
	}
	return out
}

func browsed(ix scheduler.Index, c *call) scheduler.Browsed {
	if c.err != nil {
		return scheduler.Browsed{Err: c.err}
	}
	if len(c.reply)%2 == 0 {
		return scheduler.Browsed{Err: errReply}
	}
	var got scheduler.Browsed
	var ok bool
	if got.Left, ok = c.reply[0].(int64); !ok {
		return scheduler.Browsed{Err: errReply}
	}
	for i := 1; i < len(c.reply); i += 2 {
		m, ok1 := c.reply[i].(string)
		ms, ok2 := scoreOf(c.reply[i+1])
		if !ok1 || !ok2 {
			return scheduler.Browsed{Err: errReply}
		}
		key, err := taskOf(ix, m)
		if err != nil {
			return scheduler.Browsed{Err: err}
		}
		got.Places = append(got.Places, scheduler.Place{MS: ms, Key: key})
	}
	return got
}

// fingerprintsAtOnce is about how many fingerprints one command reads, so that
// Redis serves others in between.
const fingerprintsAtOnce = 500

// DeadLetterGroups returns the fingerprints of a queue's dead letters.
func (s *Store) DeadLetterGroups(ctx context.Context, queue scheduler.QueueKey) ([]scheduler.DeadLetterGroup, error) {
	// A scan may tell of a field twice, if the hash changes meanwhile.
	kept := make([]map[string]string, s.Shards())
	cursors := make([]uint64, s.Shards())
	var open []int
	for shard := range kept {
		kept[shard] = make(map[string]string)
		open = append(open, shard)
	}
	for len(open) > 0 {
		cmds := make([]*redis.ScanCmd, len(open))
		s.pipelined(ctx, len(open), func(pipe redis.Pipeliner, i int) {
			cmds[i] = pipe.HScan(ctx, s.keys.fingerprints(open[i], queue), cursors[open[i]], "", fingerprintsAtOnce)
		})
		var more []int
		for i, cmd := range cmds {
			fields, cursor, err := cmd.Result()
			if err != nil {
				return nil, s.failure("read the fingerprints", err)
			}
			shard := open[i]
			for n := 0; n+1 < len(fields); n += 2 {
				kept[shard][fields[n]] = fields[n+1]
			}
			if cursors[shard] = cursor; cursor != 0 {
				more = append(more, shard)
			}
		}
		open = more
	}
	return mergeFingerprints(queue, kept)
}

// mergeFingerprints adds up what the shards have of a queue's fingerprints.
func mergeFingerprints(queue scheduler.QueueKey, kept []map[string]string) ([]scheduler.DeadLetterGroup, error) {
	var out []scheduler.DeadLetterGroup
	places := make(map[string]int)
	for _, fields := range kept {
		for field, value := range fields {
			part, err := decodeFingerprint(queue, field, value)
			if err != nil {
				return nil, err
			}
			at, ok := places[field]
			if !ok {
				if part.Fingerprint, ok = scheduler.ParseFingerprint(field); !ok {
					return nil, fmt.Errorf("fingerprint %q of queue %s in redis: it must be 16 hexadecimal digits", field, queue.Name)
				}
				places[field] = len(out)
				out = append(out, part)
				continue
			}
			g := &out[at]
			g.Count += part.Count
			g.FirstMS = min(g.FirstMS, part.FirstMS)
			if part.LastMS > g.LastMS || (part.LastMS == g.LastMS && part.Sample.ID > g.Sample.ID) {
				g.LastMS, g.Sample = part.LastMS, part.Sample
			}
		}
	}
	return out, nil
}

// decodeFingerprint reads what lua/commit.lua keeps under a fingerprint: how many
// dead letters a shard has of it (4 bytes), when the first and the last of them
// died (6 each), and the last one's id.
func decodeFingerprint(queue scheduler.QueueKey, field, value string) (scheduler.DeadLetterGroup, error) {
	d := decoder{s: value}
	g := scheduler.DeadLetterGroup{Queue: queue, Count: int64(d.fixed(4)), FirstMS: d.u48(), LastMS: d.u48()}
	if d.err != nil {
		return g, fmt.Errorf("fingerprint %s of queue %s in redis: %w", field, queue.Name, d.err)
	}
	g.Sample = scheduler.TaskKey{Namespace: queue.Namespace, ID: d.s}
	return g, nil
}
