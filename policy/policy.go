package policy

import "time"

// Policy is what a user wrote: how failures are judged and when the next
// attempt is made. It is plain data; [Compile] makes it ready for [Decide].
// The zero value of a field means the default stated with it.
//
// No duration may be longer than [MaxDuration]. Decisions are made in whole
// milliseconds: a finer part of a duration or time is rounded up where it is
// used.
type Policy struct {
	// ID is [a-z0-9-]{1,63}, chosen by the user.
	ID string
	// DisplayName is 1 to 200 characters.
	DisplayName string
	// MaxRetries is 0 to 1000. 0 means never, but with Delays or Dates it means
	// as many as they list; there it is at most their number.
	MaxRetries int
	// Schedule gives the base delay of each retry. Needed when MaxRetries > 0.
	Schedule Schedule
	// Jitter spreads the delays; none by default.
	Jitter Jitter
	// MaxElapsed bounds the time from the generation's first failure to the next
	// attempt, which may be due exactly then. 0 means no bound.
	MaxElapsed time.Duration
	// Rules are tried in order; the first that matches gives the action. At most
	// 64, at most [MaxRuleRetries] of them with MaxRetries.
	Rules []Rule
	// DefaultAction is taken when no rule matches: ActionRetry or
	// ActionDeadLetter. It must be given.
	DefaultAction Action
	// RetryAfter says what a destination's hint is worth.
	RetryAfter RetryAfter
	// PauseWindows are spans of time in which no attempt is made. At most 32;
	// together they must leave some moment of the next 366 days free.
	PauseWindows []PauseWindow
	// MaxLeaseExpiries is how many expired leases of one attempt make it a dead
	// letter. Default 5.
	MaxLeaseExpiries int
	// Retention is how long an ended task is remembered. Default 24 h, at least
	// 1 min.
	Retention time.Duration
	// DeadLetterRetention is how long a dead letter waits for a person. Default
	// 30 days.
	DeadLetterRetention time.Duration
}

// MaxDuration is the longest duration that a policy may hold, 100 years of
// 365.25 days. Delays that grow past it stop there.
const MaxDuration = 36525 * 24 * time.Hour

// Schedule is at most one of four ways to space retries.
type Schedule struct {
	Fixed       *FixedDelay
	Exponential *ExponentialDelay
	Delays      *DelayList
	Dates       *DateList
}

// FixedDelay waits the same time before every retry.
type FixedDelay struct {
	// Delay is at least 1 ms.
	Delay time.Duration
}

// ExponentialDelay waits InitialDelay * Multiplier^(n-1) before retry n.
type ExponentialDelay struct {
	// InitialDelay is at least 1 ms.
	InitialDelay time.Duration
	// Multiplier is finite and at least 1. Default 2.
	Multiplier float64
	// MaxDelay is at least InitialDelay; 0 means no cap.
	MaxDelay time.Duration
}

// DelayList waits the n-th delay before retry n.
type DelayList struct {
	// Delays are 1 to 1000, each 0 or more.
	Delays []time.Duration
}

// DateList makes each retry at the next listed time. A time that has passed is
// skipped.
type DateList struct {
	// Times are 1 to 1000, strictly ascending to the millisecond, in the years 1
	// to 9999.
	Times []time.Time
}

// JitterKind names a way to spread delays.
type JitterKind uint8

// The kinds of jitter. The zero value is no jitter.
const (
	JitterNone JitterKind = iota
	// JitterProportional draws from [d(1-r), d(1+r)], the upper end cut to the
	// schedule's MaxDelay before the draw.
	JitterProportional
	// JitterFull draws from [0, d].
	JitterFull
	// JitterEqual draws from [d/2, d].
	JitterEqual
	// JitterDecorrelated draws from [initial delay, 3 * last delay] and cuts the
	// result to MaxDelay; exponential schedules only. It has no use for the
	// exponential's multiplier, nor for a rule's.
	JitterDecorrelated
)

// Jitter spreads delays so that tasks that failed together do not come back
// together.
type Jitter struct {
	Kind JitterKind
	// Proportion is r of JitterProportional, 0 to 1; 0 for the other kinds.
	Proportion float64
}

// Action is what a decision does with the task.
type Action uint8

// The actions. The zero value is none, which no decision has.
const (
	ActionUnspecified Action = iota
	// ActionRetry schedules the next attempt.
	ActionRetry
	// ActionDeadLetter ends the task without success, for a person to look at.
	ActionDeadLetter
	// ActionHold parks the task until its condition is released.
	ActionHold
)

// Rule gives an action to the failures that it matches.
type Rule struct {
	// Name is unique within the policy and at most 255 bytes; needed with
	// MaxRetries.
	Name string
	// Match says which failures the rule is for.
	Match Match
	// Action must be given.
	Action Action
	// DelayMultiplier stretches the base delay, not dates. Default 1; finite and
	// above 0.
	DelayMultiplier float64
	// MaxRetries limits the retries made under this rule's name, 0 to 1000; 0
	// means the policy's limit alone.
	MaxRetries int
	// HoldCondition names what the task waits for, [A-Za-z0-9._:/-]{1,100};
	// needed with ActionHold, and allowed only there.
	HoldCondition string
}

// Match lists failures; every listed field is an alternative, and an empty
// Match matches nothing. An Except list subtracts from its own list only. No
// list has more than 1000 entries.
type Match struct {
	// Statuses are HTTP statuses ("429") and classes ("5xx", in any case).
	Statuses       []string
	StatusesExcept []string
	Timeout        bool
	// ConnectionError matches every kind of connection failure.
	ConnectionError bool
	ConnectionKinds []ConnectionKind
	// GRPCCodes are names of gRPC status codes, such as "UNAVAILABLE".
	GRPCCodes []string
	// Codes are the provider's own codes: exact ("20429"), a decimal range with
	// both ends in it ("30003-30007") or a prefix ("sms/*"). Case-sensitive.
	Codes       []string
	CodesExcept []string
	// Outcomes are matched exactly. Case-sensitive.
	Outcomes []string
}

// RetryAfterMode says how a Retry-After hint and the policy's delay combine.
type RetryAfterMode uint8

// The modes. The zero value is the default.
const (
	// RetryAfterMaxOf takes the later of the hint and the delay.
	RetryAfterMaxOf RetryAfterMode = iota
	// RetryAfterOverride takes the hint instead of the delay.
	RetryAfterOverride
	// RetryAfterIgnore takes the delay.
	RetryAfterIgnore
)

// RetryAfter says what a destination's Retry-After hint is worth.
type RetryAfter struct {
	Mode RetryAfterMode
	// Cap bounds the hint. Default 24 h.
	Cap time.Duration
}

// PauseWindow is a span of time in which no attempt is made: weekly, by local
// time, when Start and End are set; once, when StartTime and EndTime are. Its
// start is inside it, its end is not.
type PauseWindow struct {
	// Days are those on which a weekly window starts; none means every day.
	Days []time.Weekday
	// Start and End are local times "HH:MM"; End may be "24:00", and one not
	// after Start runs past midnight. A local time that a clock change skips is
	// the moment of the change; of one that it repeats, Start is the first and
	// End the second.
	Start, End string
	// TimeZone is an IANA name, for weekly windows; empty means the task's, else
	// UTC.
	TimeZone string
	// StartTime and EndTime bound a window that is open once.
	StartTime, EndTime time.Time
	// Spread is the width over which attempts are drawn after the window's end.
	// 0 means that all are made at its end.
	Spread time.Duration
}
