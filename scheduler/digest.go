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
	d := digester(room[:0])
	d = d.spec(&r.Spec)
	d = d.int(30, int64(attempt))
	if r.Failure != nil {
		d = d.failure(r.Failure)
	} else {
		d = d.int(31, 1)
		d = d.str(32, r.Outcome)
		d = d.str(33, r.Message)
	}
	sum := sha256.Sum256(d)
	return Digest(binary.BigEndian.Uint64(sum[:]) | 1)
}

// digester writes fields under numbers of their own and leaves out those that
// are zero, so that a field added later does not change older digests.
type digester []byte

func (d digester) int(field byte, v int64) digester {
	if v == 0 {
		return d
	}
	return binary.BigEndian.AppendUint64(append(d, field, 'i'), uint64(v))
}

func (d digester) str(field byte, v string) digester {
	if v == "" {
		return d
	}
	return append(d.head(field, len(v)), v...)
}

func (d digester) head(field byte, size int) digester {
	return binary.BigEndian.AppendUint64(append(d, field, 's'), uint64(size))
}

func (d digester) spec(s *Spec) digester {
	d = d.str(1, s.Queue)
	d = d.str(2, s.Policy)
	d = d.str(3, s.Job)
	d = d.str(4, s.Environment)
	d = d.str(5, s.Group)
	d = d.str(6, s.TimeZone)
	d = d.int(7, s.DeadlineMS)
	if len(s.Payload) > 0 {
		d = append(d.head(8, len(s.Payload)), s.Payload...)
	}
	if len(s.Attributes) == 0 {
		return d
	}
	for _, k := range slices.Sorted(maps.Keys(s.Attributes)) {
		d = append(d.head(9, len(k)), k...)
		d = append(d.head(10, len(s.Attributes[k])), s.Attributes[k]...)
	}
	return d
}

func (d digester) failure(f *policy.Failure) digester {
	d = d.int(40, int64(f.Cause))
	d = d.int(41, int64(f.HTTPStatus))
	d = d.str(42, f.RetryAfterHeader)
	d = d.int(43, int64(f.GRPCCode))
	d = d.int(44, int64(f.ConnectionKind))
	d = d.str(45, f.Outcome)
	d = d.str(46, f.Code)
	d = d.str(47, f.Message)
	d = d.int(48, int64(f.RetryAfter))
	if f.Permanent {
		d = d.int(49, 1)
	}
	return d
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
