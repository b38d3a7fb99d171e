package policy_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

// source turns the bytes of a fuzzer into values, zeros when they are used up.
type source struct{ data []byte }

func (s *source) int64() int64 {
	var b [8]byte
	n := copy(b[:], s.data)
	s.data = s.data[n:]
	return int64(binary.LittleEndian.Uint64(b[:]))
}

func (s *source) byte() byte {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return b
}

// below is mostly small: large values come of int64.
func (s *source) below(n int) int { return int(s.byte()) % n }

func (s *source) float() float64 {
	switch s.below(4) {
	case 0:
		return math.Float64frombits(uint64(s.int64()))
	case 1:
		return float64(s.byte()) / 255
	default:
		return 1 + float64(s.byte())/16
	}
}

func (s *source) duration() time.Duration {
	switch s.below(5) {
	case 0:
		return time.Duration(s.int64())
	case 1:
		return policy.MaxDuration - time.Duration(s.byte())
	case 2:
		return time.Duration(s.byte()) * time.Hour
	default:
		return time.Duration(s.byte()) * time.Second
	}
}

func (s *source) time() int64 {
	switch s.below(6) {
	case 0:
		return s.int64()
	case 1:
		return 0
	default:
		return noonMS + int64(s.byte())*int64(s.byte())*minute
	}
}

func (s *source) text() string {
	return []string{"", "a", "rule", "20429", "30003-30007", "sms/*", "5xx", "429", "busy", "UNAVAILABLE"}[s.below(10)]
}

func (s *source) list() []string {
	var out []string
	for range s.below(4) {
		out = append(out, s.text())
	}
	return out
}

func (s *source) policy() policy.Policy {
	p := policy.Policy{
		ID: "p", DisplayName: "P", DefaultAction: policy.Action(s.below(4)), MaxRetries: s.below(12),
		MaxElapsed: s.duration(), Jitter: policy.Jitter{Kind: policy.JitterKind(s.below(6)), Proportion: s.float()},
		RetryAfter: policy.RetryAfter{Mode: policy.RetryAfterMode(s.below(4)), Cap: s.duration()},
	}
	if s.below(8) == 0 {
		p.MaxRetries = int(s.int64())
	}
	switch s.below(6) {
	case 0:
		p.Schedule.Fixed = &policy.FixedDelay{Delay: s.duration()}
	case 1, 2:
		p.Schedule.Exponential = &policy.ExponentialDelay{InitialDelay: s.duration(), Multiplier: s.float(), MaxDelay: s.duration()}
	case 3:
		p.Schedule.Delays = &policy.DelayList{}
		for range s.below(5) {
			p.Schedule.Delays.Delays = append(p.Schedule.Delays.Delays, s.duration())
		}
	case 4:
		p.Schedule.Dates = &policy.DateList{}
		for range s.below(5) {
			p.Schedule.Dates.Times = append(p.Schedule.Dates.Times, time.UnixMilli(s.time()))
		}
	}
	for range s.below(4) {
		p.Rules = append(p.Rules, policy.Rule{
			Name: s.text(), Action: policy.Action(s.below(5)), DelayMultiplier: s.float(), MaxRetries: s.below(4), HoldCondition: s.text(),
			Match: policy.Match{
				Statuses: s.list(), StatusesExcept: s.list(), Timeout: s.below(2) == 0, ConnectionError: s.below(2) == 0,
				ConnectionKinds: []policy.ConnectionKind{policy.ConnectionKind(s.byte())},
				GRPCCodes:       s.list(), Codes: s.list(), CodesExcept: s.list(), Outcomes: s.list(),
			},
		})
	}
	for range s.below(4) {
		p.PauseWindows = append(p.PauseWindows, s.window())
	}
	return p
}

