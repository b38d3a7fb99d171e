package policy_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

func TestRange(t *testing.T) {
	t.Parallel()
	full := func(d time.Duration, windows ...policy.PauseWindow) policy.Policy {
		p := retrying(9, fixed(d))
		p.Jitter.Kind = policy.JitterFull
		p.PauseWindows = windows
		return p
	}
	bounded := func(p policy.Policy, most time.Duration) policy.Policy {
		p.MaxElapsed = most
		return p
	}
	daily := func(start, end string, spread time.Duration) policy.PauseWindow {
		return policy.PauseWindow{Start: start, End: end, Spread: spread}
	}
	deadline := failed(1)
	deadline.DeadlineMS = noonMS + 20*minute
	tests := []struct {
		name   string
		policy policy.Policy
		state  policy.State
		lo, hi int64 // after noon
	}{
		{"nothing drawn", retrying(9, fixed(time.Hour)), failed(1), hour, hour},
		{"jitter", full(time.Hour), failed(1), 0, hour},
		{"cut by max_elapsed", bounded(full(time.Hour), 30*time.Minute), failed(1), 0, 30 * minute},
		{"cut by the deadline", full(time.Hour), deadline, 0, 20 * minute},
		{"a window elsewhere", full(time.Hour, daily("20:00", "21:00", 0)), failed(1), 0, hour},
		{"a window over the beginning", full(time.Hour, daily("11:00", "12:30", 0)), failed(1), 30 * minute, hour},
		{"a window over the end", full(time.Hour, daily("12:30", "14:00", 0)), failed(1), 0, 2 * hour},
		{"a window in the middle", full(time.Hour, daily("12:20", "12:30", 0)), failed(1), 0, hour},
		{"a window over all of it", full(time.Hour, daily("11:00", "14:00", 0)), failed(1), 2 * hour, 2 * hour},
		{"its spread", full(time.Hour, daily("11:00", "14:00", 5*time.Minute)), failed(1), 2 * hour, 2*hour + 5*minute},
		{"a spread that ends within the range", full(time.Hour, daily("12:20", "12:30", 10*time.Minute)), failed(1), 0, hour},
		{"a spread beyond the range", full(time.Hour, daily("12:20", "12:30", 2*time.Hour)), failed(1), 0, 2*hour + 30*minute},
		{
			"a spread into the next window", full(time.Hour, daily("12:20", "12:30", 2*time.Hour), daily("14:00", "15:00", time.Minute)),
			failed(1), 0, 3*hour + minute,
		},
		{
			"a spread over the next window", full(time.Hour, daily("12:20", "12:30", 2*time.Hour), daily("14:00", "14:15", 0)),
			failed(1), 0, 2*hour + 30*minute,
		},
		{
			"a spread that ends at the next window", full(time.Hour, daily("12:20", "12:30", 90*time.Minute), daily("14:00", "15:00", 0)),
			failed(1), 0, 3 * hour,
		},
		{
			"a spread that ends before the next window", full(time.Hour, daily("12:20", "12:30", 90*time.Minute-time.Millisecond), daily("14:00", "15:00", 0)),
			failed(1), 0, 2*hour - 1,
		},
		{
			"two windows that end together", full(time.Hour, daily("12:20", "14:00", 0), daily("12:30", "14:00", time.Hour)),
			failed(1), 0, 3 * hour,
		},
		{
			"a later end begins within", full(time.Hour, daily("12:10", "14:00", 3*time.Hour), daily("12:30", "15:00", 0)),
			failed(1), 0, 5 * hour,
		},
		{
			"the window's end is past the bound", bounded(full(time.Hour, daily("12:20", "14:00", 0)), time.Hour),
			failed(1), 0, 20*minute - 1,
		},
		{
			"the spread is cut by the bound", bounded(full(time.Hour, daily("12:20", "14:00", time.Hour)), 150*time.Minute),
			failed(1), 0, 150 * minute,
		},
		{"a long range", full(100*24*time.Hour, daily("20:00", "08:00", time.Hour)), failed(1), 0, 100 * day},
		{"a long range that ends in a window", full(100*24*time.Hour, daily("11:59", "14:00", time.Hour)), failed(1), 2 * hour, 100*day + 3*hour},
		{
			"all but the first day past the bound", bounded(full(100*24*time.Hour, daily("13:00", "12:00", 0)), 100*24*time.Hour-time.Minute),
			failed(1), 0, 99*day + hour - 1,
		},
		{"the windows' last free moment, far back", bounded(full(100*24*time.Hour, policy.PauseWindow{
			StartTime: time.UnixMilli(noonMS + hour), EndTime: time.UnixMilli(noonMS + 99*day),
		}), 50*24*time.Hour), failed(1), 0, hour - 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := compile(t, tt.policy)
			// The task is one whose own draw breaks no bound.
			st := tt.state
			for i := 0; policy.Decide(c, st, status(500), noonMS).Action != policy.ActionRetry; i++ {
				st.TaskID = fmt.Sprint(i)
				if i > 100_000 {
					t.Fatal("no task is retried")
				}
			}
			lo, hi := policy.Range(c, st, status(500), noonMS)
			if lo != noonMS+tt.lo || hi != noonMS+tt.hi {
				t.Errorf("range %v..%v, want %v..%v", dur(lo-noonMS), dur(hi-noonMS), dur(tt.lo), dur(tt.hi))
			}
			for i := range 500 {
				st.TaskID = fmt.Sprint(i)
				d := policy.Decide(c, st, status(500), noonMS)
				if d.Action == policy.ActionRetry && (d.NextMS < lo || d.NextMS > hi) {
					t.Fatalf("task %d is at %v, outside %v..%v", i, dur(d.DelayMS), dur(lo-noonMS), dur(hi-noonMS))
				}
			}
		})
	}
}

