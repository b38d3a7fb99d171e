package redisstore

import (
	"encoding/binary"
	"strconv"

	"github.com/retryd/retryd/scheduler"
)

// The kinds of thing that a commit writes besides tasks, as lua/commit.lua knows
// them.
const (
	partDue byte = iota + 1
	// partQueued is an index of a queue's HELD or DEAD tasks.
	partQueued
	partPrint
	partPlain
	partEnding
	partCount
	partStats
	partGroup
)

// part names one index or one hash of counters in one shard.
type part struct {
	kind  byte
	shard int
	// index is set for an index; namespace and name, of a queue or group, and the
	// hour of its stats, for a hash.
	index           scheduler.Index
	namespace, name string
	hour            int64
}

// batch gathers what one script writes: every key is in it once, whatever the
// changes that touch it, and so is every way in which counters move.
type batch struct {
	store *Store
	keys  []string
	// keyAt, partAt and moveAt number what is there, from 1.
	keyAt  map[string]uint16
	partAt map[part]uint16
	moveAt map[string]uint16
	// parts and moves are packed as the script reads them.
	parts, moves []byte
	// statsAt is the shard under which a queue's events of an hour are counted.
	statsAt map[part]int
	// scratch is a move that is looked for in moveAt.
	scratch []byte
}

func (s *Store) newBatch(writes []*write) *batch {
	b := &batch{
		store: s, keys: make([]string, 0, 5*len(writes)+4), keyAt: make(map[string]uint16),
		partAt: make(map[part]uint16), moveAt: make(map[string]uint16), statsAt: make(map[part]int),
	}
	for _, w := range writes {
		b.keys = append(b.keys, w.key)
	}
	return b
}

// key returns the number of a key that is no task's.
func (b *batch) key(name string) uint16 {
	n, ok := b.keyAt[name]
	if !ok {
		b.keys = append(b.keys, name)
		n = uint16(len(b.keys))
		b.keyAt[name] = n
	}
	return n
}

// part returns the number of a part.
func (b *batch) part(p part) uint16 {
	n, ok := b.partAt[p]
	if !ok {
		n = uint16(len(b.partAt) + 1)
		b.partAt[p] = n
		b.describe(p)
	}
	return n
}

// describe adds a part: its kind, its shard, its key and up to two others that go
// with it, and where in the key the name starts that these know it by.
func (b *batch) describe(p part) {
	k := &b.store.keys
	prefix := len(k.shards[p.shard])
	var key string
	var others [2]uint16
	start := prefix
	switch p.kind {
	case partDue, partQueued:
		key = k.index(p.shard, p.index)
		others = [2]uint16{b.key(k.queues(p.shard)), 0}
		if p.kind == partDue {
			others[1] = b.key(k.heads(p.shard))
		}
		start = len(key) - len(member(p.index.Namespace, p.index.Name))
	case partPrint:
		key = k.index(p.shard, p.index)
		others[0] = b.key(k.fingerprints(p.shard, scheduler.QueueKey{Namespace: p.index.Namespace, Name: p.index.Name}))
		start += len("deadfp:")
	case partPlain:
		key = k.index(p.shard, p.index)
	case partEnding:
		// Its names are those of the shard's tasks.
		key = k.ending(p.shard)
		start += len("t:")
	case partCount:
		q := scheduler.QueueKey{Namespace: p.namespace, Name: p.name}
		key = k.count(p.shard, q)
		others[0] = b.key(k.bytes(p.shard, q))
	case partStats:
		key = k.stats(p.shard, scheduler.QueueKey{Namespace: p.namespace, Name: p.name}, p.hour)
		others[0] = b.key(k.queues(p.shard))
		start = len(key) - len(member(p.namespace, p.name))
	case partGroup:
		key = k.group(p.shard, scheduler.GroupKey{Namespace: p.namespace, Name: p.name})
		others[0] = b.key(k.groups(p.shard))
		start = len(key) - len(member(p.namespace, p.name))
	}
	b.parts = append(b.parts, p.kind)
	for _, n := range []uint16{uint16(p.shard), b.key(key), others[0], others[1], uint16(start + 1)} {
		b.parts = binary.BigEndian.AppendUint16(b.parts, n)
	}
}

// place returns the number of an index in a shard.
func (b *batch) place(shard int, ix scheduler.Index) uint16 {
	p := part{shard: shard, index: ix}
	switch ix.Kind {
	case scheduler.IndexDue:
		p.kind = partDue
	case scheduler.IndexHeld, scheduler.IndexDead:
		p.kind = partQueued
	case scheduler.IndexFingerprint:
		p.kind = partPrint
	case scheduler.IndexEnding:
		p.kind = partEnding
	default:
		p.kind = partPlain
	}
	return b.part(p)
}

