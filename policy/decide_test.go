package policy_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

// outcome is what most rows want of a decision.
type outcome struct {
	action policy.Action
	reason policy.Reason
	delay  int64
	left   int
}

func retry(delay int64, left int) outcome {
	return outcome{policy.ActionRetry, policy.ReasonRetryScheduled, delay, left}
}

func dead(r policy.Reason) outcome { return outcome{policy.ActionDeadLetter, r, 0, 0} }

func outcomeOf(d policy.Decision) outcome {
	return outcome{d.Action, d.Reason, d.DelayMS, d.RetriesLeft}
}

func TestDecideSteps(t *testing.T) {
	t.Parallel()
	base := retrying(3, fixed(time.Minute))
	with := func(change func(*policy.Policy)) policy.Policy {
		p := base
		change(&p)
		return p
	}
	busy := policy.Match{Outcomes: []string{"busy"}}
	busyFailure := policy.Failure{Cause: policy.CauseOutcome, Outcome: "busy"}
	permanent := busyFailure
	permanent.Permanent = true
	hold := with(func(p *policy.Policy) {
		p.Rules = []policy.Rule{{Name: "h", Match: busy, Action: policy.ActionHold, HoldCondition: "c/1"}}
	})
	limited := with(func(p *policy.Policy) {
		p.Rules = []policy.Rule{{Name: "r", Match: busy, Action: policy.ActionRetry, MaxRetries: 2}}
	})
	used := func(st policy.State, n int) policy.State {
		st.RuleRetries = []policy.RuleRetries{{Rule: policy.RuleHash("r"), Count: n}}
		return st
	}
	elapsed := with(func(p *policy.Policy) { p.MaxElapsed = 5 * time.Minute })
	since := func(st policy.State, first int64) policy.State {
		st.FirstFailureMS = first
		return st
	}
	until := func(st policy.State, deadline int64) policy.State {
		st.DeadlineMS = deadline
		return st
	}
	replayed := func(st policy.State, first int) policy.State {
		st.Generation, st.FirstAttempt = 2, first
		return st
	}

	tests := []struct {
		name    string
		policy  policy.Policy
		state   policy.State
		failure policy.Failure
		want    outcome
	}{
		{"1: permanent comes before a hold", hold, failed(1), permanent, dead(policy.ReasonNonRetryable)},
		{"1: permanent comes before used up retries", base, failed(9), permanent, dead(policy.ReasonNonRetryable)},
		{"2: no rule, default RETRY", base, failed(1), busyFailure, retry(minute, 2)},
		{
			"2: no rule, default DEAD_LETTER", with(func(p *policy.Policy) { p.DefaultAction = policy.ActionDeadLetter }),
			failed(1), busyFailure, dead(policy.ReasonNonRetryable),
		},
		{"2: the first rule that matches", with(func(p *policy.Policy) {
			p.Rules = []policy.Rule{
				{Match: policy.Match{Timeout: true}, Action: policy.ActionHold, HoldCondition: "x"},
				{Match: busy, Action: policy.ActionDeadLetter},
				{Match: busy, Action: policy.ActionRetry},
			}
		}), failed(1), busyFailure, dead(policy.ReasonNonRetryable)},
		{"3: hold", hold, failed(1), busyFailure, outcome{policy.ActionHold, policy.ReasonHeld, 0, 3}},
		{"3: hold counts what is left", hold, failed(3), busyFailure, outcome{policy.ActionHold, policy.ReasonHeld, 0, 1}},
		{"3: hold comes before used up retries", hold, failed(9), busyFailure, outcome{policy.ActionHold, policy.ReasonHeld, 0, 0}},
		{
			"3: dead letter comes before used up retries", with(func(p *policy.Policy) { p.DefaultAction = policy.ActionDeadLetter }),
			failed(9), busyFailure, dead(policy.ReasonNonRetryable),
		},
		{"4: the last retry", base, failed(3), busyFailure, retry(minute, 0)},
		{"4: none left", base, failed(4), busyFailure, dead(policy.ReasonRetriesExhausted)},
		{"4: a replay starts afresh", base, replayed(failed(5), 5), busyFailure, retry(minute, 2)},
		{"4: a replay's retries", base, replayed(failed(8), 5), busyFailure, dead(policy.ReasonRetriesExhausted)},
		{"4: max_retries 0 is never", with(func(p *policy.Policy) { p.MaxRetries = 0 }), failed(1), busyFailure, dead(policy.ReasonRetriesExhausted)},
		{"4: no schedule", retrying(0, policy.Schedule{}), failed(1), busyFailure, dead(policy.ReasonRetriesExhausted)},
		{"4: the rule's last retry", limited, used(failed(2), 1), busyFailure, retry(minute, 1)},
		{"4: none left under the rule", limited, used(failed(3), 2), busyFailure, dead(policy.ReasonRuleRetriesExhausted)},
		{"4: the policy's limit comes before the rule's", limited, used(failed(4), 2), busyFailure, dead(policy.ReasonRetriesExhausted)},
		{"4: another rule's count", limited, used(failed(3), 2), status(500), retry(minute, 0)},
		{"4: delays and 0: their number", retrying(0, delays(time.Second, 0)), failed(2), busyFailure, retry(0, 0)},
		{"4: delays and 0: no more", retrying(0, delays(time.Second, 0)), failed(3), busyFailure, dead(policy.ReasonRetriesExhausted)},
		{"4: delays and fewer retries", retrying(1, delays(time.Second, 0)), failed(2), busyFailure, dead(policy.ReasonRetriesExhausted)},
		{"9: max_elapsed to the millisecond", elapsed, since(failed(2), noonMS-4*minute), busyFailure, retry(minute, 1)},
		{"9: past max_elapsed", elapsed, since(failed(2), noonMS-4*minute-1), busyFailure, dead(policy.ReasonMaxElapsed)},
		{"9: max_elapsed from this failure", with(func(p *policy.Policy) { p.MaxElapsed = 59 * time.Second }), failed(1), busyFailure, dead(policy.ReasonMaxElapsed)},
		{"9: deadline to the millisecond", base, until(failed(1), noonMS+minute), busyFailure, retry(minute, 2)},
		{"9: past the deadline", base, until(failed(1), noonMS+minute-1), busyFailure, dead(policy.ReasonDeadline)},
		{"9: max_elapsed comes before the deadline", elapsed, until(since(failed(1), noonMS-hour), noonMS), busyFailure, dead(policy.ReasonMaxElapsed)},
		{"9: either bound alone is enough", elapsed, until(since(failed(1), noonMS), noonMS), busyFailure, dead(policy.ReasonDeadline)},
		{"9: the deadline binds generation 1 only", base, until(replayed(failed(5), 5), noonMS), busyFailure, retry(minute, 2)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := policy.Decide(compile(t, tt.policy), tt.state, tt.failure, noonMS)
			if got := outcomeOf(d); got != tt.want {
				t.Errorf("got %+v, want %+v\n%q", got, tt.want, policy.Explain(d.Steps))
			}
			if d.Attempt != tt.state.Attempt {
				t.Errorf("attempt %d, want %d", d.Attempt, tt.state.Attempt)
			}
			if d.Action == policy.ActionRetry {
				if d.NextAttempt != d.Attempt+1 || d.NextMS != noonMS+d.DelayMS {
					t.Errorf("next attempt %d at %s", d.NextAttempt, utc(d.NextMS))
				}
			} else if d.NextAttempt != 0 || d.NextMS != 0 {
				t.Errorf("a task that is not retried has attempt %d at %d", d.NextAttempt, d.NextMS)
			}
			if (d.HoldCondition == "c/1") != (d.Action == policy.ActionHold) {
				t.Errorf("hold condition %q", d.HoldCondition)
			}
		})
	}
}

