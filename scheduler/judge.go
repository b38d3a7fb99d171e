package scheduler

import (
	"context"
	"fmt"
	"strconv"

	"github.com/retryd/retryd/policy"
)

// judge is the table of what a report means in each state, its rows from the
// top: the first that fits decides. t is nil for an unknown task. It returns what
// the task becomes, nil where the report has no effect, and leaves the answer in to.
func (s *Scheduler) judge(ctx context.Context, t *Task, r *Report, nowMS int64, to *Answer) (*Task, error) {
	*to = Answer{}
	if t != nil {
		if rec := t.recordOfOp(r.op); rec != nil {
			return to.recorded(t, rec, false)
		}
	}
	if r.lease != nil {
		return s.judgeToken(ctx, t, r, nowMS, to)
	}
	if t == nil {
		return s.judgeUnknown(ctx, r, nowMS, to)
	}
	if r.Key != "" {
		if rec := t.recordOfKey(r); rec != nil {
			if rec.Content == contentDigest(r, rec.Attempt) {
				return to.recorded(t, rec, true)
			}
			return nil, keyReused(t)
		}
	}
	if !t.State.Live() {
		if rec := t.LastRecord(); t.State == StateSucceeded && r.Failure == nil && rec != nil {
			return to.recorded(t, rec, true)
		}
		return nil, wrongState(t)
	}
	if r.Failure != nil && r.Attempt != 0 {
		if rec := t.recordOfFailure(r.Attempt); rec != nil {
			return to.recorded(t, rec, true)
		}
	}
	if r.Attempt > t.inTurn() {
		return nil, outOfOrder(t, r.Attempt)
	}
	if t.State == StateLeased {
		return nil, leaseRequired(t)
	}
	if r.Failure == nil {
		return s.succeed(ctx, t, r, nowMS, to)
	}
	return s.judgeFailure(ctx, t, r, nowMS, to)
}

// judgeToken takes the rows of a report with a lease token.
func (s *Scheduler) judgeToken(ctx context.Context, t *Task, r *Report, nowMS int64, to *Answer) (*Task, error) {
	if t == nil {
		return nil, leaseLost(r.ID)
	}
	if t.State == StateLeased && t.Fence == r.lease.Fence {
		if r.Attempt != 0 && r.Attempt != t.Attempt {
			return nil, Invalid(notOfToken(r.Attempt, t.Attempt))
		}
		if r.Failure == nil {
			return s.succeed(ctx, t, r, nowMS, to)
		}
		return s.fail(ctx, t, r, t.Attempt, nowMS, to)
	}
	for i := range t.History {
		rec := &t.History[i]
		if rec.Fence != r.lease.Fence || rec.Success != (r.Failure == nil) {
			continue
		}
		if r.Attempt != 0 && r.Attempt != rec.Attempt {
			return nil, Invalid(notOfToken(r.Attempt, rec.Attempt))
		}
		return to.recorded(t, rec, true)
	}
	return nil, leaseLost(r.ID)
}

// judgeUnknown takes the row of a task nobody has reported yet.
func (s *Scheduler) judgeUnknown(ctx context.Context, r *Report, nowMS int64, to *Answer) (*Task, error) {
	t := &Task{
		Key:          TaskKey{r.Namespace, r.ID},
		Spec:         r.Spec,
		State:        StateScheduled,
		Attempt:      max(r.Attempt, 1),
		Generation:   1,
		FirstAttempt: 1,
	}
	if r.Failure == nil {
		return s.succeed(ctx, t, r, nowMS, to)
	}
	if r.Spec.Job != "" {
		id, err := s.policyOfJob(ctx, r.Namespace, r.Spec.Job, r.Spec.Environment)
		if err != nil {
			return nil, err
		}
		t.Spec.Policy = id
	}
	next, err := s.fail(ctx, t, r, t.Attempt, nowMS, to)
	if err != nil {
		return nil, err
	}
	if err := s.quotas.reserve(ctx, next, &r.reserved); err != nil {
		return nil, err
	}
	return next, nil
}

