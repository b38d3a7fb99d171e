package policy_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

func TestRetryAfterHeader(t *testing.T) {
	t.Parallel()
	p := retrying(9, fixed(time.Second))
	p.RetryAfter = policy.RetryAfter{Mode: policy.RetryAfterOverride, Cap: 100 * 24 * time.Hour}
	c := compile(t, p)
	const capMS = 100 * day
	tests := []struct {
		header string
		want   int64           // 0: no hint, the delay stays 1 s
		why    policy.StepCode // the step that says so
	}{
		{"1", second, 0},
		{"120", 2 * minute, 0},
		{" 120\t", 2 * minute, 0},
		{"007", 7 * second, 0},
		{"8640000", capMS, 0},
		{"8640001", capMS, policy.StepRetryAfterCapped},
		{"99999999999999999999", capMS, policy.StepRetryAfterCapped},
		{"9223372036854775808000000000000", capMS, policy.StepRetryAfterCapped},
		{"0", 0, policy.StepRetryAfterZero},
		{"000", 0, policy.StepRetryAfterZero},
		{"-0", 0, policy.StepRetryAfterZero},
		{"-5", 0, policy.StepRetryAfterNegative},
		{"-99999999999999999999", 0, policy.StepRetryAfterNegative},
		{"soon", 0, policy.StepRetryAfterUnreadable},
		{" ", 0, policy.StepRetryAfterUnreadable},
		{"-", 0, policy.StepRetryAfterUnreadable},
		{"--5", 0, policy.StepRetryAfterUnreadable},
		{"+5", 0, policy.StepRetryAfterUnreadable},
		{"1.5", 0, policy.StepRetryAfterUnreadable},
		{"5s", 0, policy.StepRetryAfterUnreadable},
		{"5, 6", 0, policy.StepRetryAfterUnreadable},
		{"0x10", 0, policy.StepRetryAfterUnreadable},
		{"٣", 0, policy.StepRetryAfterUnreadable},
		{"Thu, 01 Jan 2026 12:05:00 GMT", 5 * minute, 0},
		{"Thursday, 01-Jan-26 12:05:00 GMT", 5 * minute, 0},
		{"Thu Jan  1 12:05:00 2026", 5 * minute, 0},
		{"Thu, 01 Jan 2026 12:00:00 GMT", 0, policy.StepRetryAfterPast},
		{"Thu, 01 Jan 2026 11:59:59 GMT", 0, policy.StepRetryAfterPast},
		{"Sunday, 06-Nov-94 08:49:37 GMT", 0, policy.StepRetryAfterPast},
		{"Sun Nov  6 08:49:37 1994", 0, policy.StepRetryAfterPast},
		{"Thu, 01 Jan 2026 12:05:00 CET", 0, policy.StepRetryAfterUnreadable},
		{"Thu, 01 Jan 2026 12:05:00", 0, policy.StepRetryAfterUnreadable},
		{"Thu, 32 Jan 2026 12:05:00 GMT", 0, policy.StepRetryAfterUnreadable},
		{"2026-01-01T12:05:00Z", 0, policy.StepRetryAfterUnreadable},
		// Two digits of a year: 50 years ahead at most.
		{"Wednesday, 01-Jan-76 12:00:00 GMT", capMS, policy.StepRetryAfterCapped},
		{"Saturday, 01-Jan-77 12:00:00 GMT", 0, policy.StepRetryAfterPast},
	}
	for _, tt := range tests {
		t.Run(tt.header, func(t *testing.T) {
			t.Parallel()
			d := policy.Decide(c, failed(1), retryAfter(tt.header), noonMS)
			want := tt.want
			if want == 0 {
				want = second
			}
			if d.DelayMS != want {
				t.Errorf("delay %v, want %v", dur(d.DelayMS), dur(want))
			}
			if tt.why != 0 && !hasStep(d, tt.why) {
				t.Errorf("no step %d says why: %q", tt.why, policy.Explain(d.Steps))
			}
			if hasStep(d, policy.StepRetryAfterUsed) != (tt.want != 0) {
				t.Errorf("explained as %q", policy.Explain(d.Steps))
			}
		})
	}
}

