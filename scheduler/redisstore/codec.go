package redisstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Errors of decoding a record.
var (
	errTruncated = errors.New("the record is cut short")
	errGarbage   = errors.New("the record has something behind its end")
)

// rangeError is what encoding returns for a number that has no room.
type rangeError struct {
	field string
	value int64
}

func (e rangeError) Error() string {
	return fmt.Sprintf("%s is %d, which cannot be stored", e.field, e.value)
}

// encoder builds a record. It keeps its first error.
type encoder struct {
	b   []byte
	err error
	// lastMS is the last moment written: moments lie close to each other, so that
	// the next one is short as a difference.
	lastMS int64
}

func (e *encoder) byte(v byte) { e.b = append(e.b, v) }

func (e *encoder) u8(field string, v int) {
	if v < 0 || v > math.MaxUint8 {
		e.fail(field, int64(v))
	}
	e.byte(byte(v))
}

func (e *encoder) u16(field string, v int) {
	if v < 0 || v > math.MaxUint16 {
		e.fail(field, int64(v))
	}
	e.b = binary.BigEndian.AppendUint16(e.b, uint16(v))
}

func (e *encoder) u32(field string, v int) {
	if v < 0 || v > math.MaxUint32 {
		e.fail(field, int64(v))
	}
	e.b = binary.BigEndian.AppendUint32(e.b, uint32(v))
}

// u48 writes a moment or a length of time as the scripts read it.
func (e *encoder) u48(field string, v int64) {
	if v < 0 || v > maxU48 {
		e.fail(field, v)
	}
	e.b = appendU48(e.b, v)
}

const maxU48 = 1<<48 - 1

func appendU48(b []byte, v int64) []byte {
	return append(b, byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func (e *encoder) u64(v uint64)     { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *encoder) uvarint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }

// int writes an int that is small and seldom negative.
func (e *encoder) int(v int) { e.uvarint(uint64(v)) }

func (e *encoder) varint(v int64) { e.b = binary.AppendVarint(e.b, v) }

// moment writes a time as its difference from the one before.
func (e *encoder) moment(ms int64) {
	e.varint(ms - e.lastMS)
	e.lastMS = ms
}

func (e *encoder) str(s string) {
	e.uvarint(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) fail(field string, v int64) {
	if e.err == nil {
		e.err = rangeError{field, v}
	}
}

// mask collects which of a set of optional fields are there.
type mask uint64

// when says that a field is there if ok.
func (m *mask) when(bit mask, ok bool) {
	if ok {
		*m |= bit
	}
}

func (m mask) has(bit mask) bool { return m&bit != 0 }

// decoder takes a record apart. It keeps its first error, and returns zeros from
// then on.
type decoder struct {
	s      string
	err    error
	lastMS int64
}

func (d *decoder) take(n int) string {
	if d.err != nil || n < 0 || n > len(d.s) {
		d.fail(errTruncated)
		return ""
	}
	got := d.s[:n]
	d.s = d.s[n:]
	return got
}

func (d *decoder) fixed(n int) uint64 {
	got := d.take(n)
	var v uint64
	for i := range len(got) {
		v = v<<8 | uint64(got[i])
	}
	return v
}

func (d *decoder) byte() byte {
	if got := d.take(1); got != "" {
		return got[0]
	}
	return 0
}

func (d *decoder) u48() int64 { return int64(d.fixed(6)) }

func (d *decoder) uvarint() uint64 {
	if len(d.s) > 0 && d.s[0] < 0x80 {
		v := d.s[0]
		d.s = d.s[1:]
		return uint64(v)
	}
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b := d.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if shift == 63 && b > 1 {
				break
			}
			return v
		}
	}
	d.fail(errTruncated)
	return 0
}

func (d *decoder) int() int { return int(int64(d.uvarint())) }

func (d *decoder) varint() int64 {
	return unzigzag(d.uvarint())
}

func (d *decoder) moment() int64 {
	d.lastMS += d.varint()
	return d.lastMS
}

func (d *decoder) mask() mask { return mask(d.uvarint()) }

func (d *decoder) str() string {
	n := d.uvarint()
	if n > uint64(len(d.s)) {
		d.fail(errTruncated)
		return ""
	}
	return d.take(int(n))
}

// count reads how many items follow, each of at least one byte, so that a
// damaged record cannot ask for more memory than it has bytes.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.s)) {
		d.fail(errTruncated)
		return 0
	}
	return int(n)
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.s = ""
}