func TestDecideNamesTheRule(t *testing.T) {
	t.Parallel()
	p := retrying(3, fixed(time.Second))
	p.Rules = []policy.Rule{
		{Name: "first", Match: policy.Match{Statuses: []string{"500"}}, Action: policy.ActionRetry},
		{Match: policy.Match{Statuses: []string{"502"}}, Action: policy.ActionDeadLetter},
	}
	c := compile(t, p)
	for code, want := range map[int]string{500: "first", 502: "", 503: ""} {
		if d := policy.Decide(c, failed(1), status(code), noonMS); d.Rule != want {
			t.Errorf("%d: rule %q, want %q", code, d.Rule, want)
		}
	}
}

func TestDecideBaseDelay(t *testing.T) {
	t.Parallel()
	doubled := func(p policy.Policy, m float64) policy.Policy {
		p.Rules = []policy.Rule{{Match: policy.Match{Statuses: []string{"5xx"}}, Action: policy.ActionRetry, DelayMultiplier: m}}
		return p
	}
	century := int64(policy.MaxDuration / time.Millisecond)
	tests := []struct {
		name    string
		policy  policy.Policy
		attempt int
		want    int64
	}{
		{"fixed, retry 1", retrying(9, fixed(time.Second)), 1, second},
		{"fixed, retry 9", retrying(9, fixed(time.Second)), 9, second},
		{"fixed is rounded up", retrying(9, fixed(1500001)), 1, 2},
		{"exponential, retry 1", retrying(9, exponential(time.Second, 3, 0)), 1, second},
		{"exponential, retry 4", retrying(9, exponential(time.Second, 3, 0)), 4, 27 * second},
		{"exponential, the multiplier's default", retrying(9, exponential(time.Second, 0, 0)), 4, 8 * second},
		{"exponential with 1 stays the same", retrying(9, exponential(time.Second, 1, 0)), 9, second},
		{"exponential, a fraction is rounded up", retrying(9, exponential(100*time.Millisecond, 1.5, 0)), 4, 338},
		{"exponential, noise is not", retrying(9, exponential(100*time.Millisecond, 1.1, 0)), 3, 121},
		{"exponential, the cap itself", retrying(9, exponential(time.Second, 2, 8*time.Second)), 4, 8 * second},
		{"exponential, cut to the cap", retrying(9, exponential(time.Second, 2, 7*time.Second)), 4, 7 * second},
		{"exponential saturates", retrying(1000, exponential(time.Hour, 1e300, 0)), 1000, century},
		{"exponential saturates at the cap", retrying(1000, exponential(time.Hour, 10, 24*time.Hour)), 1000, day},
		{"delays, the first", retrying(0, delays(time.Second, time.Minute)), 1, second},
		{"delays, the second", retrying(0, delays(time.Second, time.Minute)), 2, minute},
		{"the rule's multiplier on fixed", doubled(retrying(9, fixed(time.Second)), 2.5), 1, 2500},
		{"the rule's multiplier on delays", doubled(retrying(0, delays(time.Second, time.Minute)), 2), 2, 2 * minute},
		{"the rule's multiplier on zero", doubled(retrying(0, delays(0)), 1e300), 1, 0},
		{"the rule's multiplier comes before the cap", doubled(retrying(9, exponential(time.Second, 2, 7*time.Second)), 4), 2, 7 * second},
		{"the rule's multiplier below 1", doubled(retrying(9, exponential(time.Second, 2, 7*time.Second)), 0.5), 4, 4 * second},
		{"the rule's multiplier, rounded up once", doubled(retrying(9, exponential(100*time.Millisecond, 1.5, 0)), 2), 4, 675},
		{"a tiny multiplier leaves a millisecond", doubled(retrying(9, fixed(time.Second)), 1e-300), 1, 1},
		{"just past a century saturates", doubled(retrying(9, fixed(time.Second)), 1e10), 1, century},
		{"exponential, just past a century", retrying(99, exponential(time.Second, 2, 0)), 33, century},
		{"exponential, just cut to the cap", retrying(9, exponential(time.Second, 2, 7999*time.Millisecond)), 4, 7999},
		{"a tenth of a millisecond is rounded up", doubled(retrying(9, fixed(10*time.Second)), 1.00001), 1, 10001},
		{"a huge multiplier saturates", doubled(retrying(9, fixed(time.Second)), 1e300), 1, century},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := policy.Decide(compile(t, tt.policy), failed(tt.attempt), status(500), noonMS)
			if d.DelayMS != tt.want || d.LastDelayMS != tt.want {
				t.Errorf("delay %d, last delay %d, want %d\n%q", d.DelayMS, d.LastDelayMS, tt.want, policy.Explain(d.Steps))
			}
		})
	}
}

