package redisstore

import (
	"maps"
	"slices"

	"github.com/retryd/retryd/scheduler"
)

// The fields of a spec, besides its queue and its group.
const (
	specPolicy mask = 1 << iota
	specPayload
	specAttributes
	specDeadline
	// specBinding says that the deadline is the one that binds the task.
	specBinding
	specJob
	specEnvironment
	specTimeZone
)

func (e *encoder) spec(s *scheduler.Spec, bindingMS int64) {
	binding := bindingMS != 0 && s.DeadlineMS == bindingMS
	var m mask
	m.when(specPolicy, s.Policy != "")
	m.when(specPayload, len(s.Payload) > 0)
	m.when(specAttributes, len(s.Attributes) > 0)
	m.when(specDeadline, s.DeadlineMS != 0 && !binding)
	m.when(specBinding, binding)
	m.when(specJob, s.Job != "")
	m.when(specEnvironment, s.Environment != "")
	m.when(specTimeZone, s.TimeZone != "")
	e.uvarint(uint64(m))
	if m.has(specPolicy) {
		e.str(s.Policy)
	}
	if m.has(specPayload) {
		e.uvarint(uint64(len(s.Payload)))
		e.b = append(e.b, s.Payload...)
	}
	if m.has(specAttributes) {
		e.uvarint(uint64(len(s.Attributes)))
		for _, k := range slices.Sorted(maps.Keys(s.Attributes)) {
			e.str(k)
			e.str(s.Attributes[k])
		}
	}
	if m.has(specDeadline) {
		e.varint(s.DeadlineMS)
	}
	if m.has(specJob) {
		e.str(s.Job)
	}
	if m.has(specEnvironment) {
		e.str(s.Environment)
	}
	if m.has(specTimeZone) {
		e.str(s.TimeZone)
	}
}

func (d *decoder) spec(s *scheduler.Spec, bindingMS int64) {
	m := d.mask()
	if m.has(specPolicy) {
		s.Policy = d.str()
	}
	if m.has(specPayload) {
		if payload := d.str(); payload != "" {
			s.Payload = []byte(payload)
		}
	}
	if m.has(specAttributes) {
		if n := d.count(); n > 0 {
			s.Attributes = make(map[string]string, n)
			for range n {
				k := d.str()
				s.Attributes[k] = d.str()
			}
		}
	}
	if m.has(specDeadline) {
		s.DeadlineMS = d.varint()
	}
	if m.has(specBinding) {
		s.DeadlineMS = bindingMS
	}
	if m.has(specJob) {
		s.Job = d.str()
	}
	if m.has(specEnvironment) {
		s.Environment = d.str()
	}
	if m.has(specTimeZone) {
		s.TimeZone = d.str()
	}
	if m >= specTimeZone<<1 {
		d.fail(errGarbage)
	}
}