// TestRetryAfterYears: the two-digit year is read from where now stands.
func TestRetryAfterYears(t *testing.T) {
	t.Parallel()
	p := retrying(9, fixed(time.Second))
	p.RetryAfter = policy.RetryAfter{Mode: policy.RetryAfterOverride, Cap: policy.MaxDuration}
	c := compile(t, p)
	d := policy.Decide(c, failed(1), retryAfter("Thursday, 01-Jan-05 00:00:00 GMT"), ms(t, "2095-01-01T00:00:00Z"))
	if utc(d.NextMS) != "2105-01-01T00:00:00Z" {
		t.Errorf("in 2095, 05 is %s", utc(d.NextMS))
	}
	d = policy.Decide(c, failed(1), retryAfter("Saturday, 01-Jan-45 00:00:00 GMT"), ms(t, "2095-01-01T00:00:00Z"))
	if utc(d.NextMS) != "2145-01-01T00:00:00Z" {
		t.Errorf("in 2095, 45 is %s", utc(d.NextMS))
	}
	d = policy.Decide(c, failed(1), retryAfter("Saturday, 01-Jan-46 00:00:00 GMT"), ms(t, "2095-01-01T00:00:00Z"))
	if !hasStep(d, policy.StepRetryAfterPast) {
		t.Errorf("in 2095, 46 is %s", utc(d.NextMS))
	}
	d = policy.Decide(c, failed(1), retryAfter("Friday, 01-Jan-99 00:00:00 GMT"), ms(t, "2005-01-01T00:00:00Z"))
	if !hasStep(d, policy.StepRetryAfterPast) {
		t.Errorf("in 2005, 99 is %s", utc(d.NextMS))
	}
}

func TestRetryAfterModes(t *testing.T) {
	t.Parallel()
	plain := retrying(9, exponential(time.Minute, 2, 5*time.Minute))
	plain.Rules = []policy.Rule{{Match: policy.Match{Statuses: []string{"5xx"}}, Action: policy.ActionRetry, DelayMultiplier: 2}}
	mode := func(m policy.RetryAfterMode, most time.Duration) policy.Policy {
		p := plain
		p.RetryAfter = policy.RetryAfter{Mode: m, Cap: most}
		return p
	}
	hinted := func(header string, field time.Duration) policy.Failure {
		f := retryAfter(header)
		f.RetryAfter = field
		return f
	}
	byGRPC := policy.Failure{Cause: policy.CauseGRPC, GRPCCode: 8, RetryAfter: 10 * time.Minute, RetryAfterHeader: "9999"}
	maxOf, override, ignore := policy.RetryAfterMaxOf, policy.RetryAfterOverride, policy.RetryAfterIgnore
	// The delay so far is 2 min: 1 min times the rule's 2.
	tests := []struct {
		name    string
		policy  policy.Policy
		failure policy.Failure
		want    int64
		steps   []policy.StepCode
	}{
		{"MAX_OF, no hint", mode(maxOf, 0), hinted("", 0), 2 * minute, nil},
		{"MAX_OF, shorter", mode(maxOf, 0), hinted("60", 0), 2 * minute, []policy.StepCode{policy.StepRetryAfterShorter}},
		{"MAX_OF, the same", mode(maxOf, 0), hinted("120", 0), 2 * minute, []policy.StepCode{policy.StepRetryAfterShorter}},
		{"MAX_OF, longer", mode(maxOf, 0), hinted("121", 0), 121 * second, []policy.StepCode{policy.StepRetryAfterUsed}},
		{"MAX_OF, past max_delay", mode(maxOf, 0), hinted("3600", 0), hour, []policy.StepCode{policy.StepRetryAfterUsed}},
		{"MAX_OF, past the default cap", mode(maxOf, 0), hinted("90000", 0), day, []policy.StepCode{policy.StepRetryAfterCapped, policy.StepRetryAfterUsed}},
		{"MAX_OF, cut below the delay", mode(maxOf, time.Second), hinted("3600", 0), 2 * minute, []policy.StepCode{policy.StepRetryAfterCapped, policy.StepRetryAfterShorter}},
		{"OVERRIDE, shorter", mode(override, 0), hinted("60", 0), minute, []policy.StepCode{policy.StepRetryAfterUsed}},
		{"OVERRIDE, longer", mode(override, 0), hinted("3600", 0), hour, []policy.StepCode{policy.StepRetryAfterUsed}},
		{"OVERRIDE, cut", mode(override, 30*time.Minute), hinted("3600", 0), 30 * minute, []policy.StepCode{policy.StepRetryAfterCapped, policy.StepRetryAfterUsed}},
		{"OVERRIDE, no hint", mode(override, 0), hinted("soon", 0), 2 * minute, []policy.StepCode{policy.StepRetryAfterUnreadable}},
		{"IGNORE", mode(ignore, 0), hinted("3600", time.Hour), 2 * minute, []policy.StepCode{policy.StepRetryAfterIgnored}},
		{"the field", mode(maxOf, 0), hinted("", 3*time.Minute), 3 * minute, []policy.StepCode{policy.StepRetryAfterUsed}},
		{"the field is rounded up", mode(override, 0), hinted("", 1), 1, []policy.StepCode{policy.StepRetryAfterUsed}},
		{"the field, negative", mode(override, 0), hinted("", -time.Second), 2 * minute, []policy.StepCode{policy.StepRetryAfterNegative}},
		{"the field, endless", mode(override, 0), hinted("", math.MaxInt64), day, []policy.StepCode{policy.StepRetryAfterCapped, policy.StepRetryAfterUsed}},
		{"both, the header later", mode(override, 0), hinted("240", 3*time.Minute), 4 * minute, []policy.StepCode{policy.StepRetryAfterBoth, policy.StepRetryAfterUsed}},
		{"both, the field later", mode(override, 0), hinted("180", 4*time.Minute), 4 * minute, []policy.StepCode{policy.StepRetryAfterBoth, policy.StepRetryAfterUsed}},
		{"both, one unreadable", mode(override, 0), hinted("soon", 4*time.Minute), 4 * minute, []policy.StepCode{policy.StepRetryAfterUnreadable, policy.StepRetryAfterUsed}},
		{"both, one negative", mode(override, 0), hinted("240", -1), 4 * minute, []policy.StepCode{policy.StepRetryAfterNegative, policy.StepRetryAfterUsed}},
		{"only the field without HTTP", mode(override, 0), byGRPC, 10 * minute, []policy.StepCode{policy.StepRetryAfterUsed}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := policy.Decide(compile(t, tt.policy), failed(1), tt.failure, noonMS)
			if d.DelayMS != tt.want {
				t.Errorf("delay %v, want %v\n%q", dur(d.DelayMS), dur(tt.want), policy.Explain(d.Steps))
			}
			if d.LastDelayMS != minute && d.LastDelayMS != 2*minute {
				t.Errorf("a hint went into the last delay, %v", dur(d.LastDelayMS))
			}
			var got []policy.StepCode
			for _, s := range d.Steps {
				if s.Code >= policy.StepRetryAfterIgnored && s.Code <= policy.StepRetryAfterDateLater {
					got = append(got, s.Code)
				}
			}
			if !slices.Equal(got, tt.steps) {
				t.Errorf("steps %v, want %v: %q", got, tt.steps, policy.Explain(d.Steps))
			}
		})
	}
}

