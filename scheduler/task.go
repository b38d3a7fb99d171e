package scheduler

import (
	"slices"

	"github.com/retryd/retryd/policy"
)

// TaskKey names a task: its caller's id within a namespace.
type TaskKey struct {
	Namespace, ID string
}

// QueueKey names a queue within a namespace. An empty Name is the queue of
// caller-driven tasks, which nobody can subscribe to.
type QueueKey struct {
	Namespace, Name string
}

// State is where a task is in its life. Its numbers are stored: they never
// change.
type State uint8

// The states. The zero value is that of a task nobody has reported.
const (
	StateUnknown State = iota
	// StateScheduled waits for its next attempt to fall due, or is due.
	StateScheduled
	// StateLeased is handed out, until settled, released or claimed again after
	// the lease has ended.
	StateLeased
	// StateHeld waits for a condition to be released.
	StateHeld
	// StateDead ended without success and waits for a person.
	StateDead
	// StateSucceeded, StateCancelled and StateDiscarded are ended.
	StateSucceeded
	StateCancelled
	StateDiscarded
)

var stateNames = [...]string{"UNKNOWN", "SCHEDULED", "LEASED", "HELD", "DEAD", "SUCCEEDED", "CANCELLED", "DISCARDED"}

// String returns the state's name in the API, without its prefix.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "UNKNOWN"
}

// Live says whether something may still become of the task: SCHEDULED, LEASED,
// HELD or DEAD.
func (s State) Live() bool { return s >= StateScheduled && s <= StateDead }

// Ended says whether the task only waits to be forgotten: SUCCEEDED, CANCELLED
// or DISCARDED.
func (s State) Ended() bool { return s >= StateSucceeded }

// Trigger says what made an attempt happen. Its numbers are stored: they never
// change.
type Trigger uint8

// The triggers. The zero value is the caller's own first try.
const (
	TriggerNone Trigger = iota
	TriggerRetry
	TriggerReplay
	TriggerRetryNow
	TriggerRelease
)

var triggerNames = [...]string{"UNSPECIFIED", "RETRY", "REPLAY", "RETRY_NOW", "RELEASE"}

// String returns the trigger's name in the API, without its prefix.
func (t Trigger) String() string {
	if int(t) < len(triggerNames) {
		return triggerNames[t]
	}
	return "UNSPECIFIED"
}

// Spec is what a task's caller says of it. It does not change once the task is
// known.
type Spec struct {
	// Queue is empty for a caller-driven task.
	Queue string
	// Policy is the policy's id; for a task of a Job, the one that the job named
	// at the first report.
	Policy           string
	Job, Environment string
	Payload          []byte
	Attributes       map[string]string
	Group            string
	// DeadlineMS is 0 for none.
	DeadlineMS int64
	// TimeZone is an IANA name, used by pause windows that name none.
	TimeZone string
}

// MaxTaskBytes is the most that the API lets a task carry: 128 KiB of payload, 8 KiB of
// attributes.
const MaxTaskBytes = 136 << 10

// Bytes is how much a task of that spec carries: its payload, and the names and values
// of its attributes.
func (s *Spec) Bytes() int64 {
	n := len(s.Payload)
	for name, value := range s.Attributes {
		n += len(name) + len(value)
	}
	return int64(n)
}

// Task is everything that is known of a task. A *Task is never modified once it
// has been handed to a [Store] or got from one: a transition copies it, so that
// stores, caches and streams may share it.
//
// All times are Unix milliseconds of the store's clock; 0 means not set.
type Task struct {
	Key TaskKey
	// Version is the store's: it rises with every write, also over the task's
	// end and a later task of the same id.
	Version int64
	Spec    Spec
	State   State

	// Attempt is the attempt in turn while SCHEDULED or LEASED; afterwards the
	// last one that was.
	Attempt int
	// Generation starts at 1 and FirstAttempt is its first attempt.
	Generation, FirstAttempt int
	// Trigger is that of the attempt in turn.
	Trigger Trigger
	// DueMS is when the attempt in turn fell or falls due.
	DueMS int64
	// Delivery counts the hand-outs of the attempt in turn, Expiries those whose
	// lease ended without a word.
	Delivery, Expiries int
	// RetriesLeft is how many retries the policy allows after the attempt in
	// turn, as judged when it was scheduled.
	RetriesLeft int

	// Fence is the newest token issued; it is good while the task is LEASED.
	Fence Fence
	// LeaseEndMS, LeaseMS (its length) and Worker are the current lease's.
	LeaseEndMS, LeaseMS int64
	Worker              string
	// Released is the token handed back last, until the next hand-out.
	Released Fence
	// Op is the last operation that changed no history, so that its repeat is
	// known for what it is.
	Op OpID

	// FirstFailureMS, RuleRetries, LastDelayMS and LastDateMS are the
	// generation's; see [policy.State].
	FirstFailureMS          int64
	RuleRetries             []policy.RuleRetries
	LastDelayMS, LastDateMS int64

	HoldCondition string
	HoldMS        int64
	DeadReason    policy.Reason
	// Fingerprint is a dead letter's: it is the same for all that have failed in the
	// same way.
	Fingerprint Fingerprint
	// EndMS is when the task died or ended; ExpireMS is when its record goes.
	EndMS, ExpireMS int64

	// History holds the first 20 and the last 80 attempts; Dropped is how many
	// between them are gone.
	History []AttemptRecord
	Dropped int
}

