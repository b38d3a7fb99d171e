package policy_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

// TestExplain takes tasks through all kinds of decisions and reads what is said
// of them.
func TestExplain(t *testing.T) {
	t.Parallel()
	jitter := func(p policy.Policy, kind policy.JitterKind, r float64) policy.Policy {
		p.Jitter = policy.Jitter{Kind: kind, Proportion: r}
		return p
	}
	mode := func(p policy.Policy, m policy.RetryAfterMode) policy.Policy {
		p.RetryAfter.Mode = m
		return p
	}
	ruled := func(p policy.Policy, r policy.Rule) policy.Policy {
		r.Match = policy.Match{Statuses: []string{"503"}}
		p.Rules = []policy.Rule{r}
		return p
	}
	windowed := func(p policy.Policy, w ...policy.PauseWindow) policy.Policy {
		p.PauseWindows = w
		return p
	}
	bounded := func(p policy.Policy) policy.Policy {
		p.MaxElapsed = 90 * time.Second
		return p
	}
	flat := retrying(9, fixed(90*time.Second))
	expo := retrying(9, exponential(time.Second, 1.5, 4*time.Second))
	dated := retrying(0, dates(t, "2026-01-01T13:00:00Z", "2026-01-01T14:00:00Z"))
	late := failed(1)
	late.FirstFailureMS = noonMS - second
	deadline := failed(1)
	deadline.DeadlineMS = noonMS + second
	counted := failed(2)
	counted.RuleRetries = []policy.RuleRetries{{Rule: policy.RuleHash("r"), Count: 1}}
	both := retryAfter("120")
	both.RetryAfter = 121 * time.Second
	negative := status(503)
	negative.RetryAfter = -1500 * time.Millisecond

	const no = "No rule matched; the default action is RETRY."
	const thirty = "Retry 1: the fixed delay is 1 min 30 s."
	due := func(at, after string) string {
		return "Attempt 2 is due at " + at + ", " + after + " after this failure."
	}
	tests := []struct {
		name    string
		policy  policy.Policy
		state   policy.State
		failure policy.Failure
		want    []string
	}{
		{
			"permanent", flat, failed(1),
			policy.Failure{Permanent: true},
			[]string{"The failure is permanent: it is never retried, whatever the policy says."},
		},
		{
			"held", ruled(flat, policy.Rule{Name: "h", Action: policy.ActionHold, HoldCondition: "c"}), failed(1), status(503),
			[]string{`Rule 1, "h", matched; its action is HOLD.`, `The task is held until the condition "c" is released.`},
		},
		{
			"dead letter", ruled(flat, policy.Rule{Action: policy.ActionDeadLetter}), failed(1), status(503),
			[]string{"Rule 1, which has no name, matched; its action is DEAD_LETTER."},
		},
		{"retries used", flat, failed(10), status(503), []string{no, "Retries used: 9; the policy allows 9."}},
		{"no retries", retrying(0, policy.Schedule{}), failed(1), status(503), []string{no, "The policy allows no retries."}},
		{
			"rule's retries used", ruled(flat, policy.Rule{Name: "r", Action: policy.ActionRetry, MaxRetries: 1}), counted, status(503),
			[]string{`Rule 1, "r", matched; its action is RETRY.`, `Retries used under rule "r": 1; it allows 1.`},
		},
		{"fixed", flat, failed(1), status(503), []string{no, thirty, due("2026-01-01T12:01:30Z", "1 min 30 s")}},
		{"exponential, cut", expo, failed(5), status(503), []string{
			no, "Retry 5: 1 s times 1.5 to the power of 4 is a delay of 5.063 s.", "The delay is cut to max_delay, 4 s.",
			"Attempt 6 is due at 2026-01-01T12:00:04Z, 4 s after this failure.",
		}},
		{"delays", ruled(retrying(0, delays(time.Second, 0)), policy.Rule{Name: "r", Action: policy.ActionRetry, DelayMultiplier: 2.5}), failed(1), status(503), []string{
			`Rule 1, "r", matched; its action is RETRY.`, "Retry 1: delay 1 of the 2 listed is 1 s.",
			`Rule "r" multiplies the delay by 2.5: 2.5 s.`, due("2026-01-01T12:00:02.5Z", "2.5 s"),
		}},
		{"a date", dated, failed(1), status(503), []string{
			no, "Date 1 of the 2 listed is the next: 2026-01-01T13:00:00Z.", due("2026-01-01T13:00:00Z", "1 h"),
		}},
		{"a date after the hint", dated, failed(1), retryAfter("3601"), []string{
			no, "Retry-After of 1 h 1 s is used: dates before 2026-01-01T13:00:01Z are passed over.",
			"Date 2 of the 2 listed is the next: 2026-01-01T14:00:00Z.", due("2026-01-01T14:00:00Z", "2 h"),
		}},
		{"a date and a hint before it", dated, failed(1), retryAfter("3600"), []string{
			no, "Retry-After of 1 h was not used: the next date is not before 2026-01-01T13:00:00Z anyway.",
			"Date 1 of the 2 listed is the next: 2026-01-01T13:00:00Z.", due("2026-01-01T13:00:00Z", "1 h"),
		}},
		{"no date left", dated, failed(1), retryAfter("9000"), []string{
			no, "Retry-After of 2 h 30 min is used: dates before 2026-01-01T14:30:00Z are passed over.",
			"None of the 2 dates listed is left after 2026-01-01T14:30:00Z.",
		}},
		{"proportional", jitter(flat, policy.JitterProportional, 0.125), failed(1), status(503), []string{
			no, thirty, "Jitter (proportional, +-12.5 %) drew 1 min 35.842 s from 1 min 18.75 s to 1 min 41.25 s.",
			due("2026-01-01T12:01:35.842Z", "1 min 35.842 s"),
		}},
		{"decorrelated, cut", jitter(expo, policy.JitterDecorrelated, 0), func() policy.State {
			st := failed(1)
			st.LastDelayMS = 4000
			return st
		}(), status(503), []string{
			no, "Jitter (decorrelated) drew 9.356 s from 1 s to 12 s.", "The delay is cut to max_delay, 4 s.", due("2026-01-01T12:00:04Z", "4 s"),
		}},
		{"a hint used", flat, failed(1), retryAfter("91"), []string{
			no, thirty, "Retry-After of 1 min 31 s is used: it is later than the delay of 1 min 30 s.", due("2026-01-01T12:01:31Z", "1 min 31 s"),
		}},
		{"a hint used instead", mode(flat, policy.RetryAfterOverride), failed(1), retryAfter("1"), []string{
			no, thirty, "Retry-After of 1 s is used instead of the delay of 1 min 30 s.", due("2026-01-01T12:00:01Z", "1 s"),
		}},
		{"a hint spread", jitter(mode(retrying(9, fixed(time.Millisecond)), policy.RetryAfterOverride), policy.JitterProportional, 0.1), failed(1), retryAfter("100"), []string{
			no, "Retry 1: the fixed delay is 1 ms.", "Jitter (proportional, +-10 %) drew 1 ms from 1 ms to 1 ms.",
			"Retry-After of 1 min 40 s is used instead of the delay of 1 ms.",
			"Spread upwards by 10 %, it became 1 min 45.354 s, drawn from 1 min 40 s to 1 min 50 s.", due("2026-01-01T12:01:45.354Z", "1 min 45.354 s"),
		}},
		{"a shorter hint", flat, failed(1), retryAfter("90"), []string{
			no, thirty, "Retry-After of 1 min 30 s was not used: the delay of 1 min 30 s is not shorter.", due("2026-01-01T12:01:30Z", "1 min 30 s"),
		}},
		{"a hint cut", flat, failed(1), retryAfter("864001"), []string{
			no, thirty, "Retry-After of 10 d 1 s is cut to its cap, 1 d.",
			"Retry-After of 1 d is used: it is later than the delay of 1 min 30 s.", due("2026-01-02T12:00:00Z", "1 d"),
		}},
		{"two hints", flat, failed(1), both, []string{
			no, thirty, "Of two hints, the Retry-After header of 2 min and the retry_after field of 2 min 1 s, the later counts.",
			"Retry-After of 2 min 1 s is used: it is later than the delay of 1 min 30 s.", due("2026-01-01T12:02:01Z", "2 min 1 s"),
		}},
		{"a hint ignored", mode(flat, policy.RetryAfterIgnore), failed(1), retryAfter("soon"), []string{
			no, thirty, "Retry-After was not used: the policy ignores it.", due("2026-01-01T12:01:30Z", "1 min 30 s"),
		}},
		{"no hint: unreadable", flat, failed(1), retryAfter("soon\xff" + strings.Repeat("x", 99)), []string{
			no, thirty, `Retry-After "soon?` + strings.Repeat("x", 59) + `" was not used: it is neither seconds nor an HTTP-date.`, due("2026-01-01T12:01:30Z", "1 min 30 s"),
		}},
		{"no hint: zero", flat, failed(1), retryAfter("0"), []string{
			no, thirty, `Retry-After "0" was not used: zero is no hint.`, due("2026-01-01T12:01:30Z", "1 min 30 s"),
		}},
		{"no hint: negative", flat, failed(1), negative, []string{
			no, thirty, `Retry-After "-1.5s" was not used: it is negative.`, due("2026-01-01T12:01:30Z", "1 min 30 s"),
		}},
		{"no hint: past", flat, failed(1), retryAfter("Thu, 01 Jan 2026 12:00:00 GMT"), []string{
			no, thirty, `Retry-After "Thu, 01 Jan 2026 12:00:00 GMT" was not used: it has passed.`, due("2026-01-01T12:01:30Z", "1 min 30 s"),
		}},
		{"windows", windowed(flat,
			policy.PauseWindow{Start: "13:00", End: "14:00", TimeZone: "Europe/Berlin", Spread: time.Minute},
			policy.PauseWindow{StartTime: time.UnixMilli(noonMS + hour), EndTime: time.UnixMilli(noonMS + 2*hour)},
		), failed(1), status(503), []string{
			no, thirty, "2026-01-01T12:01:30Z falls into pause window 1 (in Europe/Berlin) and moves to its end, 2026-01-01T13:00:00Z, plus 49.011 s drawn from a spread of 1 min.",
			"2026-01-01T13:00:49.011Z falls into pause window 2 (open once) and moves to its end, 2026-01-01T14:00:00Z.",
			due("2026-01-01T14:00:00Z", "2 h"),
		}},
		{"past max_elapsed", bounded(flat), late, status(503), []string{
			no, thirty, "The next attempt would be at 2026-01-01T12:01:30Z, past max_elapsed: 1 min 30 s after the first failure is 2026-01-01T12:01:29Z.",
		}},
		{"past the deadline", flat, deadline, status(503), []string{
			no, thirty, "The next attempt would be at 2026-01-01T12:01:30Z, past the task's deadline, 2026-01-01T12:00:01Z.",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := policy.Decide(compile(t, tt.policy), tt.state, tt.failure, noonMS)
			if got := policy.Explain(d.Steps); !slices.Equal(got, tt.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestExplainManyWindows(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		8:  "2026-01-01T19:00:00Z falls into pause window 8 (open once) and moves to its end, 2026-01-01T20:00:00Z.",
		9:  "It moves on over 1 more pause windows, to 2026-01-01T21:00:00Z.",
		10: "It moves on over 2 more pause windows, to 2026-01-01T22:00:00Z.",
	} {
		var windows []policy.PauseWindow
		for i := range n {
			windows = append(windows, policy.PauseWindow{
				StartTime: time.UnixMilli(noonMS + i*hour), EndTime: time.UnixMilli(noonMS + (i+1)*hour),
			})
		}
		d := policy.Decide(compile(t, paused(windows...)), failed(1), status(503), noonMS)
		got := policy.Explain(d.Steps)
		if len(got) != 2+int(min(n, 9))+1 || got[len(got)-2] != want {
			t.Errorf("%d windows: %q", n, got)
		}
	}
}

// TestStepCodesGolden: codes are stored, and so never change.
func TestStepCodesGolden(t *testing.T) {
	t.Parallel()
	codes := []policy.StepCode{
		policy.StepPermanent, policy.StepRule, policy.StepNoRule, policy.StepHeld, policy.StepRetriesUsed,
		policy.StepRuleRetriesUsed, policy.StepFixed, policy.StepExponential, policy.StepDelays, policy.StepDate,
		policy.StepNoMoreDates, policy.StepDelayMultiplier, policy.StepMaxDelay, policy.StepJitter,
		policy.StepRetryAfterIgnored, policy.StepRetryAfterUnreadable, policy.StepRetryAfterZero,
		policy.StepRetryAfterNegative, policy.StepRetryAfterPast, policy.StepRetryAfterBoth,
		policy.StepRetryAfterCapped, policy.StepRetryAfterUsed, policy.StepRetryAfterShorter,
		policy.StepRetryAfterSpread, policy.StepRetryAfterDate, policy.StepRetryAfterDateLater, policy.StepWindow,
		policy.StepWindowsMore, policy.StepWindowsFirstFree, policy.StepWindowsIgnored, policy.StepMaxElapsed,
		policy.StepDeadline, policy.StepScheduled, policy.StepNoPolicy,
	}
	for i, code := range codes {
		if int(code) != i+1 {
			t.Errorf("code %d is in place %d", code, i+1)
		}
	}
}

// TestExplainWhatever reads what no version ever wrote.
func TestExplainWhatever(t *testing.T) {
	t.Parallel()
	for code := range 256 {
		for _, args := range [][]int64{
			nil,
			{1},
			{0, 0, 0, 0, 0, 0, 0},
			{-1, -1, -1, -1, -1, -1},
			{256, 256, 256},
			{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64},
			{math.MinInt64, math.MinInt64, math.MinInt64, math.MinInt64, math.MinInt64},
		} {
			got := policy.Explain([]policy.Step{{Code: policy.StepCode(code), Args: args, Text: "\xff\n"}})
			if len(got) != 1 || got[0] == "" || !strings.HasSuffix(got[0], ".") {
				t.Errorf("code %d with %v: %q", code, args, got)
			}
		}
	}
	if got := policy.Explain([]policy.Step{{Code: 250}}); got[0] != "Step 250, which this version does not know." {
		t.Errorf("got %q", got)
	}
	if got := policy.Explain(nil); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		policy.ActionDeadLetter.String():           "DEAD_LETTER",
		policy.Action(99).String():                 "ACTION_99",
		policy.ReasonRetryScheduled.String():       "RETRY_SCHEDULED",
		policy.ReasonRuleRetriesExhausted.String(): "RULE_RETRIES_EXHAUSTED",
		policy.ReasonNoMoreDates.String():          "NO_MORE_DATES",
		policy.ReasonLeasesExpired.String():        "LEASES_EXPIRED",
		policy.Reason(99).String():                 "REASON_99",
		policy.CauseOutcome.String():               "OUTCOME",
		policy.ConnectionUnreachable.String():      "UNREACHABLE",
		policy.ConnectionOther.String():            "OTHER",
		policy.JitterDecorrelated.String():         "DECORRELATED",
		policy.RetryAfterIgnore.String():           "IGNORE",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
