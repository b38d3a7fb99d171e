package redisstore

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// AuditTurn gives a replica the auditor's turn.
func (s *Store) AuditTurn(ctx context.Context, replica string, hold time.Duration) (bool, error) {
	c := &call{
		script: s.scripts.auditTurn,
		keys:   []string{s.keys.auditTurn()},
		args:   []any{s.nowArg(), replica, strconv.FormatInt(hold.Milliseconds(), 10)},
	}
	s.runAudit(ctx, c)
	return c.yes(), c.err
}

// runAudit runs scripts of the auditor. What too few replicas have confirmed stands, and
// where it is lost, it is found once more.
func (s *Store) runAudit(ctx context.Context, calls ...*call) {
	s.run(ctx, calls...)
	for _, c := range calls {
		if scheduler.IsUnconfirmed(c.err) {
			c.err = nil
		}
	}
}

// Audit begins a walk over all keys.
func (s *Store) Audit() scheduler.AuditWalk {
	return &auditWalk{s: s, groups: newGroupSums(), most: maxAuditTodo, told: make(map[string]bool)}
}

// auditWalk goes over the keys of one node after the other, as SCAN tells them: there
// is no other way to find a task that is in no index. Tasks are held to their places in
// the indexes as they come. Then the indexes that there are are held to the tasks, and
// counts to both. It reads without locking anything, and whatever looks wrong is looked
// at once more, and mended, by a script.
type auditWalk struct {
	s     *Store
	begun bool
	// nodes are those that are not scanned yet, cursor is where the first of them is.
	nodes  []auditNode
	cursor uint64
	// all are all nodes, as they were when the walk began.
	all []auditNode
	// todo are the keys that are no tasks and have not been looked at, and draining
	// says that there were too many to go on with the scan. later are those with counts:
	// these are held to the tasks once all tasks are where they belong.
	todo, later []auditKey
	draining    bool
	// most bounds each of todo and later.
	most int
	// index is the walk over the places of the key that was last in todo, and fields the
	// one over the names in it.
	index  *indexAudit
	fields *fieldAudit
	groups *groupSums
	// told are the keys of the wrong type that were noted.
	told map[string]bool
	// pass is the one under way.
	pass scheduler.AuditPass
}

const (
	// auditPage is how many keys or places one command looks at.
	auditPage = maxPerScript
	// auditBurst is how many places of an index one pass looks at. What changes while a
	// queue's tasks are counted leaves its counts in doubt, so that goes without a pause
	// for all but the longest.
	auditBurst = 10_000
	// maxAuditTodo bounds the keys that are kept for later, those with counts and the
	// others each.
	maxAuditTodo = 100_000
	// auditBytes is of how much of records one thing looked at is told.
	auditBytes = 8 << 10
	// mendCost is how many things looked at a mending stands for, with what follows it.
	mendCost = 10
	// maxAuditTold bounds the keys of the wrong type that one walk tells of.
	maxAuditTold = 1000
)

// Pass looks at the next part.
func (w *auditWalk) Pass(ctx context.Context) (scheduler.AuditPass, error) {
	w.pass = scheduler.AuditPass{}
	var err error
	switch {
	case !w.begun:
		err = w.begin(ctx)
	case w.index != nil:
		err = w.places(ctx)
	case w.fields != nil:
		err = w.names(ctx)
	case len(w.todo) > 0 && (len(w.nodes) == 0 || w.draining):
		err = w.next(ctx)
	case len(w.nodes) > 0:
		w.draining = false
		err = w.scan(ctx)
	case len(w.later) > 0:
		w.todo, w.later = w.later, nil
		err = w.next(ctx)
	default:
		w.pass.Done, err = w.checkGroups(ctx)
	}
	return w.pass, err
}

// begin finds out which nodes there are, and what time it is for them.
func (w *auditWalk) begin(ctx context.Context) error {
	w.begun = true
	if err := w.findNodes(ctx); err != nil {
		return err
	}
	for _, n := range w.nodes {
		nowMS := w.s.nowMS()
		if nowMS == 0 {
			now, err := n.client.Time(ctx).Result()
			if err != nil {
				return w.s.failure("read the clock", err)
			}
			nowMS = now.UnixMilli()
		}
		w.groups.begin(nowMS)
	}
	return nil
}

// nowMS is a test's clock, 0 where there is none.
func (s *Store) nowMS() int64 {
	if s.cfg.NowMS == nil {
		return 0
	}
	return s.cfg.NowMS()
}

