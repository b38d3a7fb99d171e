package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// auditHead is how much of a record is read at first: all that the places of a task
// under way follow from, for names of usual length.
const auditHead = 512

// checkTasks holds tasks to their places in the indexes.
func (w *auditWalk) checkTasks(ctx context.Context, keys []auditKey) error {
	records := make([]string, len(keys))
	tasks := make([]*scheduler.Task, len(keys))
	var whole []int
	if err := w.read(ctx, len(keys), func(pipe redis.Pipeliner, i int) *redis.StringCmd {
		return pipe.GetRange(ctx, keys[i].key, 0, auditHead-1)
	}, func(i int, record string) {
		records[i] = record
		if t, err := decodeHead(keys[i].task(), record); err == nil {
			tasks[i] = t
		} else if record != "" {
			whole = append(whole, i)
		}
	}); err != nil {
		return err
	}
	if err := w.read(ctx, len(whole), func(pipe redis.Pipeliner, i int) *redis.StringCmd {
		return pipe.Get(ctx, keys[whole[i]].key)
	}, func(i int, record string) {
		i = whole[i]
		records[i] = record
		w.pass.Looked += len(record) / 1024
		if record == "" {
			return
		}
		if tasks[i] = w.decoded(keys[i].shard, keys[i].task(), record); tasks[i] == nil {
			// Nobody knows in which group it is.
			w.groups.doubt()
		}
	}); err != nil {
		return err
	}
	return w.checkPlaces(ctx, keys, tasks, records)
}

// read reads strings; one that is not there is empty.
func (w *auditWalk) read(ctx context.Context, n int, get func(pipe redis.Pipeliner, i int) *redis.StringCmd, got func(i int, record string)) error {
	cmds := make([]*redis.StringCmd, n)
	w.s.pipelined(ctx, n, func(pipe redis.Pipeliner, i int) { cmds[i] = get(pipe, i) })
	for i, cmd := range cmds {
		record, err := cmd.Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return w.s.failure("read a task", err)
		}
		got(i, record)
	}
	return nil
}

// decoded decodes a record; it returns nil for one that cannot be read, and notes it,
// unless another version has written it.
func (w *auditWalk) decoded(shard int, key scheduler.TaskKey, record string) *scheduler.Task {
	t, err := decodeRecord(key, record)
	if err == nil {
		return t
	}
	if _, other := errors.AsType[formatError](err); !other {
		w.found(scheduler.Finding{
			Kind: scheduler.FindingUnreadable, Shard: shard, Namespace: key.Namespace, Name: key.ID,
			Detail: fmt.Sprintf("the record cannot be read: %v", err), Left: true,
		})
	}
	return nil
}

func (k auditKey) task() scheduler.TaskKey {
	return scheduler.TaskKey{Namespace: k.namespace, ID: k.name}
}

// errNotInHead is returned for a task whose places follow from more than the head of
// its record.
var errNotInHead = errors.New("the task's places follow from more than its head")

// decodeHead reads what the places of a task that is under way, or ended, follow from.
func decodeHead(key scheduler.TaskKey, s string) (*scheduler.Task, error) {
	d := decoder{s: s}
	t := &scheduler.Task{Key: key, Generation: 1}
	t.Version = int64(d.fixed(8))
	if format := d.byte(); d.err == nil && format != recordFormat {
		return nil, formatError(format)
	}
	t.State = scheduler.State(d.byte())
	if t.State == scheduler.StateHeld || t.State == scheduler.StateDead {
		return nil, errNotInHead
	}
	*placeMS(t) = d.u48()
	t.Spec.DeadlineMS = d.u48()
	d.take(8)
	d.lease(t)
	t.Spec.Queue = d.take(int(d.fixed(2)))
	t.Spec.Group = d.take(int(d.byte()))
	return t, d.err
}

