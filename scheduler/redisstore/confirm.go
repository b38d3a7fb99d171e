package redisstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// At durability replicated an answer is held back until replicas have what it rests
// on. WAIT says so, of what its own connection has written: asked on another, it
// would confirm what that one wrote last. So each pipeline of scripts ends with it,
// and is sent to one server. A script that finds nothing to write, because it was
// all done before, writes something as it was, since a newer Redis takes the offset
// of the connection's last write for what is to be confirmed.

const (
	// confirmTime is how long replicas may take to confirm.
	confirmTime = 500 * time.Millisecond
	// behindTime is how long they may take while they are known to be behind, so that
	// callers are not kept waiting for what will not come.
	behindTime = 50 * time.Millisecond
	// unconfirmedDelay is when a caller asks again: what is away may be back by then, or
	// another primary be there.
	unconfirmedDelay = 200 * time.Millisecond
	// lookPause is for how long claims go by one look at replicas that are behind. It
	// is less than the pause until the next claims.
	lookPause = 25 * time.Millisecond
)

// node is what is known of a server's replicas.
type node struct {
	all leavers
	// behind says that too few of them are in step.
	behind atomic.Bool
	// looked is the last look at whether they are so no longer.
	looked atomic.Pointer[lookAgain]
}

// lookAgain is when the replicas of a server that was behind were counted, and what
// came of it.
type lookAgain struct {
	at  time.Time
	err error
}

// waiting is a WAIT on its way, and what the same server tells of its replicas right
// after it.
type waiting struct {
	cmd  *redis.IntCmd
	info *redis.StringCmd
}

// confirms says whether replicas confirm what is written.
func (s *Store) confirms() bool { return s.cfg.Durability == scheduler.DurabilityReplicated }

// nodeOf returns what is known of a server. There is one but on a Cluster.
func (s *Store) nodeOf(client redis.UniversalClient) *node {
	addr := ""
	if s.cluster {
		addr = addrOf(client)
	}
	n, ok := s.nodes.Load(addr)
	if !ok {
		n, _ = s.nodes.LoadOrStore(addr, new(node))
	}
	return n.(*node)
}

// needed is how many replicas have to confirm, of so many that there should be.
func (s *Store) needed(all int) int {
	if s.cfg.Replicas > 0 {
		return s.cfg.Replicas
	}
	// With none connected nothing can be confirmed, which is not the same as if
	// nothing had to be.
	return max(1, all)
}

// heard takes note of what a server tells of its replicas, and returns how many are
// connected and how many have to confirm. One that loads, for minutes perhaps, is not
// waited for.
func (s *Store) heard(n *node, info map[string]string) (connected, needed int) {
	connected, loaded, inStep := replicasOf(info)
	needed = s.needed(n.all.heard(info["master_replid"], loaded, time.Now()))
	n.behind.Store(inStep < needed)
	return connected, needed
}

// wait is the WAIT that ends a pipeline to a server, and the INFO behind it. What is
// known of the replicas before may be of another server than the pipeline's connection
// leads to: while Sentinels make a replica the primary, some lead to the one and some
// to the other.
func (s *Store) wait(ctx context.Context, n *node) *waiting {
	d := min(confirmTime, s.readTimeout/2)
	if n.behind.Load() {
		d = min(d, behindTime)
	}
	if deadline, ok := ctx.Deadline(); ok {
		// What is left after it is for the answer's way back.
		d = min(d, time.Until(deadline)/2)
	}
	all, _ := n.all.count()
	return &waiting{
		// Of 0 ms it would wait for ever.
		cmd:  redis.NewIntCmd(ctx, "wait", s.needed(all), max(1, d.Milliseconds())),
		info: redis.NewStringCmd(ctx, "info", "replication"),
	}
}

// confirmed says what an answer to WAIT means: nil when enough replicas have
// confirmed, or else an error of KindUnconfirmed. Enough is what the server that was
// written to should have, by what it told right after: a replica that has come
// meanwhile must confirm too, because it may become the primary, and one that has left
// may be it already, and then those that confirm are as lost as the old one is.
func (s *Store) confirmed(ctx context.Context, n *node, wait *waiting) error {
	acked, err := wait.cmd.Result()
	if err != nil {
		return unconfirmed(fmt.Errorf("redis: wait for replicas: %w", err))
	}
	text, err := wait.info.Result()
	if err != nil {
		return unconfirmed(fmt.Errorf("redis: count the replicas: %w", err))
	}
	info := infoOf(text)
	if role := info["role"]; role != "master" {
		s.elected.ask(ctx)
		return unconfirmed(fmt.Errorf("redis: what was the primary is a %s since", role))
	}
	_, needed := s.heard(n, info)
	if int(acked) >= needed {
		n.behind.Store(false)
		return nil
	}
	s.elected.ask(ctx)
	return unconfirmed(fmt.Errorf("redis: %d of %d replicas have confirmed in time", acked, needed))
}

