package redisstore

import (
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// The fields of an attempt's record. Those that nearly every record has come
// first, so that the mask is short; what follows from other fields is left out.
const (
	attemptNumber mask = 1 << iota
	attemptTrigger
	attemptTime
	attemptRevision
	attemptContent
	attemptOp
	attemptDecision
	// attemptGeneration: it is not the first.
	attemptGeneration
	attemptSuccess
	attemptKey
	attemptWorker
	attemptDeliveries
	attemptFence
	// attemptTaskFence: the fence is the task's newest.
	attemptTaskFence
	// attemptPolicy: it is not the policy that the task names.
	attemptPolicy
	attemptOutcome
	// attemptMessage: a success's message. A failure has none, and keeps its trace
	// context there, where versions that know of no traces carry it along unread.
	attemptMessage
	failureCause
	failureStatus
	failureMessage
	failureCode
	failureGRPC
	failureConnection
	failureOutcome
	failureRetryAfterHeader
	failureRetryAfter
	failurePermanent
	failureTime
)

func (e *encoder) history(t *scheduler.Task) {
	e.uvarint(uint64(len(t.History)))
	// A claim changes the fence and does not look into the history.
	settled := t.State != scheduler.StateScheduled && t.State != scheduler.StateLeased
	for i := range t.History {
		rec := &t.History[i]
		e.attempt(rec, t, settled && rec.Fence == t.Fence && rec.Fence != scheduler.Fence{})
	}
}

func (e *encoder) attempt(rec *scheduler.AttemptRecord, t *scheduler.Task, taskFence bool) {
	f := &rec.Failure
	var m mask
	m.when(attemptNumber, rec.Attempt != 0)
	m.when(attemptTrigger, rec.Trigger != 0)
	m.when(attemptTime, rec.TimeMS != e.lastMS)
	m.when(attemptRevision, rec.PolicyRevision != 0)
	m.when(attemptContent, rec.Content != 0)
	m.when(attemptOp, rec.Op != 0)
	m.when(attemptDecision, hasDecision(&rec.Decision))
	m.when(attemptGeneration, rec.Generation != 1)
	m.when(attemptSuccess, rec.Success)
	m.when(attemptKey, rec.Key != 0)
	m.when(attemptWorker, rec.Worker != "")
	m.when(attemptDeliveries, rec.Deliveries != 0)
	m.when(attemptFence, rec.Fence != scheduler.Fence{} && !taskFence)
	m.when(attemptTaskFence, taskFence)
	m.when(attemptPolicy, rec.Policy != t.Spec.Policy)
	m.when(attemptOutcome, rec.Outcome != "")
	m.when(attemptMessage, rec.Success && rec.Message != "" || !rec.Success && rec.Trace.Parent != "")
	m.when(failureCause, f.Cause != 0)
	m.when(failureStatus, f.HTTPStatus != 0)
	m.when(failureMessage, f.Message != "")
	m.when(failureCode, f.Code != "")
	m.when(failureGRPC, f.GRPCCode != 0)
	m.when(failureConnection, f.ConnectionKind != 0)
	m.when(failureOutcome, f.Outcome != "")
	m.when(failureRetryAfterHeader, f.RetryAfterHeader != "")
	m.when(failureRetryAfter, f.RetryAfter != 0)
	m.when(failurePermanent, f.Permanent)
	m.when(failureTime, f.TimeMS != 0)
	e.uvarint(uint64(m))
	e.attemptHead(rec, m)
	e.failure(f, m)
	if m.has(attemptDecision) {
		e.decision(&rec.Decision, rec, t)
	}
}

func (e *encoder) attemptHead(rec *scheduler.AttemptRecord, m mask) {
	if m.has(attemptNumber) {
		e.int(rec.Attempt)
	}
	if m.has(attemptTrigger) {
		e.byte(byte(rec.Trigger))
	}
	if m.has(attemptTime) {
		e.moment(rec.TimeMS)
	}
	if m.has(attemptRevision) {
		e.varint(rec.PolicyRevision)
	}
	if m.has(attemptContent) {
		e.u64(uint64(rec.Content))
	}
	if m.has(attemptOp) {
		e.u64(uint64(rec.Op))
	}
	if m.has(attemptGeneration) {
		e.int(rec.Generation)
	}
	if m.has(attemptKey) {
		e.u64(uint64(rec.Key))
	}
	if m.has(attemptWorker) {
		e.str(rec.Worker)
	}
	if m.has(attemptDeliveries) {
		e.int(rec.Deliveries)
	}
	if m.has(attemptFence) {
		e.fence(rec.Fence)
	}
	if m.has(attemptPolicy) {
		e.str(rec.Policy)
	}
	if m.has(attemptOutcome) {
		e.str(rec.Outcome)
	}
	if m.has(attemptMessage) {
		if rec.Success {
			e.str(rec.Message)
		} else {
			e.trace(rec.Trace)
		}
	}
}

// trace writes a trace context as one text: the length of its parent in one byte, the
// parent, and the state.
func (e *encoder) trace(c scheduler.TraceContext) {
	e.uvarint(uint64(1 + len(c.Parent) + len(c.State)))
	e.u8("the length of the traceparent", len(c.Parent))
	e.b = append(append(e.b, c.Parent...), c.State...)
}

func (e *encoder) failure(f *policy.Failure, m mask) {
	if m.has(failureCause) {
		e.byte(byte(f.Cause))
	}
	if m.has(failureStatus) {
		e.int(f.HTTPStatus)
	}
	if m.has(failureMessage) {
		e.str(f.Message)
	}
	if m.has(failureCode) {
		e.str(f.Code)
	}
	if m.has(failureGRPC) {
		e.int(f.GRPCCode)
	}
	if m.has(failureConnection) {
		e.byte(byte(f.ConnectionKind))
	}
	if m.has(failureOutcome) {
		e.str(f.Outcome)
	}
	if m.has(failureRetryAfterHeader) {
		e.str(f.RetryAfterHeader)
	}
	if m.has(failureRetryAfter) {
		e.varint(int64(f.RetryAfter))
	}
	if m.has(failureTime) {
		e.varint(f.TimeMS - e.lastMS)
	}
}

func (d *decoder) history(t *scheduler.Task) {
	n := d.count()
	if n == 0 {
		return
	}
	t.History = make([]scheduler.AttemptRecord, n)
	for i := range t.History {
		d.attempt(&t.History[i], t)
	}
}

func (d *decoder) attempt(rec *scheduler.AttemptRecord, t *scheduler.Task) {
	m := d.mask()
	rec.Generation, rec.TimeMS, rec.Policy = 1, d.lastMS, t.Spec.Policy
	rec.Success = m.has(attemptSuccess)
	if m.has(attemptNumber) {
		rec.Attempt = d.int()
	}
	if m.has(attemptTrigger) {
		rec.Trigger = scheduler.Trigger(d.byte())
	}
	if m.has(attemptTime) {
		rec.TimeMS = d.moment()
	}
	if m.has(attemptRevision) {
		rec.PolicyRevision = d.varint()
	}
	if m.has(attemptContent) {
		rec.Content = scheduler.Digest(d.fixed(8))
	}
	if m.has(attemptOp) {
		rec.Op = scheduler.OpID(d.fixed(8))
	}
	if m.has(attemptGeneration) {
		rec.Generation = d.int()
	}
	if m.has(attemptKey) {
		rec.Key = scheduler.Digest(d.fixed(8))
	}
	if m.has(attemptWorker) {
		rec.Worker = d.str()
	}
	if m.has(attemptDeliveries) {
		rec.Deliveries = d.int()
	}
	if m.has(attemptFence) {
		rec.Fence = d.fence()
	}
	if m.has(attemptTaskFence) {
		rec.Fence = t.Fence
	}
	if m.has(attemptPolicy) {
		rec.Policy = d.str()
	}
	if m.has(attemptOutcome) {
		rec.Outcome = d.str()
	}
	if m.has(attemptMessage) {
		if text := d.str(); rec.Success {
			rec.Message = text
		} else {
			rec.Trace = d.trace(text)
		}
	}
	d.failure(&rec.Failure, m)
	if m.has(attemptDecision) {
		d.decision(&rec.Decision, rec, t)
	}
	if m >= failureTime<<1 {
		d.fail(errGarbage)
	}
}

// trace reads what encoder.trace wrote. Where there is no parent there is no context.
func (d *decoder) trace(text string) scheduler.TraceContext {
	if text == "" || text[0] == 0 {
		return scheduler.TraceContext{}
	}
	end := 1 + int(text[0])
	if end > len(text) {
		d.fail(errTruncated)
		return scheduler.TraceContext{}
	}
	return scheduler.TraceContext{Parent: text[1:end], State: text[end:]}
}

func (d *decoder) failure(f *policy.Failure, m mask) {
	f.Permanent = m.has(failurePermanent)
	if m.has(failureCause) {
		f.Cause = policy.Cause(d.byte())
	}
	if m.has(failureStatus) {
		f.HTTPStatus = d.int()
	}
	if m.has(failureMessage) {
		f.Message = d.str()
	}
	if m.has(failureCode) {
		f.Code = d.str()
	}
	if m.has(failureGRPC) {
		f.GRPCCode = d.int()
	}
	if m.has(failureConnection) {
		f.ConnectionKind = policy.ConnectionKind(d.byte())
	}
	if m.has(failureOutcome) {
		f.Outcome = d.str()
	}
	if m.has(failureRetryAfterHeader) {
		f.RetryAfterHeader = d.str()
	}
	if m.has(failureRetryAfter) {
		f.RetryAfter = time.Duration(d.varint())
	}
	if m.has(failureTime) {
		f.TimeMS = d.varint() + d.lastMS
	}
}
