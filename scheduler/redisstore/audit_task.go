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

const (
	// auditHead is how much of a record is read at first: all that the places of a task
	// under way follow from, for names of usual length. A shorter one is the whole.
	auditHead = 512
	// auditWholes is how many records are read whole at once: the longest have more than
	// 128 KiB.
	auditWholes = 16
)

// checkTasks holds tasks to their places in the indexes.
func (w *auditWalk) checkTasks(ctx context.Context, keys []auditKey) error {
	records := make([]string, len(keys))
	tasks := make([]*scheduler.Task, len(keys))
	var long []int
	decode := func(i int) {
		if tasks[i] = w.decoded(keys[i].shard, keys[i].task(), records[i]); tasks[i] == nil {
			// Nobody knows in which group it is.
			w.groups.doubt()
		}
	}
	if err := w.read(ctx, keys, func(pipe redis.Pipeliner, k auditKey) *redis.StringCmd {
		return pipe.GetRange(ctx, k.key, 0, auditHead-1)
	}, func(i int, record string) {
		records[i] = record
		t, err := decodeHead(keys[i].task(), record)
		switch {
		case record == "":
		case err == nil && t.State != scheduler.StateHeld && t.State != scheduler.StateDead:
			tasks[i] = t
		case len(record) < auditHead:
			decode(i)
		default:
			long = append(long, i)
		}
	}); err != nil {
		return err
	}
	wholes := make([]auditKey, len(long))
	for n, i := range long {
		wholes[n] = keys[i]
	}
	if err := w.readWhole(ctx, wholes, func(n int, record string) error {
		if records[long[n]] = record; record != "" {
			decode(long[n])
		}
		return nil
	}); err != nil {
		return err
	}
	return w.checkPlaces(ctx, keys, tasks, records)
}

// readWhole reads whole records, and hands each to got as it comes.
func (w *auditWalk) readWhole(ctx context.Context, keys []auditKey, got func(i int, record string) error) error {
	for from := 0; from < len(keys); from += auditWholes {
		part := keys[from:min(len(keys), from+auditWholes)]
		records := make([]string, len(part))
		if err := w.read(ctx, part, func(pipe redis.Pipeliner, k auditKey) *redis.StringCmd {
			return pipe.Get(ctx, k.key)
		}, func(i int, record string) { records[i] = record }); err != nil {
			return err
		}
		for i, record := range records {
			w.looked(0, len(record))
			if err := got(from+i, record); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads strings of the keys of tasks; one that is not there is empty.
func (w *auditWalk) read(ctx context.Context, keys []auditKey, get func(pipe redis.Pipeliner, k auditKey) *redis.StringCmd, got func(i int, record string)) error {
	cmds := make([]*redis.StringCmd, len(keys))
	w.s.pipelined(ctx, len(keys), func(pipe redis.Pipeliner, i int) { cmds[i] = get(pipe, keys[i]) })
	for i, cmd := range cmds {
		record, err := cmd.Result()
		switch {
		case w.wrongType(err, keys[i].shard, keys[i].namespace, keys[i].name, "the task's record"):
			w.groups.doubt()
		case err != nil && !errors.Is(err, redis.Nil):
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

// decodeHead reads what is in the head of a record: all that the places of a task follow
// from, but for one that is held or dead, and what it is counted by but for its hour.
func decodeHead(key scheduler.TaskKey, s string) (*scheduler.Task, error) {
	d := decoder{s: s}
	t := &scheduler.Task{Key: key, Generation: 1}
	t.Version = int64(d.fixed(8))
	if format := d.byte(); d.err == nil && format != recordFormat {
		return nil, formatError(format)
	}
	t.State = scheduler.State(d.byte())
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
		case w.wrongIndex(err, keys[p.task].shard, p.entry.Index):
			continue
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
	s.runAudit(ctx, c)
	w.looked(mendCost, 0)
	if w.wrongType(c.err, shard, key.Namespace, key.ID, "the task, or its places") {
		return false, nil
	}
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
	var c *call
	switch ix.Kind {
	case scheduler.IndexDue, scheduler.IndexHeld, scheduler.IndexDead:
		c = w.s.auditQueue(shard, scheduler.QueueKey{Namespace: ix.Namespace, Name: ix.Name})
	case scheduler.IndexFingerprint:
		c = w.s.auditPrint(shard, ix)
	default:
		return nil
	}
	w.s.runAudit(ctx, c)
	if w.wrongIndex(c.err, shard, ix) {
		return nil
	}
	return c.err
}

// wrongIndex is wrongType for what is kept of an index.
func (w *auditWalk) wrongIndex(err error, shard int, ix scheduler.Index) bool {
	return w.wrongType(err, shard, ix.Namespace, ix.Name, describe(ix))
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
