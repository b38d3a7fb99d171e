// Package policy is the decision core: what a retry policy is, and what becomes
// of a task after a failure.
//
// It owns [Policy] with its rules of validity, [Failure], and [Decide]. It is
// pure: no clock, no randomness of its own, no I/O, and it imports the standard
// library only - nothing of this module, no proto, no store. Who calls it gives
// it the time and the task's [State], and stores what the [Decision] says the
// next State carries on. Randomness is replaced by hashes of what a draw is for
// (draw.go), so that a decision evaluated twice, here or on another replica,
// comes out the same. The one thing read from outside are time zones, from the
// system's database or the one built in.
//
// A decision goes through ten steps; the first that ends it, ends it:
//
//	failure
//	   │
//	   ▼
//	 1 permanent? ──────────────── yes ──> DEAD_LETTER  NON_RETRYABLE
//	   │
//	   ▼
//	 2 first rule that matches, else the default action
//	   │
//	   ▼
//	 3 its action ──────────────── HOLD ─> HOLD         HELD
//	   │ RETRY     └───────── DEAD_LETTER> DEAD_LETTER  NON_RETRYABLE
//	   ▼
//	 4 retries used up? ────────── yes ──> DEAD_LETTER  RETRIES_EXHAUSTED,
//	   │                                                RULE_RETRIES_EXHAUSTED
//	   ▼
//	 5 base delay of retry n ───── none ─> DEAD_LETTER  NO_MORE_DATES
//	   │ fixed, exponential, listed delay or date;
//	   │ times the rule's multiplier, cut to max_delay
//	   ▼
//	 6 jitter: a draw around the delay
//	   │
//	   ▼
//	 7 Retry-After: the later of both, or instead; never undercut
//	   │
//	   ▼
//	 8 out of all pause windows: their end, plus a draw from their spread
//	   │
//	   ▼
//	 9 too late? ───────────────── yes ──> DEAD_LETTER  MAX_ELAPSED, DEADLINE
//	   │
//	   ▼
//	10 RETRY  RETRY_SCHEDULED
//
// Each step that shapes the outcome leaves a [Step] with its figures; [Explain]
// puts them into words. [Range] gives what other draws of the same step could
// have led to, and [Compiled.PausedUntil] judges once more at hand-out, since an
// attempt may be late, or a window newer than its schedule.
//
// All moments are Unix milliseconds in UTC; local time exists in pause windows
// only. Delays are whole milliseconds, rounded up.
package policy