// AttemptRecord is one report that had an effect, and the answer it got.
type AttemptRecord struct {
	Attempt, Generation int
	Trigger             Trigger
	// TimeMS is when the report was judged.
	TimeMS int64
	// Success tells a success from a failure; Outcome and Message are a success's.
	Success          bool
	Outcome, Message string
	Failure          policy.Failure
	Decision         policy.Decision
	Policy           string
	PolicyRevision   int64
	Worker           string
	Deliveries       int
	// Key and Content are the digests of the report's idempotency key (0: none)
	// and of what it said.
	Key, Content Digest
	// Fence is the token that the report settled; zero without one.
	Fence Fence
	Op    OpID
	// Trace is the trace context that a failure's report came with, until a later
	// report has one.
	Trace TraceContext
}

const (
	keptFirst = 20
	keptLast  = 80
)

// withRecord returns t's history with rec at its end, and how many records are
// dropped from its middle by now.
func (t *Task) withRecord(rec *AttemptRecord) (history []AttemptRecord, dropped int) {
	history = make([]AttemptRecord, 0, len(t.History)+1)
	history = append(append(history, t.History...), *rec)
	dropped = t.Dropped
	keepTrace(history)
	for len(history) > keptFirst+keptLast {
		history = slices.Delete(history, keptFirst, keptFirst+1)
		dropped++
	}
	return history, dropped
}

// SincePreviousMS is how long after the record before it the i-th record of the
// task's history was made. ok is false for the first, and for the one behind those
// that are dropped.
func (t *Task) SincePreviousMS(i int) (ms int64, ok bool) {
	if i == 0 || i == keptFirst && t.Dropped > 0 {
		return 0, false
	}
	return t.History[i].TimeMS - t.History[i-1].TimeMS, true
}

// LastRecord returns the newest record of the task's history, nil when it has
// none.
func (t *Task) LastRecord() *AttemptRecord {
	if len(t.History) == 0 {
		return nil
	}
	return &t.History[len(t.History)-1]
}

// LastFailure returns the newest failure of the task's history, nil when it has
// none.
func (t *Task) LastFailure() *AttemptRecord {
	for i := len(t.History) - 1; i >= 0; i-- {
		if !t.History[i].Success {
			return &t.History[i]
		}
	}
	return nil
}

// inTurn is the number of the attempt that a report may speak of next. That of a
// HELD or DEAD task may have failed already, also where a deadline has ended the
// hold since.
func (t *Task) inTurn() int {
	if t.State == StateHeld || t.State == StateDead {
		if last := t.LastRecord(); last != nil && !last.Success && last.Attempt == t.Attempt {
			return t.Attempt + 1
		}
	}
	return t.Attempt
}

// parkedByReport says whether a HELD or DEAD task came to be so by the report
// of its last attempt, and not by a deadline or by expired leases.
func (t *Task) parkedByReport() bool {
	last := t.LastRecord()
	if last == nil || last.Success || last.Attempt != t.Attempt {
		return false
	}
	if t.State == StateHeld {
		return last.Decision.Action == policy.ActionHold
	}
	return last.Decision.Action == policy.ActionDeadLetter
}

// Queue returns the key of the queue that the task is in.
func (t *Task) Queue() QueueKey { return QueueKey{t.Key.Namespace, t.Spec.Queue} }

// LookMS is the task's place in its queue's index of what is due: the moment
// when it must next be looked at, which is its due time while SCHEDULED and its
// lease's end while LEASED. ok is false in every other state.
func (t *Task) LookMS() (ms int64, ok bool) {
	switch t.State {
	case StateScheduled:
		return t.DueMS, true
	case StateLeased:
		return t.LeaseEndMS, true
	}
	return 0, false
}

// EndingMS is the task's place in the index of what ends by itself: the
// deadline of a task under way, or the end of a dead letter's retention. ok is
// false for tasks that have neither. Ended tasks are not in it: the store drops
// them at ExpireMS.
func (t *Task) EndingMS() (ms int64, ok bool) {
	if t.State == StateDead {
		return t.ExpireMS, true
	}
	ms = t.deadlineMS()
	return ms, ms > 0 && t.State.Live()
}

// deadlineMS is the deadline that binds the task now, 0 when none does: a replay
// is a person's wish and has none.
func (t *Task) deadlineMS() int64 {
	if t.Generation > 1 {
		return 0
	}
	return t.Spec.DeadlineMS
}

// Lease returns the locator and fence of the task's newest lease.
func (t *Task) Lease(shards int) LeaseToken {
	return LeaseToken{Shard: ShardOf(t.Key, shards), Key: t.Key, Fence: t.Fence}
}