// look counts a server's replicas anew.
func (s *Store) look(ctx context.Context, client redis.UniversalClient, n *node) error {
	text, err := client.Info(ctx, "replication").Result()
	if err != nil {
		return s.failure("count the replicas", err)
	}
	info := infoOf(text)
	if info["role"] != "master" {
		s.elected.ask(ctx)
		return s.failure("count the replicas", errReplica)
	}
	s.heard(n, info)
	return nil
}

// mayClaim says whether it is of use to claim in a shard: not while its replicas
// are behind, because what is claimed and not confirmed has to be given back. All
// claims of a call ask; the first of a server looks.
func (s *Store) mayClaim(ctx context.Context, shard int) error {
	client, err := s.nodeFor(ctx, s.keys.heads(shard))
	if err != nil {
		return err
	}
	n := s.nodeOf(client)
	if !n.behind.Load() {
		return nil
	}
	last := n.looked.Load()
	if last == nil || time.Since(last.at) >= lookPause {
		err := s.look(ctx, client, n)
		last = &lookAgain{time.Now(), err}
		n.looked.Store(last)
		if n.behind.Load() {
			s.elected.ask(ctx)
		}
	}
	if last.err != nil {
		return last.err
	}
	if n.behind.Load() {
		all, _ := n.all.count()
		return unconfirmed(fmt.Errorf("redis: fewer than %d replicas are in step", s.needed(all)))
	}
	return nil
}

// nodeFor returns a client of the one server that has a key.
func (s *Store) nodeFor(ctx context.Context, key string) (redis.UniversalClient, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return s.client, nil
	}
	client, err := cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, s.failure("find a node", err)
	}
	return client, nil
}

// Confirm returns tasks as they are, and confirmed where replicas confirm what is
// written.
func (s *Store) Confirm(ctx context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	if !s.confirms() {
		return s.Load(ctx, keys)
	}
	out := make([]scheduler.Loaded, len(keys))
	var calls []*call
	var parts [][]int
	open := make(map[int]int)
	for i, key := range keys {
		shard := s.keys.shardOf(key)
		at := shard
		if !s.cluster {
			at = 0
		}
		n, ok := open[at]
		if !ok || len(parts[n]) == maxPerScript {
			n = len(calls)
			open[at] = n
			calls, parts = append(calls, &call{script: s.scripts.confirm}), append(parts, nil)
		}
		calls[n].keys = append(calls[n].keys, s.keys.task(shard, key))
		parts[n] = append(parts[n], i)
	}
	s.run(ctx, calls...)
	for n, c := range calls {
		for at, i := range parts[n] {
			switch {
			case c.err != nil:
				out[i].Err = c.err
			case len(c.reply) != len(parts[n]):
				out[i].Err = errReply
			default:
				if record, ok := c.reply[at].(string); ok {
					out[i].Task, out[i].Err = s.decode(keys[i], record)
				}
				if s.expired(out[i].Task) {
					out[i].Task = nil
				}
			}
		}
	}
	return out
}

// runConfirmed runs calls, each at the server that has its keys, and has its
// replicas confirm them.
func (s *Store) runConfirmed(ctx context.Context, calls []*call) {
	if !s.cluster {
		s.runAt(ctx, s.client, calls, s.nodeOf(s.client))
		return
	}
	s.atEachNode(ctx, calls, func(client redis.UniversalClient, part []*call) { s.runAt(ctx, client, part, s.nodeOf(client)) })
}

// atEachNode runs calls of a Cluster, those of each node for themselves, all at once.
// What a node refuses or does not answer may be another's by now, which is looked up;
// whoever repeats the call finds that one. A slot on the move is waited for in the same
// way: at its new place a script would miss some of its keys.
func (s *Store) atEachNode(ctx context.Context, calls []*call, run func(client redis.UniversalClient, part []*call)) {
	parts := make(map[redis.UniversalClient][]*call)
	for _, c := range calls {
		client, err := s.nodeFor(ctx, c.keys[0])
		if err != nil {
			c.err = err
			continue
		}
		parts[client] = append(parts[client], c)
	}
	attend := func(client redis.UniversalClient, part []*call) {
		run(client, part)
		if slices.ContainsFunc(part, func(c *call) bool { return isUnavailable(c.err) }) {
			s.relocate(ctx)
			s.greeter.greet(client)
		}
	}
	var wg sync.WaitGroup
	for client, part := range parts {
		if len(parts) == 1 {
			attend(client, part)
			return
		}
		wg.Go(func() { attend(client, part) })
	}
	wg.Wait()
}