func TestDecideDates(t *testing.T) {
	t.Parallel()
	list := dates(t, "2026-01-01T12:00:00Z", "2026-01-02T12:00:00Z", "2026-01-03T12:00:00Z")
	withLast := func(n int, last string) policy.State {
		st := failed(n)
		st.LastDateMS = ms(t, last)
		return st
	}
	jittered := retrying(0, list)
	jittered.Jitter = policy.Jitter{Kind: policy.JitterFull}
	stretched := retrying(0, list)
	stretched.Rules = []policy.Rule{{Match: policy.Match{Statuses: []string{"5xx"}}, Action: policy.ActionRetry, DelayMultiplier: 3}}
	ignoring := retrying(0, list)
	ignoring.RetryAfter.Mode = policy.RetryAfterIgnore
	windowed := retrying(0, list)
	windowed.PauseWindows = []policy.PauseWindow{{
		StartTime: time.UnixMilli(noonMS - hour), EndTime: time.UnixMilli(noonMS + 25*hour),
	}}
	hold := retrying(0, list)
	hold.Rules = []policy.Rule{{Match: policy.Match{Statuses: []string{"5xx"}}, Action: policy.ActionHold, HoldCondition: "c"}}

	tests := []struct {
		name    string
		policy  policy.Policy
		state   policy.State
		failure policy.Failure
		now     string
		want    string // the next attempt; empty for none
		left    int
	}{
		{"the first after now", retrying(0, list), failed(1), status(500), "2026-01-01T11:59:59.999Z", "2026-01-01T12:00:00Z", 2},
		{"not one that is now", retrying(0, list), failed(1), status(500), "2026-01-01T12:00:00Z", "2026-01-02T12:00:00Z", 1},
		{"not one used already", retrying(0, list), withLast(2, "2026-01-02T12:00:00Z"), status(500), "2026-01-01T00:00:00Z", "2026-01-03T12:00:00Z", 0},
		{"a last date that the policy no longer lists", retrying(0, list), withLast(2, "2026-01-02T18:00:00Z"), status(500), "2026-01-01T00:00:00Z", "2026-01-03T12:00:00Z", 0},
		{"none left", retrying(0, list), failed(1), status(500), "2026-01-03T12:00:00Z", "", 0},
		{"0 sets no limit", retrying(0, list), failed(900), status(500), "2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z", 2},
		{"a limit of their number", retrying(2, list), failed(1), status(500), "2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z", 1},
		{"fewer dates left than retries", retrying(3, list), failed(1), status(500), "2026-01-02T00:00:00Z", "2026-01-02T12:00:00Z", 1},
		{"no jitter", jittered, failed(1), status(500), "2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z", 2},
		{"no multiplier", stretched, failed(1), status(500), "2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z", 2},
		{"the first not before the hint", retrying(0, list), failed(1), retryAfter("86400"), "2026-01-01T00:00:00Z", "2026-01-02T12:00:00Z", 1},
		{"a date at the hint", retrying(0, list), failed(1), retryAfter("43200"), "2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z", 2},
		{"a date just before the hint", retrying(0, list), failed(1), retryAfter("43201"), "2026-01-01T00:00:00Z", "2026-01-02T12:00:00Z", 1},
		{"a hint beyond its cap", retrying(0, list), failed(1), retryAfter("999999999"), "2026-01-01T00:00:00Z", "2026-01-02T12:00:00Z", 1},
		{"a hint beyond all dates", retrying(0, list), failed(1), retryAfter("86400"), "2026-01-03T00:00:00Z", "", 0},
		{"a hint ignored", ignoring, failed(1), retryAfter("86400"), "2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z", 2},
		{"a window reaches over the next date", windowed, failed(1), status(500), "2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z", 1},
		{"held", hold, failed(1), status(500), "2026-01-02T00:00:00Z", "", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := policy.Decide(compile(t, tt.policy), tt.state, tt.failure, ms(t, tt.now))
			if d.RetriesLeft != tt.left {
				t.Errorf("%d retries left, want %d", d.RetriesLeft, tt.left)
			}
			if tt.want == "" {
				if d.Action == policy.ActionRetry || d.LastDateMS != tt.state.LastDateMS {
					t.Errorf("got %v at %s, last date %d", d.Action, utc(d.NextMS), d.LastDateMS)
				}
				if d.Action == policy.ActionDeadLetter && d.Reason != policy.ReasonNoMoreDates {
					t.Errorf("reason %v", d.Reason)
				}
				return
			}
			if d.LastDateMS != ms(t, tt.want) || d.NextMS != d.LastDateMS && tt.policy.PauseWindows == nil {
				t.Errorf("got %v at %s (last date %s), want %s", d.Reason, utc(d.NextMS), utc(d.LastDateMS), tt.want)
			}
			if d.LastDelayMS != tt.state.LastDelayMS {
				t.Errorf("dates changed the last delay to %d", d.LastDelayMS)
			}
		})
	}
}