// judgeFailure takes the rows of a failure of a known live task that nobody has
// leased, without a token and of an attempt that is not recorded.
func (s *Scheduler) judgeFailure(ctx context.Context, t *Task, r *Report, nowMS int64, to *Answer) (*Task, error) {
	if t.State != StateScheduled {
		if r.Attempt == 0 && t.parkedByReport() {
			return to.recorded(t, t.LastRecord(), true)
		}
		return nil, wrongState(t)
	}
	if r.Attempt != 0 && r.Attempt != t.Attempt {
		// Behind the one in turn, and its record is gone or never was.
		return nil, outOfOrder(t, r.Attempt)
	}
	if r.Attempt == 0 && nowMS < t.DueMS {
		// Nobody can have run the attempt in turn yet: this is a resend, and burns
		// no retry.
		if rec := t.LastFailure(); rec != nil {
			return to.recorded(t, rec, true)
		}
	}
	return s.fail(ctx, t, r, t.Attempt, nowMS, to)
}

// fail records that an attempt failed, and does what the policy says.
func (s *Scheduler) fail(ctx context.Context, t *Task, r *Report, attempt int, nowMS int64, to *Answer) (*Task, error) {
	if v := contradictions(&r.Spec, t); len(v) > 0 {
		return nil, Invalid(v...)
	}
	policyFor := s.policyUnderWay
	if t.Version == 0 {
		policyFor = func(ctx context.Context, t *Task) (*ruling, error) { return s.policyOfNew(ctx, t, nowMS) }
	}
	pol, err := policyFor(ctx, t)
	if err != nil {
		return nil, err
	}
	to.TaskID, to.Trace = t.Key.ID, t.Trace()
	rec := &to.Record
	*rec = AttemptRecord{
		Attempt:    attempt,
		Generation: t.Generation,
		Trigger:    t.Trigger,
		TimeMS:     nowMS,
		Failure:    *r.Failure,
		Policy:     t.Spec.Policy,
		Worker:     t.Worker,
		Deliveries: t.Delivery,
		Key:        keyDigest(r.Key),
		Content:    contentDigest(r, attempt),
		Op:         r.op,
		Trace:      r.Trace,
	}
	if r.lease != nil {
		rec.Fence = r.lease.Fence
	}
	rec.PolicyRevision = pol.revision
	rec.Decision = policy.Decide(pol.compiled, t.policyState(attempt), *r.Failure, nowMS)
	next := t.successor()
	if next.FirstFailureMS == 0 {
		next.FirstFailureMS = nowMS
	}
	next.History, next.Dropped = t.withRecord(rec)
	next.follow(&rec.Decision, nowMS, pol.deadLetterRetentionMS)
	return next, nil
}

// succeed records that an attempt succeeded, which ends the task.
func (s *Scheduler) succeed(ctx context.Context, t *Task, r *Report, nowMS int64, to *Answer) (*Task, error) {
	if v := contradictions(&r.Spec, t); len(v) > 0 {
		return nil, Invalid(v...)
	}
	retentionMS := s.cfg.FirstSuccessRetention.Milliseconds()
	if t.Version != 0 {
		pol, err := s.policyUnderWay(ctx, t)
		if err != nil {
			return nil, err
		}
		retentionMS = pol.retentionMS
	}
	attempt := r.Attempt
	if attempt == 0 {
		attempt = t.inTurn()
	}
	to.TaskID, to.Trace = t.Key.ID, t.Trace()
	rec := &to.Record
	*rec = AttemptRecord{
		Attempt:    attempt,
		Generation: t.Generation,
		TimeMS:     nowMS,
		Success:    true,
		Outcome:    r.Outcome,
		Policy:     t.Spec.Policy,
		Key:        keyDigest(r.Key),
		Content:    contentDigest(r, attempt),
		Op:         r.op,
	}
	if attempt == t.Attempt {
		rec.Trigger, rec.Worker, rec.Deliveries = t.Trigger, t.Worker, t.Delivery
	}
	if r.lease != nil {
		rec.Fence = r.lease.Fence
	}
	next := t.successor()
	next.History, next.Dropped = t.withRecord(rec)
	next.Attempt = next.attemptsMade()
	next.end(StateSucceeded, nowMS, retentionMS)
	to.Attempts = next.attemptsMade()
	return next, nil
}

// recorded makes the answer that which was given when rec was made: the report has
// no further effect.
func (to *Answer) recorded(t *Task, rec *AttemptRecord, duplicate bool) (*Task, error) {
	*to = Answer{TaskID: t.Key.ID, Duplicate: duplicate, Record: *rec}
	if rec.Success {
		to.Attempts = t.attemptsMade()
	}
	return nil, nil //nolint:nilnil // nothing becomes of the task
}

