package policy_test

import (
	"fmt"
	"time"

	"github.com/retryd/retryd/policy"
)

// A worked schedule: the waits of a policy, and the range that each was drawn
// from.
func ExampleDecide() {
	p := policy.Policy{
		ID:          "webhooks",
		DisplayName: "Webhooks",
		MaxRetries:  6,
		Schedule: policy.Schedule{Exponential: &policy.ExponentialDelay{
			InitialDelay: time.Second,
			Multiplier:   2,
			MaxDelay:     10 * time.Second,
		}},
		Jitter:        policy.Jitter{Kind: policy.JitterProportional, Proportion: 0.2},
		DefaultAction: policy.ActionRetry,
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixMilli()
	if violations := p.Validate(now); violations != nil {
		fmt.Println(violations)
		return
	}
	c := policy.Compile(p)

	task := policy.State{Namespace: "default", TaskID: "order-42", Generation: 1, Attempt: 1, FirstAttempt: 1, FirstFailureMS: now}
	failure := policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 503}
	for {
		d := policy.Decide(c, task, failure, now)
		if d.Action != policy.ActionRetry {
			fmt.Printf("attempt %d failed: %v, %v\n", d.Attempt, d.Action, d.Reason)
			return
		}
		lo, hi := policy.Range(c, task, failure, now)
		fmt.Printf("attempt %d failed: wait %5d ms of %5d to %5d, retries left: %d\n", d.Attempt, d.DelayMS, lo-now, hi-now, d.RetriesLeft)

		task.Attempt, now = d.NextAttempt, d.NextMS
		task.RuleRetries, task.LastDelayMS, task.LastDateMS = d.RuleRetries, d.LastDelayMS, d.LastDateMS
	}
	// Output:
	// attempt 1 failed: wait   813 ms of   800 to  1200, retries left: 5
	// attempt 2 failed: wait  2162 ms of  1600 to  2400, retries left: 4
	// attempt 3 failed: wait  4754 ms of  3200 to  4800, retries left: 3
	// attempt 4 failed: wait  8666 ms of  6400 to  9600, retries left: 2
	// attempt 5 failed: wait  8607 ms of  8000 to 10000, retries left: 1
	// attempt 6 failed: wait  8304 ms of  8000 to 10000, retries left: 0
	// attempt 7 failed: DEAD_LETTER, RETRIES_EXHAUSTED
}

// Calls are made again after lunch, and not all at once.
func ExampleExplain() {
	c := policy.Compile(policy.Policy{
		ID:          "calls",
		DisplayName: "Calls",
		MaxRetries:  3,
		Schedule:    policy.Schedule{Fixed: &policy.FixedDelay{Delay: 30 * time.Minute}},
		Rules: []policy.Rule{{
			Name:   "not-reached",
			Match:  policy.Match{Outcomes: []string{"busy", "no_answer"}},
			Action: policy.ActionRetry,
		}},
		DefaultAction: policy.ActionDeadLetter,
		PauseWindows:  []policy.PauseWindow{{Start: "12:00", End: "13:00", Spread: 10 * time.Minute}},
	})
	task := policy.State{Namespace: "default", TaskID: "call-7", Generation: 1, Attempt: 1, FirstAttempt: 1, TimeZone: "Europe/Berlin"}
	failure := policy.Failure{Cause: policy.CauseOutcome, Outcome: "busy"}
	now := time.Date(2026, 1, 1, 10, 45, 0, 0, time.UTC)

	d := policy.Decide(c, task, failure, now.UnixMilli())
	for _, line := range policy.Explain(d.Steps) {
		fmt.Println(line)
	}
	// Output:
	// Rule 1, "not-reached", matched; its action is RETRY.
	// Retry 1: the fixed delay is 30 min.
	// 2026-01-01T11:15:00Z falls into pause window 1 (in Europe/Berlin) and moves to its end, 2026-01-01T12:00:00Z, plus 8 min 33.915 s drawn from a spread of 10 min.
	// Attempt 2 is due at 2026-01-01T12:08:33.915Z, 1 h 23 min 33.915 s after this failure.
}

// All that is wrong with a policy comes at once.
func ExamplePolicy_Validate() {
	p := policy.Policy{
		ID:          "Webhooks",
		DisplayName: "Webhooks",
		MaxRetries:  3,
		Rules: []policy.Rule{{
			Match:      policy.Match{Statuses: []string{"5xx", "6xx"}},
			Action:     policy.ActionRetry,
			MaxRetries: 1,
		}},
		PauseWindows: []policy.PauseWindow{{Start: "12:00", TimeZone: "Mars/Olympus"}},
	}
	for _, v := range p.Validate(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixMilli()) {
		fmt.Printf("%s %s\n", v.Field, v.Description)
	}
	// Output:
	// id is "Webhooks"; allowed: 1 to 63 of a-z, 0-9 and -
	// schedule is missing; with max_retries 3 one of fixed, exponential, delays and dates must be set
	// rules[0].name is empty; with max_retries 1 the rule needs a name
	// rules[0].match.statuses[1] is "6xx"; allowed: "100" to "599", and the classes "1xx" to "5xx"
	// default_action is UNSPECIFIED; allowed: RETRY or DEAD_LETTER
	// pause_windows[0].end is ""; allowed: "00:00" to "24:00"
	// pause_windows[0].time_zone is "Mars/Olympus"; allowed: the name of an IANA time zone, such as Europe/Berlin, or none for the task's
}
