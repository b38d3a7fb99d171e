package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// What only tests may use.

var (
	AppendRecord = appendRecord
	DecodeRecord = decodeRecord
	EncodePolicy = encodePolicy
	DecodePolicy = decodePolicy
	ErrGarbage   = errGarbage
)

const MaxFence = maxFence

// Client returns the store's connection to Redis.
func (s *Store) Client() redis.UniversalClient { return s.client }

// TaskKey names a task's record.
func (s *Store) TaskKey(key scheduler.TaskKey) string { return s.keys.task(s.keys.shardOf(key), key) }

// DueKey names a queue's index in a shard.
func (s *Store) DueKey(shard int, q scheduler.QueueKey) string { return s.keys.due(shard, q) }

// AllKeys returns a key of every kind.
func AllKeys(prefix string, shards, shard int, q scheduler.QueueKey, t scheduler.TaskKey, replica string) []string {
	k := newKeys(prefix, shards)
	return []string{k.task(shard, t), k.due(shard, q), k.heads(shard), k.queues(shard), k.ending(shard), k.claim(shard, replica, q)}
}

// Failure turns an error of go-redis into one of the port.
func (s *Store) Failure(err error) error { return s.failure("test", err) }

// Dump returns everything that is kept under the store's prefix.
func (s *Store) Dump(ctx context.Context) (map[string]string, error) {
	dump := make(map[string]string)
	names, err := s.allKeys(ctx)
	if err != nil {
		return nil, err
	}
	cmds := make([]*redis.StringCmd, len(names))
	s.pipelined(ctx, len(names), func(pipe redis.Pipeliner, i int) { cmds[i] = pipe.Dump(ctx, names[i]) })
	for i, cmd := range cmds {
		if dump[names[i]], err = cmd.Result(); err != nil {
			return nil, err
		}
	}
	return dump, nil
}

func (s *Store) allKeys(ctx context.Context) ([]string, error) {
	scan := func(ctx context.Context, c redis.Cmdable) ([]string, error) {
		var names []string
		it := c.Scan(ctx, 0, s.cfg.Prefix+":*", 1000).Iterator()
		for it.Next(ctx) {
			names = append(names, it.Val())
		}
		return names, it.Err()
	}
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return scan(ctx, s.client)
	}
	all := make(chan []string, 100)
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		names, err := scan(ctx, c)
		all <- names
		return err
	})
	close(all)
	var names []string
	for part := range all {
		names = append(names, part...)
	}
	return names, err
}

// Audit walks all keys and returns what does not fit together: every task must be
// in exactly those indexes that its state asks for, at the right place, and
// nothing else may be in them.
func (s *Store) Audit(ctx context.Context) ([]string, error) {
	a := audit{want: make(map[string]map[string]float64), have: make(map[string]map[string]float64)}
	names, err := s.allKeys(ctx)
	if err != nil {
		return nil, err
	}
	records := make([]*redis.StringCmd, len(names))
	indexes := make([]*redis.ZSliceCmd, len(names))
	s.pipelined(ctx, 2*len(names), func(pipe redis.Pipeliner, i int) {
		// Each is read both ways; one of them is refused.
		if name := names[i/2]; i%2 == 0 {
			records[i/2] = pipe.Get(ctx, name)
		} else {
			indexes[i/2] = pipe.ZRangeWithScores(ctx, name, 0, -1)
		}
	})
	for i, name := range names {
		if err := a.key(s, name, records[i], indexes[i]); err != nil {
			return nil, err
		}
	}
	for name, want := range a.want {
		a.compare(name, want, a.have[name])
	}
	for name, have := range a.have {
		if a.want[name] == nil {
			a.compare(name, nil, have)
		}
	}
	slices.Sort(a.found)
	return a.found, nil
}

type audit struct {
	want, have map[string]map[string]float64
	found      []string
}

func (a *audit) key(s *Store, name string, record *redis.StringCmd, index *redis.ZSliceCmd) error {
	rest := strings.TrimPrefix(name, s.cfg.Prefix+":{")
	tag, rest, ok := strings.Cut(rest, "}:")
	kind, rest, _ := strings.Cut(rest, ":")
	switch {
	case !ok:
		a.found = append(a.found, "key without a tag: "+name)
	case tag == "meta" || kind == "claim":
	case kind == "t":
		if err := record.Err(); err != nil {
			return err
		}
		a.task(s, tag, name, rest, record.Val())
	default:
		if err := index.Err(); err != nil {
			return err
		}
		a.have[name] = make(map[string]float64)
		for _, m := range index.Val() {
			a.have[name][m.Member.(string)] = m.Score
		}
	}
	return nil
}

func (a *audit) task(s *Store, tag, name, rest, record string) {
	namespace, id, err := splitMember(rest)
	if err != nil {
		a.found = append(a.found, err.Error())
		return
	}
	key := scheduler.TaskKey{Namespace: namespace, ID: id}
	t, err := decodeRecord(key, record)
	if err != nil {
		a.found = append(a.found, name+": "+err.Error())
		return
	}
	if again, err := appendRecord(nil, t); err != nil || string(again) != record {
		a.found = append(a.found, fmt.Sprintf("%s: encoded anew it is another record (error %v):\n%x\n%x", name, err, record, again))
	}
	if s.TaskKey(key) != name {
		a.found = append(a.found, name+" lies in the wrong shard")
	}
	shard := s.cfg.Prefix + ":{" + tag + "}:"
	if ms, ok := t.LookMS(); ok {
		queue := member(namespace, t.Spec.Queue)
		a.put(shard+"due:"+queue, id, float64(ms))
		a.put(shard+"queues", queue, 0)
		if head, ok := a.want[shard+"heads"][queue]; !ok || float64(ms) < head {
			a.put(shard+"heads", queue, float64(ms))
		}
	}
	if ms, ok := t.EndingMS(); ok {
		a.put(shard+"ending", rest, float64(ms))
	}
}

func (a *audit) put(index, member string, score float64) {
	if a.want[index] == nil {
		a.want[index] = make(map[string]float64)
	}
	a.want[index][member] = score
}

func (a *audit) compare(index string, want, have map[string]float64) {
	for m, score := range want {
		if got, ok := have[m]; !ok || got != score {
			a.found = append(a.found, fmt.Sprintf("%s: %q is at %v (there: %v), want %v", index, m, got, ok, score))
		}
	}
	for m := range have {
		if _, ok := want[m]; !ok {
			a.found = append(a.found, fmt.Sprintf("%s: %q should not be there", index, m))
		}
	}
}

// ScriptTexts returns the scripts as Redis gets them.
func ScriptTexts() []string {
	s := newScripts()
	var texts []string
	for _, sc := range s.all() {
		texts = append(texts, sc.text)
	}
	return texts
}

// Describe tells what a URL was read as.
func (t *Target) Describe() string {
	kind, addrs := "single", strings.Join(t.addrs, " ")
	switch {
	case t.cluster:
		kind = "cluster"
	case t.master != "":
		kind = "sentinel " + t.master
	}
	if t.opts.Network == "unix" {
		addrs = t.opts.Addr
	}
	return fmt.Sprintf("%s %s db %d user %s tls %v", kind, addrs, t.opts.DB, t.opts.Username, t.opts.TLSConfig != nil)
}

// CommitArgs returns what the script for changes of one shard gets.
func (s *Store) CommitArgs(changes []scheduler.Change) ([]string, []any) {
	var writes []*write
	for i := range changes {
		w, _ := s.newWrite(&changes[i], new(scheduler.Committed))
		writes = append(writes, w)
	}
	c := s.commitCall(s.scripts.create, writes)
	return c.keys, c.args
}
