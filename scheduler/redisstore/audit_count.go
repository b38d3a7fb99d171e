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

// queueCounts is what is counted of a queue in a shard, as it was at one moment.
type queueCounts struct {
	// beganMS is when that was by Redis's clock, began the latest by ours.
	beganMS int64
	began   time.Time
	// mendings is how often counts had been mended then.
	mendings string
	// counts are those of the tasks under way, nil where there are too many.
	counts map[string]int64
	// garbled are the counts that are no numbers. They count for nothing, here and in the
	// script that mends them.
	garbled []string
	// places are how many tasks each of the indexes has, bytes what they carry, and
	// garbledBytes where that is no number.
	places, bytes [3]int64
	garbledBytes  [3]bool
}

// countedIndexes are those whose tasks are counted, in the order of the scripts, and
// bytesFields where it is kept what they carry.
var (
	countedIndexes = [...]scheduler.IndexKind{scheduler.IndexDue, scheduler.IndexHeld, scheduler.IndexDead}
	bytesFields    = [...]string{fieldUnderWayBytes, fieldHeldBytes, fieldDeadBytes}
)

// recount begins to count the tasks of an index anew.
func (c *queueCounts) recount(kind scheduler.IndexKind) *recount {
	at := slices.Index(countedIndexes[:], kind)
	r := &recount{
		queueCounts: c, places: c.places[at], sums: make(map[string]int64), field: bytesFields[at],
		haveBytes: c.bytes[at], garbledBytes: c.garbledBytes[at],
	}
	if kind == scheduler.IndexDue {
		r.have = c.counts
	}
	return r
}

// recount counts anew what a shard counts of the tasks in one of a queue's indexes, while
// they change. The counts are right when they tell how things were as the counting began.
// Of the tasks of the index that are met at a version from before then it is known how
// they were; those in doubt are the rest of as many as there were. What is wrong however
// they were is mended, by as much.
type recount struct {
	*queueCounts
	// have are the counts, nil for an index of which only the bytes are counted.
	have map[string]int64
	// places are how many there were in the index, known how many of them were met.
	places, known int64
	sums          map[string]int64
	// haveBytes is what is kept in field of what the tasks carry, sumBytes what those known
	// do.
	field               string
	haveBytes, sumBytes int64
	garbledBytes        bool
}

// add counts a task of the index, if it has not changed since the counting began.
func (r *recount) add(t *scheduler.Task) {
	if r.passes(t) {
		return
	}
	r.known++
	tally := scheduler.TallyOf(nil, t, 0)
	r.sumBytes += tally.Bytes.Sum()
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
	if doubt < 0 || r.have == nil {
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

// bytesWrongBy is by how much the bytes are wrong at the least: nobody knows what those in
// doubt carry, but for the most that they may.
func (r *recount) bytesWrongBy() map[string]int64 {
	doubt := r.places - r.known
	if doubt < 0 {
		return nil
	}
	under, over := min(0, r.haveBytes-r.sumBytes), max(0, r.haveBytes-r.sumBytes-doubt*scheduler.MaxTaskBytes)
	if under+over == 0 && !r.garbledBytes {
		return nil
	}
	return map[string]int64{r.field: under + over}
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
			k.count(shard, q), k.heads(shard), k.queues(shard), k.audits(shard), k.bytes(shard, q),
		},
		args: []any{s.nowArg(), member(q.Namespace, q.Name)},
	}
}

// checkQueue looks at what is told of a queue, and returns what is counted of it,
// nil where something cannot be read.
func (w *auditWalk) checkQueue(ctx context.Context, shard int, q scheduler.QueueKey) (*queueCounts, error) {
	c := w.s.auditQueue(shard, q)
	w.s.runAudit(ctx, c)
	return w.queueChecked(shard, q, c)
}

