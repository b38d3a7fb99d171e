package redisstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// Verify reads all keys at once and returns what does not fit together: every task
// must be in exactly those indexes that its state asks for, at the right place, all
// counters must be what the tasks add up to, and nothing else may be there. Groups
// that were deleted while tasks of theirs were under way are held to no tasks.
//
// It is for tests and for stores that nobody writes to meanwhile: it holds all that
// is kept in memory, and takes a change between two of its reads for a fault.
func (s *Store) Verify(ctx context.Context, deleted ...scheduler.GroupKey) ([]string, error) {
	a := verification{
		store: s, want: make(map[string]map[string]string), have: make(map[string]map[string]string),
		prints: make(map[string]map[string]deaths), groups: make(map[string]*scheduler.GroupCount),
	}
	names, err := s.allKeys(ctx)
	if err != nil {
		return nil, err
	}
	cmds := make([]redis.Cmder, len(names))
	s.pipelined(ctx, len(names), func(pipe redis.Pipeliner, i int) {
		switch keyKind(names[i]) {
		case "t":
			cmds[i] = pipe.Get(ctx, names[i])
		case "due", "held", "heldc", "dead", "deadfp", "ending", "heads", "queues", "groups":
			cmds[i] = pipe.ZRangeWithScores(ctx, names[i], 0, -1)
		case "fps", "count", "bytes", "stats", "group", "paused":
			cmds[i] = pipe.HGetAll(ctx, names[i])
		default:
			cmds[i] = pipe.Type(ctx, names[i])
		}
	})
	for i, name := range names {
		if err := cmds[i].Err(); err != nil {
			return nil, err
		}
		a.key(name, cmds[i])
	}
	a.addPrints()
	for _, name := range slices.Sorted(maps.Keys(a.have)) {
		a.compare(name, a.want[name], a.have[name])
	}
	for name, want := range a.want {
		if a.have[name] == nil {
			a.compare(name, want, nil)
		}
	}
	a.compareGroups(deleted)
	slices.Sort(a.found)
	return a.found, nil
}

// keyKind is the part of a key behind its shard, empty for one without a shard.
func keyKind(key string) string {
	_, rest, _ := strings.Cut(key, "}:")
	if strings.Contains(key, "{meta}:") {
		return ""
	}
	kind, _, _ := strings.Cut(rest, ":")
	return kind
}

// verification holds what there is to what the tasks ask for.
type verification struct {
	store      *Store
	want, have map[string]map[string]string
	// prints are the fingerprints of dead letters, by the key and field where they are
	// told; groups are the tasks there are of a group, by the key of its counts.
	prints map[string]map[string]deaths
	groups map[string]*scheduler.GroupCount
	found  []string
}

// deaths are what is told of a fingerprint: how many, and the first and the last by
// their time and id.
type deaths struct {
	count               int
	firstMS, lastMS     int64
	firstName, lastName string
}

func (a *verification) fail(format string, args ...any) {
	a.found = append(a.found, fmt.Sprintf(format, args...))
}

func (a *verification) key(name string, cmd redis.Cmder) {
	switch cmd := cmd.(type) {
	case *redis.StringCmd:
		a.task(name, cmd.Val())
	case *redis.ZSliceCmd:
		a.have[name] = make(map[string]string)
		for _, m := range cmd.Val() {
			a.have[name][m.Member.(string)] = fmt.Sprintf("%.0f", m.Score)
		}
	case *redis.MapStringStringCmd:
		a.have[name] = cmd.Val()
	default:
		if kind := keyKind(name); !strings.Contains(name, "{meta}:") && kind != "claim" && kind != "audit" {
			a.fail("key of no known kind: %s", name)
		}
	}
}

func (a *verification) task(name, record string) {
	k := &a.store.keys
	_, rest, _ := strings.Cut(name, "}:t:")
	namespace, id, err := splitMember(rest)
	if err != nil {
		a.fail("%s: %v", name, err)
		return
	}
	key := scheduler.TaskKey{Namespace: namespace, ID: id}
	t, err := decodeRecord(key, record)
	if err != nil {
		a.fail("%s: %v", name, err)
		return
	}
	if again, err := appendRecord(nil, t); err != nil || string(again) != record {
		a.fail("%s: encoded anew it is another record (error %v):\n%x\n%x", name, err, record, again)
	}
	if k.task(k.shardOf(key), key) != name {
		a.fail("%s lies in the wrong shard", name)
	}
	shard := k.shardOf(key)
	queue := member(namespace, t.Spec.Queue)
	for _, e := range t.Entries(nil) {
		m := id
		switch e.Index.Kind {
		case scheduler.IndexEnding:
			m = rest
		case scheduler.IndexDue:
			if head, ok := a.want[k.heads(shard)][queue]; !ok || e.MS < a.number(head) {
				a.put(k.heads(shard), queue, e.MS)
			}
		case scheduler.IndexFingerprint:
			a.print(k.fingerprints(shard, t.Queue()), t.Fingerprint.String(), id, e.MS)
		}
		a.put(k.index(shard, e.Index), m, e.MS)
	}
	if t.State.Live() {
		a.put(k.queues(shard), queue, 0)
	}
	tally := scheduler.TallyOf(nil, t, 0)
	a.add(k.count(shard, t.Queue()), "l", tally.Leased)
	if tally.Entered != 0 {
		a.add(k.count(shard, t.Queue()), strconv.FormatInt(tally.Entered, 10), 1)
	}
	a.add(k.bytes(shard, t.Queue()), fieldUnderWayBytes, tally.Bytes.UnderWay)
	a.add(k.bytes(shard, t.Queue()), fieldHeldBytes, tally.Bytes.Held)
	a.add(k.bytes(shard, t.Queue()), fieldDeadBytes, tally.Bytes.Dead)
	if t.Spec.Group != "" {
		group := k.group(shard, scheduler.GroupKey{Namespace: namespace, Name: t.Spec.Group})
		if a.groups[group] == nil {
			a.groups[group] = &scheduler.GroupCount{}
		}
		*a.groups[group] = a.groups[group].Plus(tally.Grouped)
	}
}

