package scheduler

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/retryd/retryd/policy"
)

// Digest stands for an idempotency key or for what a report said. 0 is none.
// Digests are stored: changing how they are made is a breaking change.
type Digest uint64

// keyDigest stands for an idempotency key.
func keyDigest(key string) Digest {
	if key == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(key))
	return Digest(binary.BigEndian.Uint64(sum[:]) | 1)
}

// contentDigest stands for what a report says: its spec, attempt (as resolved)
// and failure without its time, field by field, so that neither a new field
// left unset nor another encoding changes it.
func contentDigest(r *Report, attempt int) Digest {
	// Most reports fit, and take nothing from the heap.
	var room [1024]byte
	d := digester{room[:0]}
	d.spec(&r.Spec)
	d.int(30, int64(attempt))
	if r.Failure != nil {
		d.failure(r.Failure)
	} else {
		d.int(31, 1)
		d.str(32, r.Outcome)
		d.str(33, r.Message)
	}
	sum := sha256.Sum256(d.b)
	return Digest(binary.BigEndian.Uint64(sum[:]) | 1)
}

// digester writes fields under numbers of their own and leaves out those that
// are zero, so that a field added later does not change older digests.
type digester struct{ b []byte }

func (d *digester) int(field byte, v int64) {
	if v == 0 {
		return
	}
	d.b = binary.BigEndian.AppendUint64(append(d.b, field, 'i'), uint64(v))
}

func (d *digester) str(field byte, v string) {
	if v != "" {
		d.head(field, len(v))
		d.b = append(d.b, v...)
	}
}

func (d *digester) head(field byte, size int) {
	d.b = binary.BigEndian.AppendUint64(append(d.b, field, 's'), uint64(size))
}

func (d *digester) spec(s *Spec) {
	d.str(1, s.Queue)
	d.str(2, s.Policy)
	d.str(3, s.Job)
	d.str(4, s.Environment)
	d.str(5, s.Group)
	d.str(6, s.TimeZone)
	d.int(7, s.DeadlineMS)
	if len(s.Payload) > 0 {
		d.head(8, len(s.Payload))
		d.b = append(d.b, s.Payload...)
	}
	if len(s.Attributes) == 0 {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(s.Attributes)) {
		d.head(9, len(k))
		d.b = append(d.b, k...)
		d.head(10, len(s.Attributes[k]))
		d.b = append(d.b, s.Attributes[k]...)
	}
}

func (d *digester) failure(f *policy.Failure) {
	d.int(40, int64(f.Cause))
	d.int(41, int64(f.HTTPStatus))
	d.str(42, f.RetryAfterHeader)
	d.int(43, int64(f.GRPCCode))
	d.int(44, int64(f.ConnectionKind))
	d.str(45, f.Outcome)
	d.str(46, f.Code)
	d.str(47, f.Message)
	d.int(48, int64(f.RetryAfter))
	if f.Permanent {
		d.int(49, 1)
	}
}

// derivedID names a task whose caller gave no id: the same key in the same
// queue is the same task.
func derivedID(namespace, queue, key string) string {
	h := sha256.New()
	for _, s := range []string{namespace, queue, key} {
		_ = binary.Write(h, binary.BigEndian, uint32(len(s)))
		_, _ = h.Write([]byte(s))
	}
	return "key-" + base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:20])
}