func TestDecideCarriesStateOn(t *testing.T) {
	t.Parallel()
	p := retrying(9, exponential(time.Second, 2, 0))
	p.Rules = []policy.Rule{
		{Name: "r", Match: policy.Match{Statuses: []string{"500"}}, Action: policy.ActionRetry, MaxRetries: 3},
		{Name: "plain", Match: policy.Match{Statuses: []string{"501"}}, Action: policy.ActionRetry},
		{Name: "h", Match: policy.Match{Statuses: []string{"502"}}, Action: policy.ActionHold, HoldCondition: "c"},
	}
	c := compile(t, p)
	st := failed(2)
	st.RuleRetries = []policy.RuleRetries{{Rule: policy.RuleHash("r"), Count: 1}}
	st.LastDelayMS, st.LastDateMS = 77, 88

	tests := []struct {
		name      string
		failure   policy.Failure
		state     policy.State
		count     int
		lastDelay int64
	}{
		{"a retry under a limited rule", status(500), st, 2, 2 * second},
		{"a retry under another", status(501), st, 1, 2 * second},
		{"a hold", status(502), st, 1, 77},
		{"permanent", policy.Failure{Permanent: true}, st, 1, 77},
	}
	for _, tt := range tests {
		d := policy.Decide(c, tt.state, tt.failure, noonMS)
		if len(d.RuleRetries) != 1 || d.RuleRetries[0].Count != tt.count || d.LastDelayMS != tt.lastDelay || d.LastDateMS != 88 {
			t.Errorf("%s: %+v, last delay %d, last date %d", tt.name, d.RuleRetries, d.LastDelayMS, d.LastDateMS)
		}
	}
	if st.RuleRetries[0].Count != 1 {
		t.Error("Decide wrote to the state's counts")
	}
}