func (a *verification) put(key, field string, v int64) {
	if a.want[key] == nil {
		a.want[key] = make(map[string]string)
	}
	a.want[key][field] = strconv.FormatInt(v, 10)
}

func (a *verification) add(key, field string, n int64) {
	if n != 0 {
		a.put(key, field, n+a.number(a.want[key][field]))
	}
}

// number reads a count or a time, empty being 0.
func (a *verification) number(text string) int64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		a.fail("not a number: %v", err)
	}
	return n
}

func (a *verification) print(key, field, id string, ms int64) {
	if a.prints[key] == nil {
		a.prints[key] = make(map[string]deaths)
	}
	p, ok := a.prints[key][field]
	if !ok || ms < p.firstMS || (ms == p.firstMS && id < p.firstName) {
		p.firstMS, p.firstName = ms, id
	}
	if !ok || ms > p.lastMS || (ms == p.lastMS && id > p.lastName) {
		p.lastMS, p.lastName = ms, id
	}
	p.count++
	a.prints[key][field] = p
}

func (a *verification) addPrints() {
	for key, fields := range a.prints {
		a.want[key] = make(map[string]string)
		for field, p := range fields {
			b := binary.BigEndian.AppendUint32(nil, uint32(p.count))
			a.want[key][field] = string(appendU48(appendU48(b, p.firstMS), p.lastMS)) + p.lastName
		}
	}
}

// compare holds what is kept under a key to what the tasks ask for.
func (a *verification) compare(key string, want, have map[string]string) {
	switch keyKind(key) {
	case "group", "groups", "paused":
		return
	case "stats":
		a.stats(key, have)
		return
	}
	for field, value := range want {
		if got, ok := have[field]; !ok || got != value {
			a.fail("%s: %q is %q (there: %v), want %q", key, field, got, ok, value)
		}
	}
	for field, value := range have {
		// A queue is known for longer than it has tasks.
		if _, ok := want[field]; !ok && keyKind(key) != "queues" {
			a.fail("%s: %q, %q, should not be there", key, field, value)
		}
	}
}

// stats wants events in fields that have a meaning; of most there are never less
// than nothing.
func (a *verification) stats(key string, have map[string]string) {
	for field, value := range have {
		stat, err := strconv.ParseUint(field, 10, 8)
		n, err2 := strconv.ParseInt(value, 10, 64)
		if err != nil || err2 != nil || scheduler.Stat(stat) >= scheduler.NumStats || (n < 0 && scheduler.Stat(stat) != scheduler.StatGrowth) {
			a.fail("%s: %q is %q", key, field, value)
		}
	}
}

// compareGroups holds the counts of groups to the tasks that there are. Those of
// ended tasks outlast them.
func (a *verification) compareGroups(deleted []scheduler.GroupKey) {
	for key, have := range a.have {
		if keyKind(key) != "group" {
			continue
		}
		n := scheduler.GroupCount{Total: a.number(have["t"]), Completed: a.number(have["c"]), Failed: a.number(have["f"]), InProgress: a.number(have["i"])}
		if len(have) != 4 || n.Completed < 0 || n.Failed < 0 || n.InProgress < 0 || n.Pending() < 0 {
			a.fail("%s: counts %v", key, have)
		}
		prefix, name, _ := strings.Cut(key, "}:group:")
		if _, ok := a.have[prefix+"}:groups"][name]; !ok {
			a.fail("%s is not among the groups", key)
		}
		tasks := scheduler.GroupCount{}
		if a.groups[key] != nil {
			tasks = *a.groups[key]
		}
		if a.wasDeleted(key, deleted) {
			continue
		}
		if n.InProgress != tasks.InProgress || n.Pending() != tasks.Pending() || n.Completed < tasks.Completed || n.Failed < tasks.Failed {
			a.fail("%s: counts %+v, but there are %+v", key, n, tasks)
		}
	}
	for key, tasks := range a.groups {
		if a.have[key] == nil && !a.wasDeleted(key, deleted) {
			a.fail("%s is not there, but there are %+v", key, tasks)
		}
	}
	for key, names := range a.have {
		if keyKind(key) != "groups" {
			continue
		}
		for name := range names {
			if group := strings.TrimSuffix(key, "groups") + "group:" + name; a.have[group] == nil {
				a.fail("%s is among the groups, but has no counts", group)
			}
		}
	}
}

func (a *verification) wasDeleted(key string, deleted []scheduler.GroupKey) bool {
	return slices.ContainsFunc(deleted, func(g scheduler.GroupKey) bool {
		return strings.HasSuffix(key, "}:group:"+member(g.Namespace, g.Name))
	})
}

// allKeys lists everything under the store's prefix.
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
