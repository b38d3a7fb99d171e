package policy_test

import (
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

// benchPolicies are one of each weight: the least, the usual, the most.
func benchPolicies() map[string]policy.Policy {
	usual := retrying(9, exponential(time.Second, 2, time.Minute))
	usual.Jitter = policy.Jitter{Kind: policy.JitterProportional, Proportion: 0.2}
	usual.Rules = []policy.Rule{
		{Name: "compliance", Match: policy.Match{Codes: []string{"30004-30007", "21610"}}, Action: policy.ActionHold, HoldCondition: "c"},
		{Name: "unreachable", Match: policy.Match{Codes: []string{"30003"}}, Action: policy.ActionDeadLetter},
		{Name: "transient", Match: policy.Match{Statuses: []string{"429", "5xx"}, Timeout: true}, Action: policy.ActionRetry, MaxRetries: 5},
	}
	windows := usual
	windows.PauseWindows = []policy.PauseWindow{
		{Start: "12:00", End: "13:00", TimeZone: "UTC", Spread: 10 * time.Minute},
		{Start: "20:00", End: "08:00", TimeZone: "Europe/Berlin"},
		{Start: "00:00", End: "24:00", Days: []time.Weekday{time.Saturday, time.Sunday}},
	}
	return map[string]policy.Policy{"fixed": retrying(9, fixed(time.Second)), "exponential": usual, "windows": windows}
}

func BenchmarkDecide(b *testing.B) {
	for _, name := range []string{"fixed", "exponential", "windows"} {
		b.Run(name, func(b *testing.B) {
			c := policy.Compile(benchPolicies()[name])
			st := policy.State{
				Namespace: "default", TaskID: "order-0190a7c2-8d1e", Generation: 1, Attempt: 3, FirstAttempt: 1, TimeZone: "America/New_York",
			}
			fail := status(503)
			fail.Code = "20503"
			b.ReportAllocs()
			for b.Loop() {
				policy.Decide(c, st, fail, noonMS)
			}
		})
	}
}

func BenchmarkExplain(b *testing.B) {
	d := policy.Decide(policy.Compile(benchPolicies()["windows"]), failed(3), status(503), noonMS)
	b.ReportAllocs()
	for b.Loop() {
		policy.Explain(d.Steps)
	}
}

func BenchmarkCompile(b *testing.B) {
	p := benchPolicies()["windows"]
	b.ReportAllocs()
	for b.Loop() {
		policy.Compile(p)
	}
}

// BenchmarkPausedForEver is the dearest question that a policy can ask.
func BenchmarkPausedForEver(b *testing.B) {
	c := policy.Compile(paused(
		policy.PauseWindow{Start: "00:00", End: "12:00"}, policy.PauseWindow{Start: "12:00", End: "00:00"},
	))
	b.ReportAllocs()
	for b.Loop() {
		c.FreeWithinYear("Europe/Berlin", noonMS)
	}
}

// TestDecideAllocates little: the steps, and the counts where they change.
func TestDecideAllocates(t *testing.T) {
	for name, most := range map[string]float64{"fixed": 2, "exponential": 3, "windows": 3} {
		c := policy.Compile(benchPolicies()[name])
		got := testing.AllocsPerRun(100, func() { policy.Decide(c, failed(3), status(503), noonMS) })
		if got > most {
			t.Errorf("%s: %v allocations, want at most %v", name, got, most)
		}
	}
}

// TestCompiledIsShared is for the race detector.
func TestCompiledIsShared(t *testing.T) {
	t.Parallel()
	c := policy.Compile(benchPolicies()["windows"])
	st := failed(1)
	st.RuleRetries = []policy.RuleRetries{{Rule: policy.RuleHash("transient"), Count: 1}}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				st := st
				st.TimeZone = []string{"", "Asia/Tokyo", "America/Lima", "Africa/Lagos"}[(i+j)%4]
				policy.Decide(c, st, status(503), noonMS+int64(j)*hour)
				policy.Range(c, st, status(503), noonMS)
				c.PausedUntil(st, noonMS)
			}
		})
	}
	wg.Wait()
}
