package redisstore

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// AuditTurn gives a replica the auditor's turn.
func (s *Store) AuditTurn(ctx context.Context, replica string, hold time.Duration) (bool, error) {
	c := &call{
		script: s.scripts.auditTurn,
		keys:   []string{s.keys.auditTurn()},
		args:   []any{s.nowArg(), replica, strconv.FormatInt(hold.Milliseconds(), 10)},
	}
	s.run(ctx, c)
	return c.yes(), c.err
}

// Audit begins a walk over all keys.
func (s *Store) Audit() scheduler.AuditWalk {
	return &auditWalk{s: s, groups: newGroupSums()}
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
	// todo are the keys that are no tasks and have not been looked at, and draining
	// says that there were too many to go on with the scan.
	todo     []auditKey
	draining bool
	// index is the walk over the places of the key that was last in todo, and fields the
	// one over the names in it.
	index  *indexAudit
	fields *fieldAudit
	groups *groupSums
	// pass is the one under way.
	pass scheduler.AuditPass
}

// auditNode is a server whose keys are scanned.
type auditNode struct {
	client redis.Cmdable
	// run tells its process from the one before: a cursor means nothing to another.
	run string
}

const (
	// auditPage is how many keys or places one command looks at.
	auditPage = maxPerScript
	// auditBurst is how many places of an index one pass looks at. What changes while a
	// queue's tasks are counted leaves its counts in doubt, so that goes without a pause
	// for all but the longest.
	auditBurst = 10_000
	// maxAuditTodo bounds the keys that are kept for later.
	maxAuditTodo = 100_000
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
	default:
		w.pass.Done, err = w.checkGroups(ctx)
	}
	return w.pass, err
}

// begin finds out which nodes there are.
func (w *auditWalk) begin(ctx context.Context) error {
	w.begun = true
	if cluster, ok := w.s.client.(*redis.ClusterClient); ok {
		var mu sync.Mutex
		err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			w.nodes = append(w.nodes, auditNode{client: node})
			return nil
		})
		if err != nil {
			return w.s.failure("find the nodes", err)
		}
	} else {
		w.nodes = []auditNode{{client: w.s.client}}
	}
	for i := range w.nodes {
		n := &w.nodes[i]
		var err error
		if n.run, err = w.s.runID(ctx, n.client); err != nil {
			return err
		}
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

// runID tells a server's process from any other.
func (s *Store) runID(ctx context.Context, node redis.Cmdable) (string, error) {
	text, err := node.Info(ctx, "server").Result()
	if err != nil {
		return "", s.failure("read what the server is", err)
	}
	return infoOf(text)["run_id"], nil
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
		default:
			w.todo = append(w.todo, k)
		}
	}
	w.draining = len(w.todo) >= maxAuditTodo
	w.pass.Looked += auditPage
	if err := w.checkTasks(ctx, tasks); err != nil {
		return err
	}
	if w.cursor = cursor; cursor != 0 {
		return nil
	}
	w.nodes = w.nodes[1:]
	run, err := w.s.runID(ctx, node.client)
	if err != nil {
		return err
	}
	if run != node.run {
		// Another process has other cursors: some keys were passed over.
		w.groups.doubt()
	}
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
	case "t", "due", "held", "heldc", "dead", "fps", "count", "group":
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
	case "count":
		return w.strayCounts(ctx, k)
	case "group":
		w.groups.know(k)
	}
	return nil
}

// found notes a finding.
func (w *auditWalk) found(f scheduler.Finding) { w.pass.Findings = append(w.pass.Findings, f) }
