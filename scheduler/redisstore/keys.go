package redisstore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/retryd/retryd/scheduler"
)

// keys names every key in Redis.
//
//	<prefix>:{<shard>}:t:<ns>,<task>               string, the task's record
//	<prefix>:{<shard>}:due:<ns>,<queue>            sorted set, task by LookMS
//	<prefix>:{<shard>}:held:<ns>,<queue>           sorted set, task by HoldMS
//	<prefix>:{<shard>}:heldc:<ns>,<condition>      sorted set, task by HoldMS
//	<prefix>:{<shard>}:dead:<ns>,<queue>           sorted set, task by EndMS
//	<prefix>:{<shard>}:deadfp:<print>:<ns>,<queue> sorted set, task by EndMS
//	<prefix>:{<shard>}:fps:<ns>,<queue>            hash, fingerprint to count, first, last, sample
//	<prefix>:{<shard>}:ending                      sorted set, ns,task by EndingMS
//	<prefix>:{<shard>}:heads                       sorted set, ns,queue by its earliest LookMS
//	<prefix>:{<shard>}:queues                      sorted set, ns,queue by name
//	<prefix>:{<shard>}:paused                      hash, ns,queue to the end of its pause, 0 for good
//	<prefix>:{<shard>}:count:<ns>,<queue>          hash, tasks LEASED ("l"), and under way by hour
//	<prefix>:{<shard>}:bytes:<ns>,<queue>          hash, bytes carried by tasks under way ("w"), held ("h") and dead ("d")
//	<prefix>:{<shard>}:stats:<hour>:<ns>,<queue>   hash, events by Stat
//	<prefix>:{<shard>}:group:<ns>,<group>          hash, the counts of a group
//	<prefix>:{<shard>}:groups                      sorted set, ns,group by its last change
//	<prefix>:{<shard>}:claim:<replica>:<ns>,<queue>  string, the replica's last claim
//	<prefix>:{<shard>}:audit                       string, how often counts were mended
//	<prefix>:{meta}:audit                          string, end of the auditor's turn, and whose it is
//	<prefix>:{meta}:notes                          hash, what each replica tells the others of what it uses
//	<prefix>:{meta}:noters                         sorted set, replica by the end of its note
//	<prefix>:{meta}:layout                         hash, format version and number of shards
//	<prefix>:{meta}:policy:<ns>                    hash, policy by id
//	<prefix>:{meta}:job:<ns>                       hash, job by id; under "" the mark
//
// Everything of one shard lies in one slot of a Cluster: the part in braces,
// which alone decides the slot, comes before any name that users choose, and the
// prefix has no braces. A namespace ends at the first comma, since its own
// commas are escaped, so that no two names make the same key, whatever is in
// them. The comma sorts before everything that a namespace may hold, so that keys
// sort by namespace first.
//
// The scripts take these names apart and put them together; see lua/commit.lua.
type keys struct {
	prefix string
	// shards holds the beginning of each shard's keys.
	shards []string
}

func newKeys(prefix string, shards int) keys {
	k := keys{prefix: prefix, shards: make([]string, shards)}
	for i := range k.shards {
		k.shards[i] = prefix + ":{" + strconv.Itoa(i) + "}:"
	}
	return k
}

func (k *keys) shardOf(t scheduler.TaskKey) int { return scheduler.ShardOf(t, len(k.shards)) }

func (k *keys) task(shard int, t scheduler.TaskKey) string {
	return k.shards[shard] + "t:" + member(t.Namespace, t.ID)
}

func (k *keys) due(shard int, q scheduler.QueueKey) string {
	return k.shards[shard] + "due:" + member(q.Namespace, q.Name)
}