// TestRetryAfterSpread: a hint that decides is spread upwards under proportional
// jitter, and left as it is under the others; it is never undercut.
func TestRetryAfterSpread(t *testing.T) {
	t.Parallel()
	p := retrying(9, fixed(time.Minute))
	p.Jitter = policy.Jitter{Kind: policy.JitterProportional, Proportion: 0.5}
	override := p
	override.RetryAfter.Mode = policy.RetryAfterOverride
	full, equal := p, p
	full.Jitter = policy.Jitter{Kind: policy.JitterFull}
	equal.Jitter = policy.Jitter{Kind: policy.JitterEqual}
	tests := []struct {
		name   string
		policy policy.Policy
		header string
		lo, hi int64
	}{
		{"MAX_OF, below all draws", p, "20", 30 * second, 90 * second},
		{"MAX_OF, among the draws", p, "50", 50 * second, 90 * second},
		{"MAX_OF, among the draws, spread beyond", p, "80", 80 * second, 120 * second},
		{"MAX_OF, above all draws", p, "100", 100 * second, 150 * second},
		{"OVERRIDE, below", override, "20", 20 * second, 30 * second},
		{"OVERRIDE, above", override, "100", 100 * second, 150 * second},
		{"full, among the draws", full, "50", 50 * second, 60 * second},
		{"full, above", full, "100", 100 * second, 100 * second},
		{"equal, below", equal, "20", 30 * second, 60 * second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := compile(t, tt.policy)
			lo, hi := policy.Range(c, failed(1), retryAfter(tt.header), noonMS)
			if lo-noonMS != tt.lo || hi-noonMS != tt.hi {
				t.Errorf("range %v..%v, want %v..%v", dur(lo-noonMS), dur(hi-noonMS), dur(tt.lo), dur(tt.hi))
			}
			least, most := int64(math.MaxInt64), int64(0)
			for i := range 3000 {
				st := failed(1)
				st.TaskID = fmt.Sprint(i)
				d := policy.Decide(c, st, retryAfter(tt.header), noonMS)
				least, most = min(least, d.DelayMS), max(most, d.DelayMS)
			}
			slack := (tt.hi - tt.lo) / 20
			if least < tt.lo || least > tt.lo+slack || most > tt.hi || most < tt.hi-slack {
				t.Errorf("drew %v..%v, want %v..%v", dur(least), dur(most), dur(tt.lo), dur(tt.hi))
			}
		})
	}
}
