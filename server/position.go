package server

import (
	"encoding/binary"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// position is where a list of tasks, or a call for many of them, goes on.
type position struct {
	cursor scheduler.Cursor
	// startMS is when the next attempt is to fall due at a rate, untilMS when a run
	// over many tasks began; 0 for none.
	startMS, untilMS int64
}

// The layout of a position in a page token, its numbers in big endian: the index
// (kind, fingerprint, length of the name, name), the place (time, task id), and
// between them start and until. The namespace is the listing's.
const (
	positionFixed = 1 + 8 + 1 + 8 + 8 + 8
	maxPositionMS = int64(1) << 53
	// maxStartMS, in the year 6429, leaves room for what falls due after it.
	maxStartMS = int64(1) << 47
)

// token is the page token after which the next call begins, empty where nothing
// follows.
func (p position) token(l listing) string {
	if p.cursor == (scheduler.Cursor{}) {
		return ""
	}
	index, place := p.cursor.Index, p.cursor.Place
	b := binary.BigEndian.AppendUint64([]byte{byte(index.Kind)}, uint64(index.Fingerprint))
	b = append(append(b, byte(len(index.Name))), index.Name...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.startMS))
	b = binary.BigEndian.AppendUint64(b, uint64(p.untilMS))
	b = binary.BigEndian.AppendUint64(b, uint64(place.MS))
	return l.token(string(b) + place.Key.ID)
}

// position reads the page token of a list of tasks. Anybody can make one up: it
// leads nowhere but into the listing's namespace.
func (c *checker) position(l listing, token string) position {
	if token == "" {
		return position{}
	}
	text, ok := l.after(token)
	if ok {
		var p position
		if p, ok = parsePosition(l.namespace, text); ok {
			return p
		}
	}
	c.badPageToken()
	return position{}
}

func parsePosition(namespace, text string) (p position, ok bool) {
	b := []byte(text)
	if len(b) < positionFixed || len(b) < positionFixed+int(b[9]) {
		return p, false
	}
	nameEnd := 10 + int(b[9])
	index := scheduler.Index{
		Kind:        scheduler.IndexKind(b[0]),
		Namespace:   namespace,
		Name:        string(b[10:nameEnd]),
		Fingerprint: scheduler.Fingerprint(binary.BigEndian.Uint64(b[1:])),
	}
	rest := b[nameEnd:]
	place := scheduler.Place{MS: int64(binary.BigEndian.Uint64(rest[16:]))}
	id := string(rest[24:])
	if id != "" {
		place.Key = scheduler.TaskKey{Namespace: namespace, ID: id}
	}
	p = position{
		cursor:  scheduler.Cursor{Index: index, Place: place},
		startMS: int64(binary.BigEndian.Uint64(rest)),
		untilMS: int64(binary.BigEndian.Uint64(rest[8:])),
	}
	known := index.Kind >= scheduler.IndexDue && index.Kind <= scheduler.IndexFingerprint
	named := index.Name == "" || policy.ValidName(index.Name)
	timed := p.startMS <= maxStartMS
	for _, ms := range []int64{p.startMS, p.untilMS, place.MS} {
		timed = timed && ms >= 0 && ms <= maxPositionMS
	}
	return p, known && named && timed && (id == "" || validTaskID(id))
}