func TestDecideCountsRules(t *testing.T) {
	t.Parallel()
	p := retrying(9, fixed(time.Second))
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		p.Rules = append(p.Rules, policy.Rule{
			Name: name, Match: policy.Match{Codes: []string{name}}, Action: policy.ActionRetry, MaxRetries: 5,
		})
	}
	c := compile(t, p)
	st := failed(1)
	// The slots are full: one is of a rule that an edit took the limit from.
	for _, name := range []string{"a", "b", "c", "gone", "d", "e", "f", "g"} {
		st.RuleRetries = append(st.RuleRetries, policy.RuleRetries{Rule: policy.RuleHash(name), Count: 1})
	}
	fail := policy.Failure{Cause: policy.CauseTimeout, Code: "h"}
	d := policy.Decide(c, st, fail, noonMS)
	want := []policy.RuleRetries{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		want = append(want, policy.RuleRetries{Rule: policy.RuleHash(name), Count: 1})
	}
	if !slices.Equal(d.RuleRetries, want) {
		t.Errorf("got %v, want %v", d.RuleRetries, want)
	}
	// A count that is there already stays with its slot, and the others too.
	fail.Code = "b"
	d = policy.Decide(c, st, fail, noonMS)
	if d.RuleRetries[1].Count != 2 || len(d.RuleRetries) != policy.MaxRuleRetries {
		t.Errorf("got %v", d.RuleRetries)
	}
}

