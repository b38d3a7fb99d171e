package policy

// Reason says why a decision came out as it did.
type Reason uint8

// The reasons. The zero value is none, which no decision has.
const (
	ReasonUnspecified Reason = iota
	ReasonRetryScheduled
	ReasonHeld
	ReasonNonRetryable
	ReasonRetriesExhausted
	ReasonRuleRetriesExhausted
	ReasonMaxElapsed
	ReasonDeadline
	ReasonNoMoreDates
	// ReasonNoPolicy and ReasonLeasesExpired are given by the scheduler, never by
	// Decide.
	ReasonNoPolicy
	ReasonLeasesExpired
)

// State is what a decision needs to know of the task. All times are Unix
// milliseconds.
type State struct {
	// Namespace and TaskID seed the draws, with Generation and Attempt.
	Namespace, TaskID string
	// Generation is 1, and one more with every replay.
	Generation int
	// Attempt is the one that failed, from 1; FirstAttempt is the generation's
	// first.
	Attempt, FirstAttempt int
	// FirstFailureMS is the generation's first failure; 0 means this one.
	FirstFailureMS int64
	// RuleRetries, LastDelayMS and LastDateMS are those of the generation's last
	// Decision; zero when there was none.
	RuleRetries []RuleRetries
	LastDelayMS int64
	LastDateMS  int64
	// DeadlineMS is the task's; 0 means none.
	DeadlineMS int64
	// TimeZone is the task's (IANA); it is that of windows that name none.
	TimeZone string
}

// RuleRetries counts the retries made under one rule's name. A task keeps at
// most [MaxRuleRetries] of them.
type RuleRetries struct {
	// Rule is [RuleHash] of the rule's name.
	Rule  uint64
	Count int
}

// MaxRuleRetries is how many rules of a policy may have a limit of their own.
const MaxRuleRetries = 8

// Decision is what becomes of a task after a failure.
type Decision struct {
	Action Action
	Reason Reason
	// Attempt is the one that failed.
	Attempt int
	// NextAttempt, NextMS (Unix milliseconds) and DelayMS are set with
	// ActionRetry only.
	NextAttempt int
	NextMS      int64
	DelayMS     int64
	// RetriesLeft is how many more retries the policy would allow after the one
	// scheduled here; 0 when the task is dead.
	RetriesLeft int
	// Rule is the name of the rule that matched, if any.
	Rule string
	// HoldCondition is set with ActionHold.
	HoldCondition string
	// Steps tell what shaped the decision, in order; see [Explain].
	Steps []Step

	// RuleRetries, LastDelayMS and LastDateMS are what the task's next State
	// carries on.
	RuleRetries []RuleRetries
	LastDelayMS int64
	LastDateMS  int64
}

// Violation is one thing wrong with a policy or a request.
type Violation struct {
	// Field is its path in the API's spelling, such as "rules[2].max_retries".
	Field string
	// Description gives the value and what is allowed.
	Description string
}

// Step is one step of a decision with its figures, kept in this form and
// rendered when read: figures never change, wording may.
type Step struct {
	Code StepCode
	// Args are the step's figures; what each is stands with the code.
	Args []int64
	// Text is the step's name, such as a rule's; empty with most codes.
	Text string
}

// StepCode names a kind of step. Codes are stored: they are never renumbered.
type StepCode uint8