func TestRangeOfNoRetry(t *testing.T) {
	t.Parallel()
	c := compile(t, retrying(1, fixed(time.Hour)))
	if lo, hi := policy.Range(c, failed(2), status(500), noonMS); lo != 0 || hi != 0 {
		t.Errorf("range %d..%d", lo, hi)
	}
	if lo, hi := policy.Range(nil, failed(1), status(500), noonMS); lo != 0 || hi != 0 {
		t.Errorf("range %d..%d", lo, hi)
	}
}

func TestRangeOfDates(t *testing.T) {
	t.Parallel()
	p := retrying(0, dates(t, "2026-01-02T12:30:00Z", "2026-01-03T12:00:00Z"))
	p.PauseWindows = []policy.PauseWindow{{Start: "12:00", End: "13:00", Spread: time.Minute}}
	lo, hi := policy.Range(compile(t, p), failed(1), status(500), noonMS)
	if utc(lo) != "2026-01-02T13:00:00Z" || utc(hi) != "2026-01-02T13:01:00Z" {
		t.Errorf("range %s..%s", utc(lo), utc(hi))
	}
}

// TestRangeAgainstAllDraws holds Range to a model that goes through every
// millisecond and every draw, with windows of a few milliseconds.
func TestRangeAgainstAllDraws(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(2, 3))
	compared := 0
	for range 3000 {
		p := retrying(9, fixed(dur(rnd.Int64N(60)+1)))
		p.Jitter = []policy.Jitter{
			{Kind: policy.JitterFull}, {Kind: policy.JitterEqual}, {Kind: policy.JitterProportional, Proportion: rnd.Float64()}, {},
		}[rnd.IntN(4)]
		p.MaxElapsed = dur(rnd.Int64N(4) * 40)
		type window struct{ from, to, spread int64 }
		var windows []window
		for range rnd.IntN(6) {
			w := window{from: rnd.Int64N(80), spread: rnd.Int64N(3) * rnd.Int64N(20)}
			w.to = w.from + 1 + rnd.Int64N(20)
			windows = append(windows, w)
			p.PauseWindows = append(p.PauseWindows, policy.PauseWindow{
				StartTime: time.UnixMilli(noonMS + w.from), EndTime: time.UnixMilli(noonMS + w.to), Spread: dur(w.spread),
			})
		}
		bare := p
		bare.PauseWindows, bare.MaxElapsed = nil, 0
		lo, hi := policy.Range(compile(t, bare), failed(1), status(500), noonMS)

		limit := int64(1 << 40)
		if p.MaxElapsed > 0 {
			limit = p.MaxElapsed.Milliseconds()
		}
		reached := make([]bool, 400)
		for at := lo - noonMS; at <= hi-noonMS; at++ {
			reached[at] = true
		}
		wantLo, wantHi := int64(-1), int64(-1)
		for at := range int64(len(reached)) {
			if !reached[at] {
				continue
			}
			var open *window
			for i, w := range windows {
				if w.from <= at && at < w.to && (open == nil || w.to > open.to || w.to == open.to && w.spread > open.spread) {
					open = &windows[i]
				}
			}
			if open != nil {
				for d := range open.spread + 1 {
					reached[open.to+d] = true
				}
			} else if at <= limit {
				if wantLo < 0 {
					wantLo = at
				}
				wantHi = at
			}
		}
		c := compile(t, p)
		gotLo, gotHi := policy.Range(c, failed(1), status(500), noonMS)
		if gotLo == 0 && gotHi == 0 {
			continue // this task's own draw breaks the bound
		}
		compared++
		if gotLo != noonMS+wantLo || gotHi != noonMS+wantHi {
			t.Fatalf("windows %+v over %d..%d, limit %d: got %d..%d, want %d..%d",
				windows, lo-noonMS, hi-noonMS, limit, gotLo-noonMS, gotHi-noonMS, wantLo, wantHi)
		}
	}
	if compared < 1000 {
		t.Errorf("only %d policies compared", compared)
	}
}
