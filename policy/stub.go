package policy

import "strconv"

// Compiled is a policy made ready for [Decide].
type Compiled struct{ p Policy }

// Normalize makes every default explicit.
func (p Policy) Normalize() Policy { return p }

// Validate gives all that is wrong with the policy.
func (p Policy) Validate(nowMS int64) []Violation { return nil }

// Compile prepares a valid policy for decisions.
func Compile(p Policy) *Compiled { return &Compiled{p: p} }

// Policy is the normalized policy.
func (c *Compiled) Policy() Policy { return c.p }

// Decide says what becomes of a task after a failure.
func Decide(c *Compiled, st State, f Failure, nowMS int64) Decision { return Decision{} }

// Range gives the span of what other draws could give.
func Range(c *Compiled, st State, f Failure, nowMS int64) (earliestMS, latestMS int64) { return 0, 0 }

// PausedUntil says whether a window is open now, and until when.
func (c *Compiled) PausedUntil(st State, nowMS int64) (untilMS int64, paused bool) { return 0, false }

// FreeWithinYear says whether the time zone leaves some moment free.
func (c *Compiled) FreeWithinYear(timeZone string, nowMS int64) bool { return true }

// Explain renders steps as plain English.
func Explain(steps []Step) []string { return nil }

// RuleHash identifies a rule by its name.
func RuleHash(name string) uint64 { return 0 }

// Validate gives all that is wrong with the failure.
func (f Failure) Validate() []Violation { return nil }

// String is the API's name.
func (r Reason) String() string { return strconv.Itoa(int(r)) }

// String is the API's name.
func (a Action) String() string { return strconv.Itoa(int(a)) }

// MaxDuration is the longest duration a policy may hold: 36,525 days.
const MaxDuration = 36525 * 24 * 60 * 60 * 1e9