func (w *auditWalk) queueChecked(shard int, q scheduler.QueueKey, c *call) (*queueCounts, error) {
	if w.wrongType(c.err, shard, q.Namespace, q.Name, "what is kept of the queue") {
		return nil, nil
	}
	if c.err != nil {
		return nil, c.err
	}
	got := &queueCounts{began: time.Now()}
	head, unknown, ok := got.read(c.reply)
	if !ok {
		return nil, errReply
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
	return got, nil
}

// read reads what lua/audit_queue.lua says, and returns what was wrong with the queue's
// head, and with its name.
func (c *queueCounts) read(reply []any) (head, unknown int64, ok bool) {
	if len(reply) != 9 {
		return 0, 0, false
	}
	for i, n := range map[int]*int64{0: &c.beganMS, 1: &head, 2: &unknown, 3: &c.places[0], 6: &c.places[1], 7: &c.places[2]} {
		if *n, ok = reply[i].(int64); !ok {
			return 0, 0, false
		}
	}
	if c.mendings, ok = reply[4].(string); !ok {
		return 0, 0, false
	}
	bytes, ok := reply[8].([]any)
	if !ok || len(bytes) != len(c.bytes) {
		return 0, 0, false
	}
	for i, v := range bytes {
		if text, is := v.(string); is {
			c.bytes[i], is = parseCount(text)
			c.garbledBytes[i] = !is
		}
	}
	if reply[5] == nil {
		return head, unknown, true
	}
	fields, ok := reply[5].([]any)
	if !ok || len(fields)%2 != 0 {
		return 0, 0, false
	}
	c.counts = make(map[string]int64)
	for i := 0; i < len(fields); i += 2 {
		field, _ := fields[i].(string)
		value, _ := fields[i+1].(string)
		n, ok := parseCount(value)
		if !ok {
			c.garbled = append(c.garbled, field)
			continue
		}
		c.counts[field] = n
	}
	return head, unknown, true
}

// maxCount is the most that a script can count to without losing digits.
const maxCount = 1 << 53

// parseCount reads a count; ok is false for what no script has written, and none could
// add to.
func parseCount(value string) (n int64, ok bool) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != value || n < -maxCount || n > maxCount {
		return 0, false
	}
	return n, true
}

// settleCounts mends what a recount has found to be wrong.
func (w *auditWalk) settleCounts(ctx context.Context, shard int, q scheduler.QueueKey, r *recount) error {
	counts, err := w.moveCounts(ctx, shard, w.s.keys.count(shard, q), r, r.wrongBy())
	if err != nil {
		return err
	}
	bytes, err := w.moveCounts(ctx, shard, w.s.keys.bytes(shard, q), r, r.bytesWrongBy())
	if err != nil {
		return err
	}
	if details := slices.Concat(counts, bytes); len(details) > 0 {
		slices.Sort(details)
		w.found(scheduler.Finding{
			Kind: scheduler.FindingQueueCount, Shard: shard, Namespace: q.Namespace, Name: q.Name,
			Detail: "wrong by " + strings.Join(details, ", "),
		})
	}
	return nil
}

// moveCounts moves counts under a key that are wrong, if nobody has mended counts since
// these were looked at. It returns what it has moved.
func (w *auditWalk) moveCounts(ctx context.Context, shard int, key string, r *recount, wrong map[string]int64) ([]string, error) {
	if len(wrong) == 0 {
		return nil, nil
	}
	leastMS := int64(0)
	if w.s.cfg.NowMS == nil {
		took := time.Since(r.began)
		leastMS = r.beganMS + (took - took/100).Milliseconds() - 2
	}
	c := &call{
		script: w.s.scripts.auditCounts,
		keys:   []string{key, w.s.keys.audits(shard)},
		args:   []any{w.s.nowArg(), r.mendings, strconv.FormatInt(leastMS, 10)},
	}
	var details []string
	for field, by := range wrong {
		c.args = append(c.args, field, strconv.FormatInt(-by, 10))
		details = append(details, fmt.Sprintf("%s: %+d", countName(field), by))
	}
	w.s.runAudit(ctx, c)
	w.looked(mendCost, 0)
	if c.err != nil || !c.yes() {
		return nil, c.err
	}
	// This mending is not another auditor's.
	n, _ := parseCount(r.mendings)
	r.mendings = strconv.FormatInt(n+1, 10)
	return details, nil
}

// countName names a count in a finding.
func countName(field string) string {
	switch field {
	case fieldLeased:
		return "leased"
	case fieldUnderWayBytes:
		return "bytes under way"
	case fieldHeldBytes:
		return "bytes held"
	case fieldDeadBytes:
		return "bytes dead"
	}
	return "under way since hour " + field
}

// strayCounts looks at the counts of a queue that has nothing in an index of the shard.
// Those of others are looked at with what is there.
func (w *auditWalk) strayCounts(ctx context.Context, k auditKey) error {
	got, err := w.checkQueue(ctx, k.shard, k.queue())
	if err != nil || got == nil {
		return err
	}
	for i, kind := range countedIndexes {
		if got.places[i] > 0 {
			continue
		}
		if err := w.settleCounts(ctx, k.shard, k.queue(), got.recount(kind)); err != nil {
			return err
		}
	}
	return nil
}
