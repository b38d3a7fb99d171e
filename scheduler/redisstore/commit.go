package redisstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/retryd/retryd/scheduler"
)

const (
	// maxPerScript bounds how many items one script takes, and so how long all
	// others wait for it.
	maxPerScript = 100
	// maxScriptBytes bounds how much of payloads one script takes.
	maxScriptBytes = 1 << 20
)

// write is a change on its way: encoded, and where its answer goes.
type write struct {
	change *scheduler.Change
	shard  int
	key    string
	// head is what the script checks: version and time of the decision; and where
	// in the key the task's id starts.
	head [versionBytes + 6 + 2]byte
	// body is the record behind its version, empty when the task goes.
	body []byte
	// enters and leaves are the places that change, tally is what is counted.
	enters []scheduler.Entry
	leaves []scheduler.Index
	tally  scheduler.Tally
	to     *scheduler.Committed
}

// Commit writes each change whose expectation holds.
func (s *Store) Commit(ctx context.Context, changes []scheduler.Change) []scheduler.Committed {
	out := make([]scheduler.Committed, len(changes))
	writes := make([]*write, 0, len(changes))
	for i := range changes {
		w, err := s.newWrite(&changes[i], &out[i])
		if err != nil {
			out[i].Err = fmt.Errorf("encode task: %w", err)
			continue
		}
		writes = append(writes, w)
	}
	if len(changes) == 1 && len(writes) == 1 {
		out[0] = s.commitOne(ctx, writes[0])
		return out
	}
	s.write(ctx, writes)
	return out
}

// grows says whether the write takes memory that nothing else gives back: those of
// new tasks do, and of dead ones that are to run again. A full Redis refuses them.
func (w *write) grows() bool {
	before, after := w.change.Before, w.change.Task
	if before == nil {
		return after != nil
	}
	return before.State == scheduler.StateDead && after != nil && after.State == scheduler.StateScheduled
}

func (s *Store) newWrite(c *scheduler.Change, to *scheduler.Committed) (*write, error) {
	w := &write{change: c, to: to, shard: s.keys.shardOf(c.Key)}
	w.key = s.keys.task(w.shard, c.Key)
	binary.BigEndian.PutUint64(w.head[:], uint64(c.Expect()))
	if c.DecidedMS != 0 && !c.Final {
		// A time that has no room is as wrong as the nearest that has.
		appendU48(w.head[:versionBytes], min(max(c.DecidedMS, 1), maxU48))
	}
	binary.BigEndian.PutUint16(w.head[versionBytes+6:], uint16(len(w.key)-len(c.Key.ID)+1))
	w.tally = scheduler.TallyOf(c.Before, c.Task, c.DecidedMS)
	if err := w.replace(c.Before, c.Task); err != nil || c.Task == nil {
		return w, err
	}
	record, err := appendRecord(make([]byte, 0, sizeHint(c.Task)), c.Task)
	if err != nil {
		return nil, err
	}
	w.body = record[versionBytes:]
	return w, nil
}

// replace notes the places that before has and after has not, and those that after
// has anew or at another time.
func (w *write) replace(before, after *scheduler.Task) error {
	var were, are []scheduler.Entry
	if before != nil {
		were = before.Entries(make([]scheduler.Entry, 0, maxEntries))
	}
	if after != nil {
		are = after.Entries(make([]scheduler.Entry, 0, maxEntries))
	}
	for _, e := range were {
		if !slices.ContainsFunc(are, func(n scheduler.Entry) bool { return n.Index == e.Index }) {
			w.leaves = append(w.leaves, e.Index)
		}
	}
	w.enters = slices.DeleteFunc(are, func(n scheduler.Entry) bool { return slices.Contains(were, n) })
	for _, e := range w.enters {
		if e.MS < 0 || e.MS > maxU48 {
			return rangeError{"the time of the task's place in an index", e.MS}
		}
	}
	return nil
}

// maxEntries is how many places a task has at the most.
const maxEntries = 3

// sizeHint is about how long a task's record is.
func sizeHint(t *scheduler.Task) int {
	return 128 + len(t.Spec.Payload) + 48*len(t.Spec.Attributes) + 128*len(t.History)
}

// write sends writes, all at once, and leaves each one's answer in it. No two are
// of the same task.
func (s *Store) write(ctx context.Context, writes []*write) {
	var growing, changing []*write
	for _, w := range writes {
		if w.grows() {
			growing = append(growing, w)
		} else {
			changing = append(changing, w)
		}
	}
	calls := s.commitCalls(s.scripts.change, changing, s.commitCalls(s.scripts.create, growing, nil))
	s.runCommits(ctx, calls)
	var refused []*write
	for _, w := range growing {
		if w.change.Before == nil && isFull(w.to.Err) {
			// It may not be new at all, which its caller then has to be told.
			refused = append(refused, w)
		}
	}
	s.runCommits(ctx, s.commitCalls(s.scripts.change, refused, nil))
}