func TestDecideIsTotal(t *testing.T) {
	t.Parallel()
	d := policy.Decide(nil, failed(1), status(500), noonMS)
	if d.Action != policy.ActionDeadLetter || d.Reason != policy.ReasonNoPolicy {
		t.Errorf("nil policy: %v %v", d.Action, d.Reason)
	}
	if got := policy.Explain(d.Steps); len(got) != 1 || !strings.Contains(got[0], "no policy") {
		t.Errorf("nil policy: %q", got)
	}
	d = policy.Decide(&policy.Compiled{}, failed(1), status(500), noonMS)
	if d.Action != policy.ActionDeadLetter {
		t.Errorf("zero policy: %v", d.Action)
	}
	// What no Validate lets through.
	d = policy.Decide(policy.Compile(retrying(9, delays(0, 0))), failed(3), status(500), noonMS)
	if d.Reason != policy.ReasonRetriesExhausted {
		t.Errorf("more retries than delays: %v", d.Reason)
	}
	odd := retrying(9, fixed(time.Second))
	odd.Jitter = policy.Jitter{Kind: policy.JitterProportional, Proportion: 5}
	if d = policy.Decide(policy.Compile(odd), failed(3), status(500), noonMS); d.DelayMS != second {
		t.Errorf("proportion 5: delay %v", dur(d.DelayMS))
	}
	c := compile(t, retrying(1000, fixed(policy.MaxDuration)))
	d = policy.Decide(c, policy.State{}, policy.Failure{}, math.MaxInt64)
	if d.Action != policy.ActionRetry || d.DelayMS != 0 || utc(d.NextMS) != "9999-12-31T23:59:59.999Z" || d.NextAttempt != 1 {
		t.Errorf("at the end of time: %+v", d)
	}
	d = policy.Decide(c, failed(1), policy.Failure{}, math.MinInt64)
	// 36,525 days are a day more than a century without a leap year at its end.
	if utc(d.NextMS) != "0101-01-02T00:00:00Z" {
		t.Errorf("at the beginning of time: %s", utc(d.NextMS))
	}
}

// RetriesLeft says of an attempt what a Decision says of the one that it schedules.
func TestRetriesLeft(t *testing.T) {
	t.Parallel()
	campaign := retrying(0, dates(t, "2026-01-01T13:00:00Z", "2026-01-02T13:00:00Z", "2026-01-03T13:00:00Z"))
	bounded := campaign
	bounded.MaxRetries = 2
	capped := retrying(2, delays(0, 0, 0))
	for _, c := range []struct {
		name   string
		policy policy.Policy
		state  policy.State
		at     string
		want   int
	}{
		{"of a fresh generation", retrying(3, fixed(time.Minute)), policy.State{}, "2026-01-01T12:00:00Z", 3},
		{"of a later generation", retrying(3, fixed(time.Minute)), policy.State{Generation: 2, Attempt: 7, FirstAttempt: 7}, "2026-01-01T12:00:00Z", 3},
		{"after one retry", retrying(3, fixed(time.Minute)), policy.State{Attempt: 2, FirstAttempt: 1}, "2026-01-01T12:00:00Z", 2},
		{"after the last", retrying(3, fixed(time.Minute)), policy.State{Attempt: 4, FirstAttempt: 1}, "2026-01-01T12:00:00Z", 0},
		{"beyond the last", retrying(3, fixed(time.Minute)), policy.State{Attempt: 9, FirstAttempt: 1}, "2026-01-01T12:00:00Z", 0},
		{"never", retrying(0, policy.Schedule{}), policy.State{}, "2026-01-01T12:00:00Z", 0},
		{"as many as are listed", retrying(0, delays(0, 0, 0)), policy.State{}, "2026-01-01T12:00:00Z", 3},
		{"fewer than are listed", capped, policy.State{}, "2026-01-01T12:00:00Z", 2},
		{"all dates", campaign, policy.State{}, "2026-01-01T12:00:00Z", 3},
		{"the dates after it", campaign, policy.State{}, "2026-01-02T12:00:00Z", 2},
		{"a date is not after itself", campaign, policy.State{}, "2026-01-02T13:00:00Z", 1},
		{"a date that was used", campaign, policy.State{Attempt: 2, FirstAttempt: 1, LastDateMS: ms(t, "2026-01-02T13:00:00Z")}, "2026-01-01T12:00:00Z", 1},
		{"no date", campaign, policy.State{}, "2026-01-04T12:00:00Z", 0},
		{"fewer than there are dates", bounded, policy.State{}, "2026-01-01T12:00:00Z", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := policy.Compile(c.policy).RetriesLeft(c.state, ms(t, c.at)); got != c.want {
				t.Errorf("%d retries left, want %d", got, c.want)
			}
		})
	}
	if got := (*policy.Compiled)(nil).RetriesLeft(policy.State{}, noonMS); got != 0 {
		t.Errorf("%d retries left without a policy", got)
	}
}