// successor is a task to be made of t: a copy, as others may know t, but for a new
// one.
func (t *Task) successor() *Task {
	if t.Version == 0 {
		return t
	}
	next := *t
	return &next
}

// recordOfOp returns the record that the operation wrote, nil when there is
// none.
func (t *Task) recordOfOp(op OpID) *AttemptRecord {
	for i := len(t.History) - 1; i >= 0; i-- {
		if t.History[i].Op == op && op != 0 {
			return &t.History[i]
		}
	}
	return nil
}

// recordOfKey returns the record made under the report's key for its kind and
// attempt, the newest for attempt 0; nil when there is none.
func (t *Task) recordOfKey(r *Report) *AttemptRecord {
	key := keyDigest(r.Key)
	for i := len(t.History) - 1; i >= 0; i-- {
		rec := &t.History[i]
		if rec.Key == key && rec.Success == (r.Failure == nil) && (r.Attempt == 0 || r.Attempt == rec.Attempt) {
			return rec
		}
	}
	return nil
}

// recordOfFailure returns the record of an attempt's failure, nil when there is
// none.
func (t *Task) recordOfFailure(attempt int) *AttemptRecord {
	for i := len(t.History) - 1; i >= 0; i-- {
		if rec := &t.History[i]; rec.Attempt == attempt && !rec.Success {
			return rec
		}
	}
	return nil
}

// attemptsMade is the highest number among the recorded attempts.
func (t *Task) attemptsMade() int {
	n := 0
	for i := range t.History {
		n = max(n, t.History[i].Attempt)
	}
	return n
}

// contradictions names every field of a spec given again with another value
// than the task has.
func contradictions(given *Spec, t *Task) []policy.Violation {
	var out []policy.Violation
	differs := func(field string, same bool) {
		if !same {
			out = append(out, violation("task."+field, "differs from what the task %q was first reported with; leave it out or repeat it", t.Key.ID))
		}
	}
	has := &t.Spec
	text := func(field, given, has string) { differs(field, given == "" || given == has) }
	text("queue", given.Queue, has.Queue)
	text("policy", given.Policy, has.Policy)
	text("job", given.Job, has.Job)
	text("environment", given.Environment, has.Environment)
	text("group", given.Group, has.Group)
	text("time_zone", given.TimeZone, has.TimeZone)
	differs("deadline", given.DeadlineMS == 0 || given.DeadlineMS == has.DeadlineMS)
	differs("payload", len(given.Payload) == 0 || string(given.Payload) == string(has.Payload))
	if len(given.Attributes) > 0 {
		same := len(given.Attributes) == len(has.Attributes)
		for k, v := range given.Attributes {
			if hv, ok := has.Attributes[k]; !ok || hv != v {
				same = false
			}
		}
		differs("attributes", same)
	}
	return out
}

func notOfToken(given, want int) policy.Violation {
	return violation("attempt", "is %d, but lease_token is that of attempt %d", given, want)
}

func keyReused(t *Task) *Error {
	return &Error{
		Kind:     KindKeyReused,
		Message:  fmt.Sprintf("the idempotency key was used before for another report of task %q", t.Key.ID),
		Metadata: map[string]string{"task_id": t.Key.ID},
	}
}

func leaseRequired(t *Task) *Error {
	return &Error{
		Kind:     KindLeaseRequired,
		Message:  fmt.Sprintf("attempt %d of task %q is leased to a worker; only a report with its lease token is taken", t.Attempt, t.Key.ID),
		Metadata: map[string]string{"task_id": t.Key.ID, "attempt": strconv.Itoa(t.Attempt)},
	}
}

func outOfOrder(t *Task, given int) *Error {
	return &Error{
		Kind:    KindOutOfOrder,
		Message: fmt.Sprintf("attempt %d of task %q was reported, but attempt %d is the one in turn", given, t.Key.ID, t.inTurn()),
		Metadata: map[string]string{
			"task_id": t.Key.ID, "attempt": strconv.Itoa(given), "attempt_in_turn": strconv.Itoa(t.inTurn()),
			"state": t.State.String(),
		},
	}
}
