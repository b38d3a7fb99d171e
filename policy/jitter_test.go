package policy_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

func TestJitterRanges(t *testing.T) {
	t.Parallel()
	with := func(p policy.Policy, kind policy.JitterKind, r float64) policy.Policy {
		p.Jitter = policy.Jitter{Kind: kind, Proportion: r}
		return p
	}
	last := func(n int, delay int64) policy.State {
		st := failed(n)
		st.LastDelayMS = delay
		return st
	}
	expo := retrying(9, exponential(time.Second, 2, 10*time.Second))
	flat := retrying(9, fixed(time.Second))
	century := int64(policy.MaxDuration / time.Millisecond)
	tests := []struct {
		name   string
		policy policy.Policy
		state  policy.State
		lo, hi int64
	}{
		{"none", flat, failed(1), 1000, 1000},
		{"proportional", with(flat, policy.JitterProportional, 0.2), failed(1), 800, 1200},
		{"proportional 0", with(flat, policy.JitterProportional, 0), failed(1), 1000, 1000},
		{"proportional 1", with(flat, policy.JitterProportional, 1), failed(1), 0, 2000},
		{"proportional, ends rounded inwards", with(retrying(9, fixed(3*time.Millisecond)), policy.JitterProportional, 0.5), failed(1), 2, 4},
		{"proportional, below the cap", with(expo, policy.JitterProportional, 0.2), failed(4), 6400, 9600},
		{"proportional, cut to the cap", with(expo, policy.JitterProportional, 0.5), failed(4), 4000, 10000},
		{"proportional, at the cap", with(expo, policy.JitterProportional, 0.2), failed(9), 8000, 10000},
		{"full", with(flat, policy.JitterFull, 0), failed(1), 0, 1000},
		{"full of zero", with(retrying(0, delays(0)), policy.JitterFull, 0), failed(1), 0, 0},
		{"equal", with(flat, policy.JitterEqual, 0), failed(1), 500, 1000},
		{"equal, odd", with(retrying(9, fixed(3*time.Millisecond)), policy.JitterEqual, 0), failed(1), 2, 3},
		{"decorrelated, at first", with(expo, policy.JitterDecorrelated, 0), failed(1), 1000, 3000},
		{"decorrelated, later", with(expo, policy.JitterDecorrelated, 0), last(2, 2000), 1000, 6000},
		{"decorrelated, cut to the cap", with(expo, policy.JitterDecorrelated, 0), last(3, 9000), 1000, 10000},
		{"decorrelated, last under a third of the first", with(expo, policy.JitterDecorrelated, 0), last(3, 100), 1000, 1000},
		{"decorrelated, without a cap", with(retrying(9, exponential(time.Second, 2, 0)), policy.JitterDecorrelated, 0), last(3, math.MaxInt64), 1000, century},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := compile(t, tt.policy)
			lo, hi := policy.Range(c, tt.state, status(500), noonMS)
			if lo-noonMS != tt.lo || hi-noonMS != tt.hi {
				t.Errorf("range %d..%d, want %d..%d", lo-noonMS, hi-noonMS, tt.lo, tt.hi)
			}
			least, most := int64(math.MaxInt64), int64(math.MinInt64)
			for i := range 2000 {
				st := tt.state
				st.TaskID = fmt.Sprint(i)
				d := policy.Decide(c, st, status(500), noonMS)
				least, most = min(least, d.DelayMS), max(most, d.DelayMS)
				if d.LastDelayMS != d.DelayMS {
					t.Fatalf("last delay %d after a delay of %d", d.LastDelayMS, d.DelayMS)
				}
			}
			// Draws stay within the range, and come near both its ends.
			slack := (tt.hi-tt.lo)/100 + 1
			if tt.hi-tt.lo < 5 {
				slack = 0
			}
			if least < tt.lo || most > tt.hi || least > tt.lo+slack || most < tt.hi-slack {
				t.Errorf("drew %d..%d, want %d..%d", least, most, tt.lo, tt.hi)
			}
		})
	}
}

// TestJitterDoesNotPileUp: cut before the draw, the cap is as likely as any
// other delay. Decorrelated jitter is cut after it, by its definition.
func TestJitterDoesNotPileUp(t *testing.T) {
	t.Parallel()
	atCap := func(kind policy.JitterKind, r float64) int {
		p := retrying(9, exponential(time.Second, 2, time.Minute))
		p.Jitter = policy.Jitter{Kind: kind, Proportion: r}
		c := compile(t, p)
		n := 0
		for i := range 10_000 {
			st := failed(9)
			st.TaskID = fmt.Sprint(i)
			st.LastDelayMS = 40 * second
			if policy.Decide(c, st, status(500), noonMS).DelayMS == minute {
				n++
			}
		}
		return n
	}
	if n := atCap(policy.JitterProportional, 0.2); n > 10 {
		t.Errorf("%d of 10,000 at the cap", n)
	}
	// 1 to 120 s, all above 60 s cut: half of them.
	if n := atCap(policy.JitterDecorrelated, 0); n < 4700 || n > 5400 {
		t.Errorf("decorrelated: %d of 10,000 at the cap, want about 5,040", n)
	}
}

func TestDecorrelatedLeavesMultipliersAside(t *testing.T) {
	t.Parallel()
	p := retrying(9, exponential(time.Second, 100, 0))
	p.Jitter.Kind = policy.JitterDecorrelated
	p.Rules = []policy.Rule{{Match: policy.Match{Statuses: []string{"500"}}, Action: policy.ActionRetry, DelayMultiplier: 50}}
	c := compile(t, p)
	lo, hi := policy.Range(c, failed(5), status(500), noonMS)
	if lo-noonMS != second || hi-noonMS != 3*second {
		t.Errorf("range %v..%v, want 1s..3s", dur(lo-noonMS), dur(hi-noonMS))
	}
	d := policy.Decide(c, failed(5), status(500), noonMS)
	if hasStep(d, policy.StepExponential) || hasStep(d, policy.StepDelayMultiplier) {
		t.Errorf("explained by what was not used: %q", policy.Explain(d.Steps))
	}
}
