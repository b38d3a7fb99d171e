package redisstore

import (
	"context"
	"fmt"
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

// GroupKey names the counts of a task's group in its shard.
func (s *Store) GroupKey(t *scheduler.Task) string {
	return s.keys.group(s.keys.shardOf(t.Key), scheduler.GroupKey{Namespace: t.Key.Namespace, Name: t.Spec.Group})
}

// DueKey names a queue's index in a shard.
func (s *Store) DueKey(shard int, q scheduler.QueueKey) string { return s.keys.due(shard, q) }

// CountKey names a queue's counts in a shard.
func (s *Store) CountKey(shard int, q scheduler.QueueKey) string { return s.keys.count(shard, q) }

// AuditTurnKey names the auditor's turn.
func (s *Store) AuditTurnKey() string { return s.keys.auditTurn() }

// AllKeys returns a key of every kind of shard, by what it is named after.
func AllKeys(prefix string, shards, shard int, q scheduler.QueueKey, t scheduler.TaskKey, replica string) (ofTask, ofQueue, ofClaim, ofShard []string) {
	k := newKeys(prefix, shards)
	index := func(kind scheduler.IndexKind, f scheduler.Fingerprint) string {
		return k.index(shard, scheduler.Index{Kind: kind, Namespace: q.Namespace, Name: q.Name, Fingerprint: f})
	}
	return []string{k.task(shard, t)},
		[]string{
			k.due(shard, q), index(scheduler.IndexHeld, 0), index(scheduler.IndexDead, 0), index(scheduler.IndexCondition, 0),
			index(scheduler.IndexFingerprint, 1), index(scheduler.IndexFingerprint, 2), k.fingerprints(shard, q),
			k.count(shard, q), k.stats(shard, q, 1), k.stats(shard, q, 12), k.group(shard, scheduler.GroupKey(q)),
		},
		[]string{k.claim(shard, replica, q)},
		[]string{k.heads(shard), k.queues(shard), k.ending(shard), k.groups(shard), k.paused(shard), k.audits(shard)}
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

// ScriptTexts returns the scripts as Redis gets them.
func ScriptTexts() []string {
	s := newScripts(false)
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
