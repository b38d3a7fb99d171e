package redisstore

import (
	"fmt"

	"github.com/retryd/retryd/scheduler"
)

// A task is kept as one string, its numbers big-endian:
//
//	offset  bytes
//	     0  8   version
//	     8  1   format, of this layout and all that follows: 1
//	     9  1   state
//	    10  6   DueMS while SCHEDULED, LeaseEndMS while LEASED, ExpireMS once dead or ended
//	    16  6   the deadline that binds the task while it is not dead or ended, 0 for none
//	    22  4   deliveries
//	    26  4   expiries
//	    30  2   length of the lease part
//	    32  .   lease part: a byte that says which of these there are, then
//	            fence (8 number, 8 nonce), DueMS (6), LeaseEndMS (6), LeaseMS (6),
//	            released (8 + 8), worker (the rest)
//	     .  2   length of the queue's name, and the name
//	     .  1   length of the group's name, 0 for none, and the name
//	     .  .   the rest of the spec, then the state's, then the history, which the
//	            scripts do not look into
//
// Up to the group's name the scripts read it, and a claim writes all up to the
// end of the lease part anew. Behind it, only what is set takes room: fields come
// in a fixed order after a mask that says which of them there are. All of it is
// stored: what is here never changes its meaning, a new field takes a new bit,
// and anything else is another format.
const (
	recordFormat = 1
	// fixedBytes is the length of what comes before the lease part.
	fixedBytes = 32
	// leaseFlagsAt and fenceAt are where the lease part begins, and its fence if it
	// has one.
	leaseFlagsAt = fixedBytes
	fenceAt      = fixedBytes + 1
	versionBytes = 8
)

// The parts of the lease part.
const (
	leaseHasFence mask = 1 << iota
	leaseHasDue
	leaseHasEnd
	leaseHasLength
	leaseHasReleased
	leaseHasWorker
)

// maxFence is the largest fence number that a script can add to without losing
// digits; it is reached in the year 2255.
const maxFence = 1<<53 - 1

// formatError is returned for a record that another version has written.
type formatError byte

func (e formatError) Error() string {
	return fmt.Sprintf("the record has format %d, and this version of retryd reads format %d only; run the version that wrote it, or a newer one", byte(e), recordFormat)
}

// appendRecord appends t's record to b, its version included.
func appendRecord(b []byte, t *scheduler.Task) ([]byte, error) {
	e := encoder{b: b}
	e.u64(uint64(t.Version))
	e.byte(recordFormat)
	e.byte(byte(t.State))
	atMS := placeMS(t)
	e.u48("the task's due time, lease end or expiry", *atMS)
	bindingMS := bindingDeadline(t)
	e.u48("deadline", bindingMS)
	e.u32("delivery", t.Delivery)
	e.u32("expiries", t.Expiries)
	lenAt := len(e.b)
	e.u16("", 0)
	e.lease(t, atMS)
	size := len(e.b) - lenAt - 2
	if size > 1<<16-1 {
		e.fail("the length of the worker's name", int64(len(t.Worker)))
	}
	e.b[lenAt], e.b[lenAt+1] = byte(size>>8), byte(size)
	e.u16("the length of the queue's name", len(t.Spec.Queue))
	e.b = append(e.b, t.Spec.Queue...)
	e.u8("the length of the group's name", len(t.Spec.Group))
	e.b = append(e.b, t.Spec.Group...)
	e.spec(&t.Spec, bindingMS)
	e.state(t, atMS)
	e.history(t)
	return e.b, e.err
}

// placeMS returns the time of t that its place in the indexes, or the end of its
// record, depends on.
func placeMS(t *scheduler.Task) *int64 {
	switch {
	case t.State == scheduler.StateScheduled:
		return &t.DueMS
	case t.State == scheduler.StateLeased:
		return &t.LeaseEndMS
	case t.State == scheduler.StateDead || t.State.Ended():
		return &t.ExpireMS
	}
	return new(int64)
}

// bindingDeadline is the task's place in the index of what ends by itself while
// that is a deadline, else 0.
func bindingDeadline(t *scheduler.Task) int64 {
	if ms, ok := t.EndingMS(); ok && t.State != scheduler.StateDead {
		return ms
	}
	return 0
}

func (e *encoder) lease(t *scheduler.Task, atMS *int64) {
	if t.Fence.Number < 0 || t.Fence.Number > maxFence {
		e.fail("fence", t.Fence.Number)
	}
	var m mask
	m.when(leaseHasFence, t.Fence != scheduler.Fence{})
	m.when(leaseHasDue, t.DueMS != 0 && atMS != &t.DueMS)
	m.when(leaseHasEnd, t.LeaseEndMS != 0 && atMS != &t.LeaseEndMS)
	m.when(leaseHasLength, t.LeaseMS != 0)
	m.when(leaseHasReleased, t.Released != scheduler.Fence{})
	m.when(leaseHasWorker, t.Worker != "")
	e.byte(byte(m))
	if m.has(leaseHasFence) {
		e.fence(t.Fence)
	}
	if m.has(leaseHasDue) {
		e.u48("due time", t.DueMS)
	}
	if m.has(leaseHasEnd) {
		e.u48("lease end", t.LeaseEndMS)
	}
	if m.has(leaseHasLength) {
		e.u48("lease", t.LeaseMS)
	}
	if m.has(leaseHasReleased) {
		e.fence(t.Released)
	}
	e.b = append(e.b, t.Worker...)
}

func (e *encoder) fence(f scheduler.Fence) {
	e.u64(uint64(f.Number))
	e.u64(f.Nonce)
}

// decodeRecord reads what appendRecord wrote. The task keeps s.
func decodeRecord(key scheduler.TaskKey, s string) (*scheduler.Task, error) {
	d := decoder{s: s}
	t := &scheduler.Task{Key: key}
	t.Version = int64(d.fixed(8))
	if format := d.byte(); d.err == nil && format != recordFormat {
		return nil, formatError(format)
	}
	t.State = scheduler.State(d.byte())
	atMS := placeMS(t)
	*atMS = d.u48()
	bindingMS := d.u48()
	t.Delivery, t.Expiries = int(d.fixed(4)), int(d.fixed(4))
	d.lease(t)
	t.Spec.Queue = d.take(int(d.fixed(2)))
	t.Spec.Group = d.take(int(d.byte()))
	d.spec(&t.Spec, bindingMS)
	d.state(t)
	d.history(t)
	switch {
	case d.err != nil:
		return nil, d.err
	case d.s != "":
		return nil, errGarbage
	}
	return t, nil
}

func (d *decoder) lease(t *scheduler.Task) {
	part := decoder{s: d.take(int(d.fixed(2))), err: d.err}
	m := mask(part.byte())
	if m.has(leaseHasFence) {
		t.Fence = part.fence()
	}
	if m.has(leaseHasDue) {
		t.DueMS = part.u48()
	}
	if m.has(leaseHasEnd) {
		t.LeaseEndMS = part.u48()
	}
	if m.has(leaseHasLength) {
		t.LeaseMS = part.u48()
	}
	if m.has(leaseHasReleased) {
		t.Released = part.fence()
	}
	t.Worker = part.s
	if part.err != nil {
		d.fail(part.err)
	}
	if m.has(leaseHasWorker) != (t.Worker != "") || m >= leaseHasWorker<<1 {
		d.fail(errGarbage)
	}
}

func (d *decoder) fence() scheduler.Fence {
	return scheduler.Fence{Number: int64(d.fixed(8)), Nonce: d.fixed(8)}
}