// The fields of a queue's counts and of a group's.
const (
	fieldLeased     = "l"
	fieldTotal      = "t"
	fieldCompleted  = "c"
	fieldFailed     = "f"
	fieldInProgress = "i"
)

// The fields of what a queue's tasks carry.
const (
	fieldUnderWayBytes = "w"
	fieldHeldBytes     = "h"
	fieldDeadBytes     = "d"
)

// tally appends to dst the numbers of the moves that a tally of a task in a shard
// stands for.
func (b *batch) tally(dst []byte, shard int, t *scheduler.Tally) []byte {
	ns, queue := t.Queue.Namespace, t.Queue.Name
	if t.Leased != 0 || t.Left != 0 || t.Entered != 0 || t.Bytes != (scheduler.QueueBytes{}) {
		b.begin(part{kind: partCount, shard: shard, namespace: ns, name: queue})
		b.move(fieldLeased, t.Leased)
		if t.Left != 0 {
			b.move(strconv.FormatInt(t.Left, 10), -1)
		}
		if t.Entered != 0 {
			b.move(strconv.FormatInt(t.Entered, 10), 1)
		}
		b.move(fieldUnderWayBytes, t.Bytes.UnderWay)
		b.move(fieldHeldBytes, t.Bytes.Held)
		b.move(fieldDeadBytes, t.Bytes.Dead)
		dst = b.end(dst)
	}
	if t.Stats != (scheduler.QueueStats{}) {
		// Events are added up over the shards, so that one hash will do for those of a
		// script.
		of := part{kind: partStats, namespace: ns, name: queue, hour: t.Hour}
		at, ok := b.statsAt[of]
		if !ok {
			at = shard
			b.statsAt[of] = at
		}
		of.shard = at
		b.begin(of)
		for stat, n := range t.Stats {
			b.move(statField(scheduler.Stat(stat)), n)
		}
		dst = b.end(dst)
	}
	if t.Group != "" {
		b.begin(part{kind: partGroup, shard: shard, namespace: ns, name: t.Group})
		b.move(fieldTotal, t.Grouped.Total)
		b.move(fieldCompleted, t.Grouped.Completed)
		b.move(fieldFailed, t.Grouped.Failed)
		b.move(fieldInProgress, t.Grouped.InProgress)
		dst = b.end(dst)
	}
	return dst
}

// statField is the field of an event.
func statField(s scheduler.Stat) string { return strconv.Itoa(int(s)) }

// begin starts a move of a part's counters, move adds a field that changes, and
// end numbers it.
func (b *batch) begin(p part) {
	b.scratch = append(binary.BigEndian.AppendUint16(b.scratch[:0], b.part(p)), 0)
}

func (b *batch) move(field string, by int64) {
	if by == 0 {
		return
	}
	const fieldsAt = 2
	b.scratch[fieldsAt]++
	b.scratch = binary.BigEndian.AppendUint32(b.scratch, uint32(int32(by)))
	b.scratch = append(append(b.scratch, byte(len(field))), field...)
}

func (b *batch) end(dst []byte) []byte {
	n, ok := b.moveAt[string(b.scratch)]
	if !ok {
		n = uint16(len(b.moveAt) + 1)
		b.moveAt[string(b.scratch)] = n
		b.moves = append(b.moves, b.scratch...)
	}
	return binary.BigEndian.AppendUint16(dst, n)
}

// scoreDigits is the length of a time as the scripts hand it to Redis: digits,
// which cost a script less than a number that it would have to write out.
const scoreDigits = 15

func appendScore(b []byte, ms int64) []byte {
	var digits [scoreDigits]byte
	for i := scoreDigits - 1; i >= 0; i-- {
		digits[i] = byte('0' + ms%10)
		ms /= 10
	}
	return append(b, digits[:]...)
}

// steps are what the script does for a write besides its task: how many moves of
// counters and how many new places follow, then their numbers, each place with its
// time, and then the numbers of the places that it leaves.
func (b *batch) steps(dst []byte, w *write) []byte {
	at := len(dst)
	dst = append(dst, 0, 0)
	dst = b.tally(dst, w.shard, &w.tally)
	dst[at] = byte((len(dst) - at - 2) / 2)
	dst[at+1] = byte(len(w.enters))
	for _, e := range w.enters {
		dst = binary.BigEndian.AppendUint16(dst, b.place(w.shard, e.Index))
		dst = appendScore(dst, e.MS)
	}
	for _, ix := range w.leaves {
		dst = binary.BigEndian.AppendUint16(dst, b.place(w.shard, ix))
	}
	return dst
}
