package redisstore

import (
	"context"
	"fmt"
	"strconv"

	"github.com/retryd/retryd/scheduler"
)

// indexAudit is a walk over the places of one index, in its order: a task that does not
// change is met once.
type indexAudit struct {
	key auditKey
	ix  scheduler.Index
	// afterMS and after are the last place looked at, as Redis writes them.
	afterMS, after string
	// counting counts the tasks of an index of what is due, held or dead; nil for others,
	// and where something cannot be read.
	counting *recount
	// mended are the places that were mended while it counts, and so may come twice.
	mended map[string]bool
}

// maxAuditMended bounds the places that are kept as mended: an index with more is not
// counted in this walk.
const maxAuditMended = 10_000

// allScores is behind every time.
const allScores = "9007199254740992"

func (w *auditWalk) beginIndex(ctx context.Context, k auditKey, ix scheduler.Index) error {
	walk := &indexAudit{key: k, ix: ix, afterMS: "-inf", mended: make(map[string]bool)}
	switch ix.Kind {
	case scheduler.IndexDue, scheduler.IndexHeld, scheduler.IndexDead:
		got, err := w.checkQueue(ctx, k.shard, k.queue())
		if err != nil {
			return err
		}
		if got != nil && w.recounts() {
			walk.counting = got.recount(ix.Kind)
		}
	case scheduler.IndexFingerprint:
		if err := w.checkPrint(ctx, k.shard, ix); err != nil {
			return err
		}
	default:
	}
	w.index = walk
	return w.places(ctx)
}

// places looks at the next places of an index, and at its counts in the end.
func (w *auditWalk) places(ctx context.Context) error {
	from := w.pass.Looked
	for w.pass.Looked-from < auditBurst {
		more, err := w.placesPage(ctx)
		if err != nil {
			return err
		}
		if !more {
			counting, k := w.index.counting, w.index.key
			w.index = nil
			if counting == nil {
				return nil
			}
			return w.settleCounts(ctx, k.shard, k.queue(), counting)
		}
	}
	return nil
}

func (w *auditWalk) placesPage(ctx context.Context) (more bool, err error) {
	x := w.index
	taskPrefix := w.s.keys.shards[x.key.shard] + "t:"
	if x.ix.Kind != scheduler.IndexEnding {
		taskPrefix += member(x.ix.Namespace, "")
	}
	c := &call{
		script: w.s.scripts.auditPage,
		keys:   []string{x.key.key},
		args:   []any{x.afterMS, x.after, strconv.Itoa(auditPage), allScores, taskPrefix},
	}
	w.s.runAudit(ctx, c)
	if w.wrongIndex(c.err, x.key.shard, x.ix) {
		x.counting = nil
		return false, nil
	}
	if c.err != nil {
		return false, c.err
	}
	if len(c.reply) < 2 || len(c.reply)%3 != 2 {
		return false, errReply
	}
	found := c.reply[2:]
	n := len(found) / 3
	w.looked(n, 0)
	var long []place
	var keys []auditKey
	for i := range n {
		p, err := w.placeFrom(found[3*i], found[3*i+1], found[3*i+2])
		if err != nil {
			return false, err
		}
		x.afterMS, x.after = p.score, p.member
		switch {
		case !p.named || x.told(p):
		case len(p.record) < auditHead:
			if err := w.place(ctx, p); err != nil {
				return false, err
			}
		default:
			long = append(long, p)
			keys = append(keys, auditKey{shard: x.key.shard, namespace: p.key.Namespace, name: p.key.ID, key: taskPrefix + p.member})
		}
	}
	return n == auditPage, w.readWhole(ctx, keys, func(i int, record string) error {
		p := long[i]
		if len(record) < versionBytes || record[:versionBytes] != p.record[:versionBytes] {
			// Whoever has changed it since has moved its place as well.
			return nil
		}
		p.record = record
		return w.place(ctx, p)
	})
}

// place is a place in an index beside the record that it stands for, or the head of a
// long one, empty for none.
type place struct {
	member, score string
	key           scheduler.TaskKey
	named         bool
	record        string
}

// placeFrom reads a place from a script's answer; one that names no task is noted.
func (w *auditWalk) placeFrom(name, score, record any) (p place, err error) {
	var ok1, ok2 bool
	p.member, ok1 = name.(string)
	p.score, ok2 = score.(string)
	if !ok1 || !ok2 {
		return p, errReply
	}
	p.record, _ = record.(string)
	x := w.index
	if p.key, err = taskOf(x.ix, p.member); err != nil {
		w.found(scheduler.Finding{
			Kind: scheduler.FindingUnreadable, Shard: x.key.shard, Name: p.member, Detail: fmt.Sprintf("%s: %v", describe(x.ix), err), Left: true,
		})
		return p, nil
	}
	p.named = true
	return p, nil
}

// told says that the head of a long record tells that its place is right and that there
// is nothing to count. The time of what is held or dead is in the rest: that was compared
// when the task was scanned.
func (x *indexAudit) told(p place) bool {
	if len(p.record) < auditHead {
		return false
	}
	t, err := decodeHead(p.key, p.record)
	if err != nil {
		return false
	}
	switch x.ix.Kind {
	case scheduler.IndexHeld:
		return x.counting.passes(t) && t.State == scheduler.StateHeld && t.Spec.Queue == x.ix.Name
	case scheduler.IndexDead:
		return x.counting.passes(t) && t.State == scheduler.StateDead && t.Spec.Queue == x.ix.Name
	case scheduler.IndexDue, scheduler.IndexEnding:
		return x.counting.passes(t) && isAt(t, x.ix, p.score)
	default:
		return false
	}
}

// isAt says whether a task belongs in an index at the time that it has there.
func isAt(t *scheduler.Task, ix scheduler.Index, score string) bool {
	ms, ok := placeOf(t, ix)
	at, err := strconv.ParseFloat(score, 64)
	return ok && err == nil && at == float64(ms)
}

// place looks at one place beside the whole of its record.
func (w *auditWalk) place(ctx context.Context, p place) error {
	x := w.index
	strange := []scheduler.Index{x.ix}
	var entries []scheduler.Entry
	var t *scheduler.Task
	if p.record != "" {
		if t = w.decoded(x.key.shard, p.key, p.record); t == nil {
			return nil
		}
		if isAt(t, x.ix, p.score) {
			if !x.mended[p.member] {
				x.counting.add(t)
			}
			return nil
		}
		entries = t.Entries(nil)
		if _, ok := placeOf(t, x.ix); ok {
			strange = nil
		}
	}
	done, err := w.mend(ctx, x.key.shard, p.key, p.record, entries, strange)
	if err != nil || !done || x.counting == nil {
		return err
	}
	if len(x.mended) == maxAuditMended {
		x.counting = nil
		return nil
	}
	x.mended[p.member] = true
	if len(strange) > 0 {
		x.counting.drop()
	} else {
		x.counting.add(t)
	}
	return nil
}
