package policy_test

import (
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

// Most tests begin on a Thursday at noon, UTC.
const noonMS int64 = 1767268800000 // 2026-01-01T12:00:00Z

const (
	second = int64(1000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// ms reads an RFC 3339 time as Unix milliseconds.
func ms(tb testing.TB, s string) int64 {
	tb.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		tb.Fatal(err)
	}
	return at.UnixMilli()
}

func utc(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }

func dur(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// retrying is a valid policy that retries everything by a schedule.
func retrying(n int, s policy.Schedule) policy.Policy {
	return policy.Policy{
		ID: "p", DisplayName: "P", MaxRetries: n, Schedule: s, DefaultAction: policy.ActionRetry,
	}
}

func fixed(d time.Duration) policy.Schedule {
	return policy.Schedule{Fixed: &policy.FixedDelay{Delay: d}}
}

func exponential(initial time.Duration, multiplier float64, most time.Duration) policy.Schedule {
	return policy.Schedule{Exponential: &policy.ExponentialDelay{
		InitialDelay: initial, Multiplier: multiplier, MaxDelay: most,
	}}
}

func delays(d ...time.Duration) policy.Schedule {
	return policy.Schedule{Delays: &policy.DelayList{Delays: d}}
}

func dates(tb testing.TB, times ...string) policy.Schedule {
	tb.Helper()
	list := &policy.DateList{}
	for _, s := range times {
		list.Times = append(list.Times, time.UnixMilli(ms(tb, s)).UTC())
	}
	return policy.Schedule{Dates: list}
}

// compile refuses what a server would have refused.
func compile(tb testing.TB, p policy.Policy) *policy.Compiled {
	tb.Helper()
	if v := p.Validate(noonMS); v != nil {
		tb.Fatalf("invalid policy: %v", v)
	}
	return policy.Compile(p)
}

// failed is the state of a task whose attempt n of generation 1 failed.
func failed(n int) policy.State {
	return policy.State{Namespace: "default", TaskID: "t", Generation: 1, Attempt: n, FirstAttempt: 1}
}

func status(code int) policy.Failure {
	return policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: code}
}

func retryAfter(header string) policy.Failure {
	f := status(503)
	f.RetryAfterHeader = header
	return f
}

func hasStep(d policy.Decision, code policy.StepCode) bool {
	_, ok := step(d, code)
	return ok
}

func step(d policy.Decision, code policy.StepCode) (policy.Step, bool) {
	for _, s := range d.Steps {
		if s.Code == code {
			return s, true
		}
	}
	return policy.Step{}, false
}
