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
	// limit is how many places the next page has: fewer where records are large.
	limit int
	// counting counts the tasks of an index of what is due; nil for others.
	counting *recount
	// mended says that places were, and so may come twice.
	mended map[string]bool
}

// allScores is behind every time.
const allScores = "9007199254740992"

func (w *auditWalk) beginIndex(ctx context.Context, k auditKey, ix scheduler.Index) error {
	walk := &indexAudit{key: k, ix: ix, afterMS: "-inf", limit: auditPage, mended: make(map[string]bool)}
	switch ix.Kind {
	case scheduler.IndexDue, scheduler.IndexHeld, scheduler.IndexDead:
		got, err := w.checkQueue(ctx, k.shard, k.queue())
		if err != nil {
			return err
		}
		if ix.Kind == scheduler.IndexDue {
			walk.counting = got
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
		script: w.s.scripts.page,
		keys:   []string{x.key.key},
		args:   []any{x.afterMS, x.after, strconv.Itoa(x.limit), allScores, taskPrefix},
	}
	w.s.run(ctx, c)
	if c.err != nil {
		return false, c.err
	}
	if len(c.reply) < 2 || len(c.reply)%3 != 2 {
		return false, errReply
	}
	found := c.reply[2:]
	size := 0
	for i := 0; i < len(found); i += 3 {
		m, ok1 := found[i].(string)
		score, ok2 := found[i+1].(string)
		if !ok1 || !ok2 {
			return false, errReply
		}
		record, _ := found[i+2].(string)
		size += len(record)
		if err := w.place(ctx, m, score, record); err != nil {
			return false, err
		}
		x.afterMS, x.after = score, m
	}
	n := len(found) / 3
	w.pass.Looked += n + size/1024
	asked := x.limit
	x.limit = min(auditPage, max(1, maxScriptBytes*n/max(1, size)))
	return n == asked, nil
}

// place looks at one place, beside the record that it stands for, empty for none.
func (w *auditWalk) place(ctx context.Context, m, score, record string) error {
	x := w.index
	key, err := taskOf(x.ix, m)
	if err != nil {
		w.found(scheduler.Finding{
			Kind: scheduler.FindingUnreadable, Shard: x.key.shard, Name: m, Detail: fmt.Sprintf("%s: %v", describe(x.ix), err), Left: true,
		})
		return nil
	}
	var entries []scheduler.Entry
	var strange []scheduler.Index
	var t *scheduler.Task
	if record == "" {
		strange = []scheduler.Index{x.ix}
	} else {
		if t = w.decoded(x.key.shard, key, record); t == nil {
			return nil
		}
		ms, ok := placeOf(t, x.ix)
		at, err := strconv.ParseFloat(score, 64)
		if ok && err == nil && at == float64(ms) {
			if !x.mended[m] {
				x.counting.add(t)
			}
			return nil
		}
		entries = t.Entries(nil)
		if !ok {
			strange = []scheduler.Index{x.ix}
		}
	}
	done, err := w.mend(ctx, x.key.shard, key, record, entries, strange)
	if err != nil || !done {
		return err
	}
	x.mended[m] = true
	if len(strange) > 0 {
		x.counting.drop()
	} else {
		x.counting.add(t)
	}
	return nil
}