// scan looks at the next keys of a node.
func (w *auditWalk) scan(ctx context.Context) error {
	node := w.nodes[0]
	names, cursor, err := node.client.Scan(ctx, w.cursor, globEscaper.Replace(w.s.cfg.Prefix)+":{*", auditPage).Result()
	if err != nil {
		return w.s.failure("scan the keys", err)
	}
	var tasks []auditKey
	for _, name := range names {
		k, ok := w.s.keys.parse(name)
		switch {
		case !ok:
		case k.kind == "t":
			tasks = append(tasks, k)
		case k.counted() && len(w.later) < w.most:
			w.later = append(w.later, k)
		default:
			w.todo = append(w.todo, k)
		}
	}
	w.draining = len(w.todo) >= w.most
	w.pass.Looked += auditPage
	if err := w.checkTasks(ctx, tasks); err != nil {
		return err
	}
	if w.cursor = cursor; cursor != 0 {
		return nil
	}
	w.nodes = w.nodes[1:]
	return nil
}

// globEscaper frees a prefix of what means something in a pattern.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// auditKey is a key of a shard, taken apart.
type auditKey struct {
	shard int
	kind  string
	// namespace and name are those of the task, the queue, the condition or the group.
	namespace, name string
	fingerprint     scheduler.Fingerprint
	key             string
}

func (k auditKey) queue() scheduler.QueueKey {
	return scheduler.QueueKey{Namespace: k.namespace, Name: k.name}
}

// counted says whether there is something to count anew at the key.
func (k auditKey) counted() bool {
	switch k.kind {
	case "due", "held", "dead", "count", "bytes":
		return true
	}
	return false
}

// index is the index that the key is of; ok is false for others.
func (k auditKey) index() (ix scheduler.Index, ok bool) {
	ix = scheduler.Index{Namespace: k.namespace, Name: k.name, Fingerprint: k.fingerprint}
	switch k.kind {
	case "due":
		ix.Kind = scheduler.IndexDue
	case "held":
		ix.Kind = scheduler.IndexHeld
	case "dead":
		ix.Kind = scheduler.IndexDead
	case "heldc":
		ix.Kind = scheduler.IndexCondition
	case "deadfp":
		ix.Kind = scheduler.IndexFingerprint
	case "ending":
		ix.Kind = scheduler.IndexEnding
	default:
		return ix, false
	}
	return ix, true
}

// parse takes a key apart; ok is false for one that no shard of this store has, and
// for those that nothing can be said of.
func (k *keys) parse(key string) (out auditKey, ok bool) {
	rest, ok := strings.CutPrefix(key, k.prefix+":{")
	if !ok {
		return out, false
	}
	tag, rest, _ := strings.Cut(rest, "}:")
	shard, err := strconv.Atoi(tag)
	if err != nil || shard < 0 || shard >= len(k.shards) || k.shards[shard] != key[:len(key)-len(rest)] {
		return out, false
	}
	kind, rest, _ := strings.Cut(rest, ":")
	out = auditKey{shard: shard, kind: kind, key: key}
	switch kind {
	case "ending", "heads", "groups":
		return out, true
	case "deadfp":
		text, name, _ := strings.Cut(rest, ":")
		if out.fingerprint, ok = scheduler.ParseFingerprint(text); !ok {
			return out, false
		}
		rest = name
	case "t", "due", "held", "heldc", "dead", "fps", "count", "bytes", "group":
	default:
		return out, false
	}
	out.namespace, out.name, err = splitMember(rest)
	return out, err == nil
}

// next begins with a key of todo.
func (w *auditWalk) next(ctx context.Context) error {
	k := w.todo[len(w.todo)-1]
	w.todo = w.todo[:len(w.todo)-1]
	w.pass.Looked++
	if ix, ok := k.index(); ok {
		return w.beginIndex(ctx, k, ix)
	}
	switch k.kind {
	case "heads", "groups", "fps":
		w.fields = &fieldAudit{key: k}
	case "count", "bytes":
		if w.recounts() {
			return w.strayCounts(ctx, k)
		}
	case "group":
		w.groups.know(k)
	}
	return nil
}

// recounts says whether counts can be held to the tasks now: while some of these are
// still to be put where they belong, the counts would be moved twice.
func (w *auditWalk) recounts() bool { return len(w.nodes) == 0 }

// looked takes note of things looked at, and of how much of records was read for it.
func (w *auditWalk) looked(things, bytes int) { w.pass.Looked += things + bytes/auditBytes }

// wrongType says whether a command was refused because a key is of another type than it
// should be, and notes that: nobody knows what it was, and it must not keep the walk from
// all else.
func (w *auditWalk) wrongType(err error, shard int, namespace, name, what string) bool {
	if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		return false
	}
	key := strconv.Itoa(shard) + " " + member(namespace, name) + " " + what
	if w.told[key] || len(w.told) == maxAuditTold {
		return true
	}
	w.told[key] = true
	w.found(scheduler.Finding{
		Kind: scheduler.FindingUnreadable, Shard: shard, Namespace: namespace, Name: name,
		Detail: what + ": a key of it is of the wrong type", Left: true,
	})
	return true
}

// found notes a finding.
func (w *auditWalk) found(f scheduler.Finding) { w.pass.Findings = append(w.pass.Findings, f) }
