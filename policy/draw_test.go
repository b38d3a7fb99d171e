package policy_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

// TestDrawsGolden holds the draws: a change of any of these figures is a
// breaking change, see draw.go.
func TestDrawsGolden(t *testing.T) {
	t.Parallel()
	// One millisecond of delay for each of 10^12 slots of [0, 1).
	const slots = 1_000_000_000_000
	full := retrying(1000, fixed(dur(slots-1)))
	full.Jitter.Kind = policy.JitterFull
	spread := retrying(1000, fixed(time.Millisecond))
	spread.Jitter = policy.Jitter{Kind: policy.JitterProportional, Proportion: 1}
	spread.RetryAfter = policy.RetryAfter{Mode: policy.RetryAfterOverride, Cap: dur(slots - 1)}
	window := retrying(1000, fixed(time.Millisecond))
	window.PauseWindows = []policy.PauseWindow{{
		StartTime: time.UnixMilli(noonMS), EndTime: time.UnixMilli(noonMS + hour), Spread: dur(slots - 1),
	}}
	hinted := status(503)
	hinted.RetryAfter = dur(slots)

	states := []policy.State{
		{},
		{Namespace: "default", TaskID: "t", Generation: 1, Attempt: 1},
		{Namespace: "default", TaskID: "t", Generation: 1, Attempt: 2},
		{Namespace: "default", TaskID: "t", Generation: 2, Attempt: 1},
		{Namespace: "defaultt", TaskID: "", Generation: 1, Attempt: 1},
		{Namespace: "ns", TaskID: "żółw-42", Generation: 7, Attempt: 999},
	}
	golden := [][4]int64{ // jitter, Retry-After, window, hand-out
		{455707478676, 528270373316, 592706737522, 952324475680},
		{759639448333, 535409129826, 816848970759, 302658928583},
		{244611750138, 358034946864, 220100288970, 125722604459},
		{732331060962, 877266493132, 489379673263, 543839668654},
		{79354056309, 413805178323, 340802186367, 974332435502},
		{810521203641, 774425380008, 476656328172, 95685373026},
	}
	for i, st := range states {
		st.FirstAttempt = st.Attempt
		until, _ := compile(t, window).PausedUntil(st, noonMS)
		got := [4]int64{
			policy.Decide(compile(t, full), st, status(500), noonMS).DelayMS,
			policy.Decide(compile(t, spread), st, hinted, noonMS).DelayMS - (slots - 1),
			policy.Decide(compile(t, window), st, status(500), noonMS).DelayMS - hour,
			until - noonMS - hour,
		}
		if got != golden[i] {
			t.Errorf("state %d: got %v, want %v", i, got, golden[i])
		}
	}
}

func TestRuleHashGolden(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]uint64{
		"":             0x813f0174a2367c13,
		"dns":          0x842b15af3f9efbb0,
		"rate-limited": 0x855bdfd5abaf4ca3,
		"rate-limitee": 0x14728a5195946d38,
		"zażółć gęślą": 0x29f8f98bf6b28ab9,
	} {
		if got := policy.RuleHash(name); got != want {
			t.Errorf("RuleHash(%q) = %#x, want %#x", name, got, want)
		}
	}
}

// TestDrawsAreUniform puts the draws of many attempts into slots, over each of
// the fields that feed the hash, and holds the slots to what chance allows.
func TestDrawsAreUniform(t *testing.T) {
	t.Parallel()
	const draws, slots = 100_000, 100
	p := retrying(1000, fixed(dur(slots-1)))
	p.Jitter.Kind = policy.JitterFull // 0 to 99 ms, each as likely
	c := compile(t, p)
	vary := map[string]func(i int) policy.State{
		"task ids": func(i int) policy.State {
			return policy.State{Namespace: "default", TaskID: fmt.Sprintf("order-%d", i), Generation: 1, Attempt: 1}
		},
		"namespaces": func(i int) policy.State {
			return policy.State{Namespace: fmt.Sprintf("n%d", i), TaskID: "t", Generation: 1, Attempt: 1}
		},
		"generations": func(i int) policy.State {
			return policy.State{TaskID: "t", Generation: i, Attempt: 1}
		},
		"attempts": func(i int) policy.State {
			return policy.State{TaskID: "t", Generation: 1, Attempt: i, FirstAttempt: i}
		},
	}
	for name, state := range vary {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var count [slots]int
			var previous, products, squares float64
			for i := range draws {
				v := policy.Decide(c, state(i+1), status(500), noonMS).DelayMS
				count[v]++
				x := float64(v) - (slots-1)/2.0
				products += x * previous
				squares += x * x
				previous = x
			}
			var chi float64
			for _, n := range count {
				d := float64(n) - draws/slots
				chi += d * d / (draws / slots)
			}
			// Mean 99, standard deviation 14: five of them on either side.
			if chi < 29 || chi > 170 {
				t.Errorf("chi squared is %.1f over %d slots", chi, slots)
			}
			if r := products / squares; math.Abs(r) > 5/math.Sqrt(draws) {
				t.Errorf("neighbours correlate by %.4f", r)
			}
		})
	}
}

// TestDrawsAreApart: fields may not run into each other, and the draws of one
// attempt may not be the same.
func TestDrawsAreApart(t *testing.T) {
	t.Parallel()
	p := retrying(1000, fixed(policy.MaxDuration/2))
	p.Jitter.Kind = policy.JitterFull
	c := compile(t, p)
	seen := map[int64]policy.State{}
	for _, st := range []policy.State{
		{Namespace: "ab", TaskID: "c", Generation: 1, Attempt: 1},
		{Namespace: "a", TaskID: "bc", Generation: 1, Attempt: 1},
		{Namespace: "", TaskID: "abc", Generation: 1, Attempt: 1},
		{Namespace: "abc", TaskID: "", Generation: 1, Attempt: 1},
		{Namespace: "a", TaskID: "bc", Generation: 2, Attempt: 1},
		{Namespace: "a", TaskID: "bc", Generation: 1, Attempt: 2},
	} {
		st.FirstAttempt = st.Attempt
		d := policy.Decide(c, st, status(500), noonMS).DelayMS
		if other, ok := seen[d]; ok {
			t.Errorf("%+v and %+v draw the same", st, other)
		}
		seen[d] = st
	}
}