// index is the key of an index.
func (k *keys) index(shard int, ix scheduler.Index) string {
	name := member(ix.Namespace, ix.Name)
	switch ix.Kind {
	case scheduler.IndexHeld:
		return k.shards[shard] + "held:" + name
	case scheduler.IndexDead:
		return k.shards[shard] + "dead:" + name
	case scheduler.IndexCondition:
		return k.shards[shard] + "heldc:" + name
	case scheduler.IndexFingerprint:
		return k.shards[shard] + "deadfp:" + ix.Fingerprint.String() + ":" + name
	case scheduler.IndexEnding:
		return k.ending(shard)
	default:
		return k.shards[shard] + "due:" + name
	}
}

func (k *keys) fingerprints(shard int, q scheduler.QueueKey) string {
	return k.shards[shard] + "fps:" + member(q.Namespace, q.Name)
}

func (k *keys) count(shard int, q scheduler.QueueKey) string {
	return k.shards[shard] + "count:" + member(q.Namespace, q.Name)
}

func (k *keys) bytes(shard int, q scheduler.QueueKey) string {
	return k.shards[shard] + "bytes:" + member(q.Namespace, q.Name)
}

func (k *keys) stats(shard int, q scheduler.QueueKey, hour int64) string {
	return k.shards[shard] + "stats:" + strconv.FormatInt(hour, 10) + ":" + member(q.Namespace, q.Name)
}

func (k *keys) group(shard int, g scheduler.GroupKey) string {
	return k.shards[shard] + "group:" + member(g.Namespace, g.Name)
}

func (k *keys) groups(shard int) string { return k.shards[shard] + "groups" }
func (k *keys) paused(shard int) string { return k.shards[shard] + "paused" }

func (k *keys) heads(shard int) string  { return k.shards[shard] + "heads" }
func (k *keys) queues(shard int) string { return k.shards[shard] + "queues" }
func (k *keys) ending(shard int) string { return k.shards[shard] + "ending" }

func (k *keys) audits(shard int) string { return k.shards[shard] + "audit" }
func (k *keys) auditTurn() string       { return k.prefix + ":{meta}:audit" }

func (k *keys) notes() string  { return k.prefix + ":{meta}:notes" }
func (k *keys) noters() string { return k.prefix + ":{meta}:noters" }

func (k *keys) claim(shard int, replica string, q scheduler.QueueKey) string {
	return k.shards[shard] + "claim:" + escape(replica) + ":" + member(q.Namespace, q.Name)
}

func (k *keys) layout() string                   { return k.prefix + ":{meta}:layout" }
func (k *keys) policies(namespace string) string { return k.prefix + ":{meta}:policy:" + namespace }

func (k *keys) jobs(namespace string) string { return k.prefix + ":{meta}:job:" + namespace }

// hints is the channel on which the replicas tell each other of new heads.
func (k *keys) hints() string { return k.prefix + ":hints" }

// member names a task or a queue within its shard.
func member(namespace, name string) string { return escape(namespace) + "," + name }

// splitMember takes a member apart again.
func splitMember(m string) (namespace, name string, err error) {
	escaped, name, ok := strings.Cut(m, ",")
	if !ok {
		return "", "", fmt.Errorf("member %q of an index has no comma", m)
	}
	return unescape(escaped), name, nil
}

var (
	escaper   = strings.NewReplacer("%", "%25", ",", "%2C", ":", "%3A")
	unescaper = strings.NewReplacer("%2C", ",", "%3A", ":", "%25", "%")
)

// escape frees a name of the characters that end it. Names that the API allows
// have none of them.
func escape(name string) string {
	if !strings.ContainsAny(name, "%,:") {
		return name
	}
	return escaper.Replace(name)
}

func unescape(name string) string {
	if !strings.Contains(name, "%") {
		return name
	}
	return unescaper.Replace(name)
}

// checkPrefix says what is wrong with a prefix.
func checkPrefix(prefix string) error {
	if prefix == "" || len(prefix) > 100 || strings.ContainsAny(prefix, "{} \t\r\n") {
		return fmt.Errorf("redis prefix %q: it must be 1 to 100 characters without braces or blanks", prefix)
	}
	return nil
}
