package client

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Action is what becomes of a task after a failure.
type Action string

// The actions.
const (
	// ActionRetry schedules the next attempt.
	ActionRetry Action = "RETRY"
	// ActionDeadLetter ends the task without success; it waits for a person.
	ActionDeadLetter Action = "DEAD_LETTER"
	// ActionHold parks the task until a named condition is released.
	ActionHold Action = "HOLD"
)

// Reason says why a decision came out as it did.
type Reason string

// The reasons.
const (
	ReasonRetryScheduled       Reason = "RETRY_SCHEDULED"
	ReasonHeld                 Reason = "HELD"
	ReasonNonRetryable         Reason = "NON_RETRYABLE"
	ReasonRetriesExhausted     Reason = "RETRIES_EXHAUSTED"
	ReasonRuleRetriesExhausted Reason = "RULE_RETRIES_EXHAUSTED"
	ReasonMaxElapsed           Reason = "MAX_ELAPSED"
	ReasonDeadline             Reason = "DEADLINE"
	ReasonNoMoreDates          Reason = "NO_MORE_DATES"
	ReasonNoPolicy             Reason = "NO_POLICY"
	ReasonLeasesExpired        Reason = "LEASES_EXPIRED"
)

// Decision says what becomes of a task after a failure, and why.
type Decision struct {
	// TaskID is the id of the task, derived when the report left it out.
	TaskID string
	// Duplicate means that this report had been taken before, or was not
	// counted. The decision is then the one made at that time.
	Duplicate bool

	Action Action
	Reason Reason
	// Attempt is the number of the attempt that failed, from 1.
	Attempt int
	// NextAttempt is the number of the attempt to come, and NextAttemptTime when
	// it falls due, Delay after the decision. They are zero unless Action is
	// ActionRetry.
	NextAttempt     int
	NextAttemptTime time.Time
	Delay           time.Duration
	// RetriesLeft is how many further retries the policy allows after that one.
	RetriesLeft int
	// Policy and PolicyRevision are what decided. Empty and 0 without a policy.
	Policy         string
	PolicyRevision int64
	// Rule is the name of the rule that matched. Empty when none did.
	Rule string
	// HoldCondition is what a held task waits for. Empty for others.
	HoldCondition string
	// Explanation tells each step that shaped the decision, for people.
	Explanation []string
}

// String is the decision in a line, such as "attempt 3 in 4s" or
// "dead letter: RETRIES_EXHAUSTED".
func (d *Decision) String() string {
	switch d.Action {
	case ActionRetry:
		return fmt.Sprintf("attempt %d in %s", d.NextAttempt, d.Delay)
	case ActionDeadLetter:
		return "dead letter: " + string(d.Reason)
	case ActionHold:
		return "held until " + d.HoldCondition
	default:
		return string(d.Action)
	}
}

// Completion says that a task has succeeded.
type Completion struct {
	// TaskID is the id of the task, derived when the report left it out.
	TaskID string
	// Attempts is how many it took, the successful one included.
	Attempts int
	// Duplicate means that the success had been reported before.
	Duplicate bool
}

func decisionOf(d *retryv1.Decision) *Decision {
	if d == nil {
		return nil
	}
	return &Decision{
		Action:          Action(enumName(d.GetAction(), "ACTION_")),
		Reason:          Reason(enumName(d.GetReason(), "REASON_")),
		Attempt:         int(d.GetAttempt()),
		NextAttempt:     int(d.GetNextAttempt()),
		NextAttemptTime: timeOf(d.GetNextAttemptTime()),
		Delay:           d.GetDelay().AsDuration(),
		RetriesLeft:     int(d.GetRetriesLeft()),
		Policy:          d.GetPolicy(),
		PolicyRevision:  d.GetPolicyRevision(),
		Rule:            d.GetRule(),
		HoldCondition:   d.GetHoldCondition(),
		Explanation:     d.GetExplanation(),
	}
}

func reportedFailure(r *retryv1.ReportFailureResponse) *Decision {
	d := decisionOf(r.GetDecision())
	if d == nil {
		d = &Decision{}
	}
	d.TaskID, d.Duplicate = r.GetTaskId(), r.GetDuplicate()
	return d
}

func reportedSuccess(r *retryv1.ReportSuccessResponse) *Completion {
	return &Completion{TaskID: r.GetTaskId(), Attempts: int(r.GetAttempts()), Duplicate: r.GetDuplicate()}
}

// enumName is the name of an enum's value without its prefix, and empty for the
// unspecified one. One that this version does not know is its number.
func enumName(v fmt.Stringer, prefix string) string {
	name := strings.TrimPrefix(v.String(), prefix)
	if name == "UNSPECIFIED" {
		return ""
	}
	return name
}

func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
