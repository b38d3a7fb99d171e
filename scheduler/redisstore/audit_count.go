package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// recount counts anew what a shard counts of a queue's tasks under way, while they
// change. The counts are right when they tell how things were as the counting began.
// Of the tasks of the index that are met at a version from before then it is known how
// they were; those in doubt are the rest of as many as there were. What is wrong however
// they were is mended, by as much.
type recount struct {
	// beganMS is when it began by Redis's clock, began the latest by ours.
	beganMS int64
	began   time.Time
	// mendings is how often counts had been mended then; have are the counts.
	mendings string
	have     map[string]int64
	// places are how many there were in the index, known how many of them were met.
	places, known int64
	sums          map[string]int64
	// garbled are the counts that are no numbers. They count for nothing, here and in the
	// script that mends them.
	garbled []string
	// tooMany says that there are more counts than are looked at.
	tooMany bool
}

// add counts a task of the index, if it has not changed since the counting began.
func (r *recount) add(t *scheduler.Task) {
	if r.passes(t) {
		return
	}
	r.known++
	tally := scheduler.TallyOf(nil, t, 0)
	if tally.Leased != 0 {
		r.sums[fieldLeased]++
	}
	if tally.Entered != 0 {
		r.sums[strconv.FormatInt(tally.Entered, 10)]++
	}
}

// passes says that a task is not to be counted: it has changed, or nothing is counted.
func (r *recount) passes(t *scheduler.Task) bool { return r == nil || t.Version >= r.beganMS*1000 }

// drop takes note of a place that was none.
func (r *recount) drop() {
	if r != nil {
		r.places--
	}
}

// wrongBy is by how much each count is wrong at the least.
func (r *recount) wrongBy() map[string]int64 {
	doubt := r.places - r.known
	if doubt < 0 || r.tooMany {
		return nil
	}
	wrong := make(map[string]int64)
	for _, field := range r.garbled {
		wrong[field] = 0
	}
	for field, n := range r.have {
		if over := n - r.sums[field] - doubt; over > 0 {
			wrong[field] = over
		}
	}
	for field, n := range r.sums {
		if under := r.have[field] - n; under < 0 {
			wrong[field] = under
		}
	}
	for field, n := range r.have {
		if n < 0 && r.sums[field] == 0 {
			wrong[field] = n
		}
	}
	return wrong
}

// auditQueue holds what is told of a queue to its indexes.
func (s *Store) auditQueue(shard int, q scheduler.QueueKey) *call {
	k := &s.keys
	return &call{
		script: s.scripts.auditQueue,
		keys: []string{
			k.due(shard, q),
			k.index(shard, scheduler.Index{Kind: scheduler.IndexHeld, Namespace: q.Namespace, Name: q.Name}),
			k.index(shard, scheduler.Index{Kind: scheduler.IndexDead, Namespace: q.Namespace, Name: q.Name}),
			k.count(shard, q), k.heads(shard), k.queues(shard), k.audits(shard),
		},
		args: []any{s.nowArg(), member(q.Namespace, q.Name)},
	}
}

// checkQueue looks at what is told of a queue, and returns a recount that begins, nil
// where something cannot be read.
func (w *auditWalk) checkQueue(ctx context.Context, shard int, q scheduler.QueueKey) (*recount, error) {
	c := w.s.auditQueue(shard, q)
	w.s.runAudit(ctx, c)
	return w.queueChecked(shard, q, c)
}

func (w *auditWalk) queueChecked(shard int, q scheduler.QueueKey, c *call) (*recount, error) {
	if w.wrongType(c.err, shard, q.Namespace, q.Name, "what is kept of the queue") {
		return nil, nil
	}
	if c.err != nil {
		return nil, c.err
	}
	if len(c.reply) != 6 {
		return nil, errReply
	}
	r := &recount{began: time.Now(), have: make(map[string]int64), sums: make(map[string]int64)}
	var ok [6]bool
	var head, unknown int64
	var fields []any
	r.beganMS, ok[0] = c.reply[0].(int64)
	head, ok[1] = c.reply[1].(int64)
	unknown, ok[2] = c.reply[2].(int64)
	r.places, ok[3] = c.reply[3].(int64)
	r.mendings, ok[4] = c.reply[4].(string)
	fields, ok[5] = c.reply[5].([]any)
	if c.reply[5] == nil {
		ok[5], r.tooMany = true, true
	}
	if slices.Contains(ok[:], false) || len(fields)%2 != 0 {
		return nil, errReply
	}
	for i := 0; i < len(fields); i += 2 {
		field, _ := fields[i].(string)
		value, _ := fields[i+1].(string)
		n, ok := parseCount(value)
		if !ok {
			r.garbled = append(r.garbled, field)
			continue
		}
		r.have[field] = n
	}
	f := scheduler.Finding{Shard: shard, Namespace: q.Namespace, Name: q.Name}
	if head != 0 {
		f.Kind, f.Detail = scheduler.FindingHead, [...]string{1: "it had none", 2: "it was another", 3: "there is nothing due"}[head&3]
		w.found(f)
	}
	if unknown != 0 {
		f.Kind, f.Detail = scheduler.FindingUnknownQueue, ""
		w.found(f)
	}
	return r, nil
}

// maxCount is the most that a script can count to without losing digits.
const maxCount = 1 << 53

// parseCount reads a count; ok is false for what no script has written, and none could
// add to.
func parseCount(value string) (n int64, ok bool) {
	n, err := strconv.ParseInt(value, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == value && -maxCount <= n && n <= maxCount
}

// settleCounts mends what a recount has found to be wrong.
func (w *auditWalk) settleCounts(ctx context.Context, shard int, q scheduler.QueueKey, r *recount) error {
	wrong := r.wrongBy()
	if len(wrong) == 0 {
		return nil
	}
	leastMS := int64(0)
	if w.s.cfg.NowMS == nil {
		took := time.Since(r.began)
		leastMS = r.beganMS + (took - took/100).Milliseconds() - 2
	}
	c := &call{
		script: w.s.scripts.auditCounts,
		keys:   []string{w.s.keys.count(shard, q), w.s.keys.audits(shard)},
		args:   []any{w.s.nowArg(), r.mendings, strconv.FormatInt(leastMS, 10)},
	}
	var details []string
	for field, by := range wrong {
		c.args = append(c.args, field, strconv.FormatInt(-by, 10))
		name := "under way since hour " + field
		if field == fieldLeased {
			name = "leased"
		}
		details = append(details, fmt.Sprintf("%s: %+d", name, by))
	}
	w.s.runAudit(ctx, c)
	w.looked(mendCost, 0)
	if c.err != nil || !c.yes() {
		return c.err
	}
	slices.Sort(details)
	w.found(scheduler.Finding{
		Kind: scheduler.FindingQueueCount, Shard: shard, Namespace: q.Namespace, Name: q.Name,
		Detail: "wrong by " + strings.Join(details, ", "),
	})
	return nil
}

// strayCounts looks at the counts of a queue that has nothing due in the shard. Those of
// others are looked at with what is due.
func (w *auditWalk) strayCounts(ctx context.Context, k auditKey) error {
	r, err := w.checkQueue(ctx, k.shard, k.queue())
	if err != nil || r == nil || r.places > 0 {
		return err
	}
	return w.settleCounts(ctx, k.shard, k.queue(), r)
}