func (s *source) window() policy.PauseWindow {
	clock := func() string { return fmt.Sprintf("%02d:%02d", s.below(25), s.below(60)) }
	w := policy.PauseWindow{Spread: s.duration()}
	if s.below(3) == 0 {
		w.StartTime, w.EndTime = time.UnixMilli(s.time()), time.UnixMilli(s.time())
		return w
	}
	w.Start, w.End, w.TimeZone = clock(), clock(), s.zone()
	for range s.below(4) {
		w.Days = append(w.Days, time.Weekday(s.below(7)))
	}
	return w
}

func (s *source) zone() string {
	return []string{"", "UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "no/zone", "Local"}[s.below(8)]
}

func (s *source) state() policy.State {
	st := policy.State{
		Namespace: s.text(), TaskID: s.text(), Generation: s.below(3), Attempt: s.below(16), FirstAttempt: s.below(8),
		FirstFailureMS: s.time(), LastDelayMS: s.int64(), LastDateMS: s.time(), DeadlineMS: s.time(), TimeZone: s.zone(),
	}
	if s.below(8) == 0 {
		st.Attempt, st.FirstAttempt = int(s.int64()), int(s.int64())
	}
	for range s.below(12) {
		st.RuleRetries = append(st.RuleRetries, policy.RuleRetries{Rule: policy.RuleHash(s.text()), Count: s.below(5)})
	}
	return st
}

func (s *source) failure() policy.Failure {
	return policy.Failure{
		Cause: policy.Cause(s.below(7)), HTTPStatus: 400 + s.below(256), GRPCCode: s.below(18), ConnectionKind: policy.ConnectionKind(s.byte()),
		RetryAfterHeader: []string{"", "0", "5", "-5", "soon", "99999999999999999999", "Thu, 01 Jan 2026 12:05:00 GMT"}[s.below(7)],
		Outcome:          s.text(), Code: s.text(), RetryAfter: s.duration(), Permanent: s.below(16) == 1,
	}
}

func FuzzDecide(f *testing.F) {
	f.Add([]byte{})
	for i := range 64 {
		seed := make([]byte, 256)
		for j := range seed {
			seed[j] = byte((i + 1) * (j + 3) * (j + 7) >> 3)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &source{data}
		p, st, fail, now := s.policy(), s.state(), s.failure(), s.time()
		valid := p.Validate(now) == nil
		c := policy.Compile(p)
		before := slices.Clone(st.RuleRetries)
		d := policy.Decide(c, st, fail, now)

		if again := policy.Decide(policy.Compile(p), st, fail, now); !reflect.DeepEqual(d, again) {
			t.Errorf("decided twice:\n%+v\n%+v", d, again)
		}
		if !slices.Equal(before, st.RuleRetries) {
			t.Error("the state was written to")
		}
		for i, line := range policy.Explain(d.Steps) {
			if line == "" {
				t.Errorf("step %d says nothing", i)
			}
		}
		if len(d.Steps) == 0 || len(d.Steps) > 24 {
			t.Errorf("%d steps", len(d.Steps))
		}
		lo, hi := policy.Range(c, st, fail, now)
		checkDecision(t, p, st, d, now, lo, hi, valid)
		if until, is := c.PausedUntil(st, now); is && now >= -62135596800000 && now < 253402300799999 && until <= now {
			t.Errorf("paused until %d at %d", until, now)
		}
	})
}

// checkDecision holds a decision to what is true of all of them.
func checkDecision(t *testing.T, p policy.Policy, st policy.State, d policy.Decision, now, lo, hi int64, valid bool) {
	t.Helper()
	const endOfTime = 253402300799999
	if d.Action == policy.ActionUnspecified || d.Reason == policy.ReasonUnspecified || d.RetriesLeft < 0 {
		t.Errorf("not a decision: %+v", d)
	}
	if d.Action != policy.ActionRetry {
		if d.NextMS != 0 || d.DelayMS != 0 || d.NextAttempt != 0 || lo != 0 || hi != 0 {
			t.Errorf("%v has a next attempt: %+v, range %d..%d", d.Action, d, lo, hi)
		}
		if d.Action == policy.ActionDeadLetter && d.RetriesLeft != 0 {
			t.Errorf("dead with %d retries left", d.RetriesLeft)
		}
		return
	}
	at := min(max(now, -62135596800000), endOfTime)
	if d.DelayMS < 0 || d.NextMS != at+d.DelayMS || d.NextMS > endOfTime || d.NextAttempt < st.Attempt {
		t.Errorf("delay %d, next attempt %d at %d, now %d", d.DelayMS, d.NextAttempt, d.NextMS, now)
	}
	if d.NextMS < lo || d.NextMS > hi {
		t.Errorf("next attempt at %d is outside %d..%d", d.NextMS, lo, hi)
	}
	if d.LastDelayMS != st.LastDelayMS && (d.LastDelayMS < 0 || d.LastDelayMS > 2*policy.MaxDuration.Milliseconds()) {
		t.Errorf("last delay %d", d.LastDelayMS)
	}
	if len(d.RuleRetries) > max(policy.MaxRuleRetries, len(st.RuleRetries)) {
		t.Errorf("%d rule counts", len(d.RuleRetries))
	}
	if !valid {
		return
	}
	if e := p.Schedule.Exponential; e != nil && e.MaxDelay > 0 {
		if most := (e.MaxDelay + time.Millisecond - 1).Milliseconds(); d.LastDelayMS > most {
			t.Errorf("delay %d is past the cap, %d", d.LastDelayMS, most)
		}
	}
	if p.MaxElapsed > 0 {
		first := at
		if st.FirstFailureMS != 0 {
			first = min(max(st.FirstFailureMS, -62135596800000), endOfTime)
		}
		if d.NextMS-first > (p.MaxElapsed + time.Millisecond - 1).Milliseconds() {
			t.Errorf("%d ms after the first failure, past %v", d.NextMS-first, p.MaxElapsed)
		}
	}
	if st.DeadlineMS != 0 && st.Generation <= 1 && d.NextMS > st.DeadlineMS {
		t.Errorf("at %d, past the deadline, %d", d.NextMS, st.DeadlineMS)
	}
	if !hasStep(d, policy.StepWindowsIgnored) {
		if _, in := policy.Compile(p).PausedUntil(st, d.NextMS); in {
			t.Errorf("the next attempt, %s, is in a pause window", utc(d.NextMS))
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, header := range []string{
		"5", "-5", "0", "99999999999999999999", " 7 ", "soon", "Thu, 01 Jan 2026 12:05:00 GMT",
		"Thursday, 01-Jan-26 12:05:00 GMT", "Thu Jan  1 12:05:00 2026", "Thu, 01 Jan 2026 12:05:00.5 GMT", "\xff",
	} {
		f.Add(header, noonMS)
	}
	p := retrying(9, fixed(time.Minute))
	p.RetryAfter = policy.RetryAfter{Mode: policy.RetryAfterOverride, Cap: time.Hour}
	c := policy.Compile(p)
	f.Fuzz(func(t *testing.T, header string, now int64) {
		now = min(max(now, -62135596800000), 250000000000000)
		d := policy.Decide(c, failed(1), retryAfter(header), now)
		used := hasStep(d, policy.StepRetryAfterUsed)
		switch {
		case d.Action != policy.ActionRetry, d.DelayMS < 1, d.DelayMS > hour:
			t.Errorf("%q: %v after %v", header, d.Action, dur(d.DelayMS))
		case !used && d.DelayMS != minute:
			t.Errorf("%q is not used, but the delay is %v", header, dur(d.DelayMS))
		case !used && header != "" && !hasStep(d, policy.StepRetryAfterUnreadable) && !hasStep(d, policy.StepRetryAfterZero) &&
			!hasStep(d, policy.StepRetryAfterNegative) && !hasStep(d, policy.StepRetryAfterPast):
			t.Errorf("%q is not used, and nothing says why: %q", header, policy.Explain(d.Steps))
		}
	})
}

// FuzzMatchCodes holds what Validate takes to what a match does with it.
func FuzzMatchCodes(f *testing.F) {
	for _, seed := range [][2]string{
		{"20429", "20429"},
		{"30003-30007", "30005"},
		{"sms/*", "sms/1"},
		{"*", "x"},
		{"E-1", "E-1"},
		{"5-3", "4"},
		{"5XX", "503"},
		{"429", "429"},
		{"UNAVAILABLE", "14"},
		{"0-18446744073709551615", "18446744073709551615"},
		{"", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, token, code string) {
		p := retrying(3, fixed(time.Second))
		p.DefaultAction = policy.ActionDeadLetter
		lists := []policy.Match{
			{Codes: []string{token}},
			{Codes: []string{"*"}, CodesExcept: []string{token}},
			{Statuses: []string{token}},
			{GRPCCodes: []string{token}},
			{Outcomes: []string{token}},
		}
		fail := policy.Failure{Cause: policy.CauseOutcome, Outcome: code, Code: code}
		if len(fail.Validate()) > 0 {
			fail.Code, fail.Outcome = "", "x"
		}
		var matched, valid [5]bool
		for i, m := range lists {
			p.Rules = []policy.Rule{{Action: policy.ActionRetry, Match: m}}
			valid[i] = p.Validate(noonMS) == nil
			c := policy.Compile(p)
			matched[i] = policy.Decide(c, failed(1), fail, noonMS).Action == policy.ActionRetry
			if n := c.Policy(); valid[i] && n.Validate(noonMS) != nil {
				t.Errorf("%q is valid, but not once normalized", token)
			}
			for s := 100; s < 600; s += 7 {
				hit := policy.Decide(c, failed(1), status(s), noonMS).Action == policy.ActionRetry
				if hit && (i != 2 || !valid[i] || len(token) != 3) {
					t.Errorf("%+v matches status %d", m, s)
				}
			}
		}
		if valid[0] && fail.Code != "" && matched[0] == matched[1] {
			t.Errorf("%q both matches and excepts %q", token, fail.Code)
		}
		if matched[0] && !valid[0] {
			t.Errorf("%q is refused, and matches %q", token, fail.Code)
		}
		if matched[4] != (token == fail.Outcome) {
			t.Errorf("outcome %q against %q: %v", token, fail.Outcome, matched[4])
		}
	})
}

// FuzzWindows: whatever the windows, a valid policy never puts an attempt into
// one, and never moves it to before it was due.
func FuzzWindows(f *testing.F) {
	f.Add([]byte{}, noonMS)
	for i := range 32 {
		seed := make([]byte, 96)
		for j := range seed {
			seed[j] = byte((i + 5) * (j + 1) * (j + 11) >> 2)
		}
		f.Add(seed, noonMS+int64(i)*9*day)
	}
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, int64(1325239200000)) // Apia's missing day
	f.Fuzz(func(t *testing.T, data []byte, now int64) {
		s := &source{data}
		zone := s.zone()
		var windows []policy.PauseWindow
		for range 1 + s.below(5) {
			windows = append(windows, s.window())
		}
		p := paused(windows...)
		valid := p.Validate(now) == nil
		c := policy.Compile(p)
		st := failed(1)
		st.TimeZone = zone
		free := c.FreeWithinYear(zone, now)
		if valid && !c.FreeWithinYear("", now) {
			t.Error("valid, and nothing free in UTC")
		}
		until, is := c.PausedUntil(st, now)
		if is {
			if !free {
				t.Error("nothing is free, and yet there is an end")
			}
			if _, still := c.PausedUntil(st, until); still && until < 253402300799999 {
				t.Errorf("paused until %s, and then still", utc(until))
			}
		}
		d := policy.Decide(c, st, status(500), now)
		if hasStep(d, policy.StepWindowsIgnored) == free {
			t.Errorf("free is %v: %q", free, policy.Explain(d.Steps))
		}
		lo, hi := policy.Range(c, st, status(500), now)
		if d.NextMS < lo || d.NextMS > hi {
			t.Errorf("next attempt %d, range %d..%d", d.NextMS, lo, hi)
		}
	})
}