// checkPlaces holds tasks, nil where there is none, to the indexes.
func (w *auditWalk) checkPlaces(ctx context.Context, keys []auditKey, tasks []*scheduler.Task, records []string) error {
	type place struct {
		task  int
		entry scheduler.Entry
	}
	var places []place
	for i, t := range tasks {
		if t == nil || t.State.Ended() {
			continue
		}
		if shard := w.s.keys.shardOf(t.Key); shard != keys[i].shard {
			w.found(scheduler.Finding{
				Kind: scheduler.FindingUnreadable, Shard: keys[i].shard, Namespace: t.Key.Namespace, Name: t.Key.ID,
				Detail: fmt.Sprintf("the task would be looked for in shard %d", shard), Left: true,
			})
			continue
		}
		w.groups.add(keys[i].shard, t)
		for _, e := range t.Entries(nil) {
			places = append(places, place{i, e})
		}
	}
	scores := make([]*redis.FloatCmd, len(places))
	w.s.pipelined(ctx, len(places), func(pipe redis.Pipeliner, i int) {
		p := places[i]
		scores[i] = pipe.ZScore(ctx, w.s.keys.index(keys[p.task].shard, p.entry.Index), entryOf(p.entry.Index, tasks[p.task].Key))
	})
	mended := -1
	for i, cmd := range scores {
		score, err := cmd.Result()
		p := places[i]
		switch {
		case err != nil && !errors.Is(err, redis.Nil):
			return w.s.failure("read a place in an index", err)
		case err == nil && score == float64(p.entry.MS), p.task == mended:
			continue
		}
		mended = p.task
		if _, err := w.mend(ctx, keys[p.task].shard, tasks[p.task].Key, records[p.task], tasks[p.task].Entries(nil), nil); err != nil {
			return err
		}
	}
	return nil
}

// mend puts a task into the indexes that it belongs in, at entries, and takes it out of
// those that it was found in besides, if it is still as in the record that was read,
// empty for none. It says whether it was.
func (w *auditWalk) mend(ctx context.Context, shard int, key scheduler.TaskKey, record string, entries []scheduler.Entry, strange []scheduler.Index) (bool, error) {
	s := w.s
	c := &call{script: s.scripts.auditMend, keys: []string{s.keys.task(shard, key)}, args: []any{record[:min(versionBytes, len(record))]}}
	var indexes []scheduler.Index
	for _, e := range entries {
		indexes = append(indexes, e.Index)
		c.args = append(c.args, entryOf(e.Index, key), strconv.FormatInt(e.MS, 10))
	}
	for _, ix := range strange {
		indexes = append(indexes, ix)
		c.args = append(c.args, entryOf(ix, key), "")
	}
	for _, ix := range indexes {
		c.keys = append(c.keys, s.keys.index(shard, ix))
	}
	s.run(ctx, c)
	if c.err != nil || len(c.reply) == 0 {
		return false, c.err
	}
	if len(c.reply) != len(indexes) {
		return false, errReply
	}
	for i, code := range c.reply {
		f := scheduler.Finding{Shard: shard, Namespace: key.Namespace, Name: key.ID, Detail: describe(indexes[i])}
		switch code {
		case int64(0):
			continue
		case int64(1):
			f.Kind = scheduler.FindingMissing
		case int64(2):
			f.Kind = scheduler.FindingMisplaced
		case int64(3):
			f.Kind = scheduler.FindingForeign
			if record == "" {
				f.Kind = scheduler.FindingOrphan
			}
		default:
			return false, errReply
		}
		w.found(f)
		if err := w.follow(ctx, shard, indexes[i]); err != nil {
			return false, err
		}
	}
	return true, nil
}

// follow brings what is told of an index in step with what was just mended there.
func (w *auditWalk) follow(ctx context.Context, shard int, ix scheduler.Index) error {
	switch ix.Kind {
	case scheduler.IndexDue, scheduler.IndexHeld, scheduler.IndexDead:
		c := w.s.auditQueue(shard, scheduler.QueueKey{Namespace: ix.Namespace, Name: ix.Name})
		w.s.run(ctx, c)
		return c.err
	case scheduler.IndexFingerprint:
		c := w.s.auditPrint(shard, ix)
		w.s.run(ctx, c)
		return c.err
	default:
		return nil
	}
}

// describe names an index in a finding.
func describe(ix scheduler.Index) string {
	switch ix.Kind {
	case scheduler.IndexDue:
		return "due of queue " + ix.Name
	case scheduler.IndexHeld:
		return "held of queue " + ix.Name
	case scheduler.IndexDead:
		return "dead of queue " + ix.Name
	case scheduler.IndexCondition:
		return "held for condition " + ix.Name
	case scheduler.IndexFingerprint:
		return "dead of fingerprint " + ix.Fingerprint.String() + " of queue " + ix.Name
	default:
		return "ending"
	}
}

// placeOf is the task's time in an index; ok is false where it does not belong in it.
func placeOf(t *scheduler.Task, ix scheduler.Index) (ms int64, ok bool) {
	entries := t.Entries(make([]scheduler.Entry, 0, maxEntries))
	i := slices.IndexFunc(entries, func(e scheduler.Entry) bool { return e.Index == ix })
	if i < 0 {
		return 0, false
	}
	return entries[i].MS, true
}