// commitCall is a run of one of the two scripts, and the writes that it carries
// out.
type commitCall struct {
	*call
	writes []*write
}

func (s *Store) runCommits(ctx context.Context, commits []commitCall) {
	if len(commits) == 0 {
		return
	}
	calls := make([]*call, len(commits))
	for i, c := range commits {
		calls[i] = c.call
	}
	s.runPatiently(ctx, calls)
	for _, c := range commits {
		s.settle(c.call, c.writes)
	}
}

// commitCalls puts writes into as few scripts as their bounds allow, behind those
// in to. On a Cluster a script's keys are those of one shard.
func (s *Store) commitCalls(sc *script, writes []*write, to []commitCall) []commitCall {
	slices.SortStableFunc(writes, func(a, b *write) int { return a.shard - b.shard })
	for len(writes) > 0 {
		n, size := 0, 0
		for n < len(writes) && n < maxPerScript && (n == 0 || size+len(writes[n].body) <= maxScriptBytes) &&
			(!s.cluster || writes[n].shard == writes[0].shard) {
			size += len(writes[n].body)
			n++
		}
		to = append(to, commitCall{s.commitCall(sc, writes[:n]), writes[:n]})
		writes = writes[n:]
	}
	return to
}

// commitCall puts the keys and arguments together; writes are ordered by shard.
func (s *Store) commitCall(sc *script, writes []*write) *call {
	b := s.newBatch(writes)
	args := make([]any, 7, 7+2*len(writes))
	bytes := 0
	for _, w := range writes {
		bytes += len(w.body)
		steps := append(make([]byte, 0, sizeOfSteps), w.head[:]...)
		args = append(args, b.steps(steps, w), w.body)
	}
	args[0], args[1], args[2] = s.nowArg(), strconv.Itoa(scheduler.MaxAheadMS), strconv.Itoa(scheduler.MaxBehindMS)
	args[3], args[4] = s.hintChannel, s.id[:]
	args[5], args[6] = b.parts, b.moves
	return &call{script: sc, keys: b.keys, args: args, bytes: bytes}
}

// sizeOfSteps is as long as what most writes do besides their task.
const sizeOfSteps = 80

// settle gives each write its answer.
func (s *Store) settle(c *call, writes []*write) {
	nowMS, codes, err := commitReply(c, len(writes))
	records := 2
	for i, w := range writes {
		*w.to = scheduler.Committed{NowMS: nowMS, Err: err}
		if err != nil {
			continue
		}
		code := codes[i]
		if 'A' <= code && code <= 'Z' {
			record, ok := "", false
			if records < len(c.reply) {
				record, ok = c.reply[records].(string)
			}
			records++
			if !ok {
				w.to.Err = errReply
				continue
			}
			w.to.Task, w.to.Err = s.decode(w.change.Key, record)
		}
		switch code {
		case 'd':
			w.done(nowMS)
		case 'n', 'C':
			w.to.Status = scheduler.CommitConflict
		case 's', 'S':
			w.to.Status = scheduler.CommitSkewed
		case 'm':
			w.to.Err = full(nil)
		case 'F':
			if w.to.Err == nil {
				w.to.Err = errReply
			}
		default:
			w.to.Err = errReply
		}
		if c.err != nil && w.to.Err == nil && (code == 'd' || code == 'C') {
			// What is told of is so, and not confirmed.
			w.to.Err = c.err
		}
	}
}

// done makes the answer of a write that was carried out: the script has given
// the task the version that follows from the time that it told.
func (w *write) done(nowMS int64) {
	if w.change.Task == nil {
		return
	}
	w.to.Task = w.change.Task
	w.to.Task.Version = max(w.change.Expect()+1, nowMS*1000)
}

func commitReply(c *call, writes int) (nowMS int64, codes string, err error) {
	if c.err != nil && !scheduler.IsUnconfirmed(c.err) {
		return 0, "", c.err
	}
	if len(c.reply) < 2 {
		return 0, "", errReply
	}
	nowMS, ok := c.reply[0].(int64)
	codes, ok2 := c.reply[1].(string)
	if !ok || !ok2 || len(codes) != writes {
		return 0, "", errReply
	}
	return nowMS, codes, nil
}

// decode reads a record that came from Redis.
func (s *Store) decode(key scheduler.TaskKey, record string) (*scheduler.Task, error) {
	t, err := decodeRecord(key, record)
	if err != nil {
		return nil, fmt.Errorf("task %s of namespace %s in redis: %w", key.ID, key.Namespace, err)
	}
	return t, nil
}
