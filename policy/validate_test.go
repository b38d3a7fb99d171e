package policy_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

func fieldsOf(v []policy.Violation) []string {
	var fields []string
	for _, x := range v {
		fields = append(fields, x.Field)
	}
	return fields
}

func TestValidate(t *testing.T) {
	t.Parallel()
	type change = func(p *policy.Policy)
	schedule := func(s policy.Schedule) change { return func(p *policy.Policy) { p.Schedule = s } }
	rule := func(r policy.Rule) change { return func(p *policy.Policy) { p.Rules = []policy.Rule{r} } }
	match := func(m policy.Match) change { return rule(policy.Rule{Match: m, Action: policy.ActionRetry}) }
	window := func(w policy.PauseWindow) change {
		return func(p *policy.Policy) { p.PauseWindows = []policy.PauseWindow{w} }
	}
	rules := func(n int, rule func(i int) policy.Rule) change {
		return func(p *policy.Policy) {
			for i := range n {
				p.Rules = append(p.Rules, rule(i))
			}
		}
	}
	named := func(i int) policy.Rule {
		return policy.Rule{Name: fmt.Sprintf("r%d", i), Action: policy.ActionRetry}
	}
	limited := func(i int) policy.Rule {
		r := named(i)
		r.MaxRetries = 1
		return r
	}
	many := func(n int, s string) []string { return slices.Repeat([]string{s}, n) }
	manyDates := func(n int) policy.Schedule {
		l := &policy.DateList{}
		for i := range n {
			l.Times = append(l.Times, time.UnixMilli(noonMS+int64(i)))
		}
		return policy.Schedule{Dates: l}
	}
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	at := func(d time.Duration) time.Time { return time.UnixMilli(noonMS).Add(d) }
	hold := policy.Rule{Action: policy.ActionHold, HoldCondition: "c"}
	const over = policy.MaxDuration + 1

	tests := []struct {
		name   string
		change change
		want   []string // fields; none means valid
	}{
		{"nothing", func(*policy.Policy) {}, nil},
		{"id", func(p *policy.Policy) { p.ID = strings.Repeat("a-9", 21) }, nil},
		{"id empty", func(p *policy.Policy) { p.ID = "" }, []string{"id"}},
		{"id of 64", func(p *policy.Policy) { p.ID = strings.Repeat("a", 64) }, []string{"id"}},
		{"id in capitals", func(p *policy.Policy) { p.ID = "A" }, []string{"id"}},
		{"id with _", func(p *policy.Policy) { p.ID = "a_b" }, []string{"id"}},
		{"id with an accent", func(p *policy.Policy) { p.ID = "é" }, []string{"id"}},
		{"display_name of 200 characters", func(p *policy.Policy) { p.DisplayName = strings.Repeat("ż", 200) }, nil},
		{"display_name of 201", func(p *policy.Policy) { p.DisplayName = strings.Repeat("ż", 201) }, []string{"display_name"}},
		{"display_name not UTF-8", func(p *policy.Policy) { p.DisplayName = "\xff" }, []string{"display_name"}},
		{"max_retries 1000", func(p *policy.Policy) { p.MaxRetries = 1000 }, nil},
		{"max_retries 1001", func(p *policy.Policy) { p.MaxRetries = 1001 }, []string{"max_retries"}},
		{"no retries, no schedule", func(p *policy.Policy) { p.MaxRetries, p.Schedule = 0, policy.Schedule{} }, nil},
		{"no schedule", schedule(policy.Schedule{}), []string{"schedule"}},
		{"two schedules", func(p *policy.Policy) { p.Schedule.Delays = delays(1, 2, 3).Delays }, []string{"schedule"}},
		{"fixed of 1 ms", schedule(fixed(time.Millisecond)), nil},
		{"fixed under 1 ms", schedule(fixed(time.Millisecond - 1)), []string{"fixed.delay"}},
		{"fixed of 100 years", schedule(fixed(policy.MaxDuration)), nil},
		{"fixed over 100 years", schedule(fixed(over)), []string{"fixed.delay"}},
		{"fixed negative", schedule(fixed(-time.Second)), []string{"fixed.delay"}},
		{"exponential", schedule(exponential(time.Millisecond, 1, time.Millisecond)), nil},
		{"exponential, all default", schedule(exponential(time.Second, 0, 0)), nil},
		{
			"exponential, all wrong", schedule(exponential(0, 0.99, -1)),
			[]string{"exponential.initial_delay", "exponential.multiplier", "exponential.max_delay"},
		},
		{"exponential too long", schedule(exponential(over, 2, over)), []string{"exponential.initial_delay", "exponential.max_delay"}},
		{"exponential, max_delay under initial_delay", schedule(exponential(2*time.Second, 2, time.Second)), []string{"exponential.max_delay"}},
		{"multiplier NaN", schedule(exponential(time.Second, math.NaN(), 0)), []string{"exponential.multiplier"}},
		{"multiplier +Inf", schedule(exponential(time.Second, math.Inf(1), 0)), []string{"exponential.multiplier"}},
		{"multiplier -Inf", schedule(exponential(time.Second, math.Inf(-1), 0)), []string{"exponential.multiplier"}},
		{"multiplier negative", schedule(exponential(time.Second, -2, 0)), []string{"exponential.multiplier"}},
		{"delays", schedule(delays(0, time.Second, 0)), nil},
		{"delays, none", func(p *policy.Policy) { p.MaxRetries, p.Schedule = 0, delays() }, []string{"delays.delays"}},
		{"delays, 1001", schedule(delays(make([]time.Duration, 1001)...)), []string{"delays.delays"}},
		{"delays, 1000", schedule(delays(make([]time.Duration, 1000)...)), nil},
		{"delays negative and too long", schedule(delays(0, -1, over)), []string{"delays.delays[1]", "delays.delays[2]"}},
		{"fewer delays than retries", schedule(delays(1, 2)), []string{"max_retries"}},
		{"dates", schedule(manyDates(1000)), nil},
		{"dates, 1001", schedule(manyDates(1001)), []string{"dates.times"}},
		{"fewer dates than retries", schedule(manyDates(2)), []string{"max_retries"}},
		{"dates, none", func(p *policy.Policy) { p.MaxRetries, p.Schedule = 0, manyDates(0) }, []string{"dates.times"}},
		{"dates, twice the same", schedule(policy.Schedule{Dates: &policy.DateList{Times: []time.Time{at(0), at(time.Hour), at(time.Hour)}}}), []string{"dates.times[2]"}},
		{"dates within a millisecond", schedule(policy.Schedule{Dates: &policy.DateList{Times: []time.Time{at(1), at(2), at(time.Hour)}}}), []string{"dates.times[1]"}},
		{"dates beyond the years", schedule(policy.Schedule{Dates: &policy.DateList{Times: []time.Time{year(0), year(1), year(10000)}}}), []string{"dates.times[0]", "dates.times[2]"}},
		{"jitter", func(p *policy.Policy) { p.Jitter = policy.Jitter{Kind: policy.JitterProportional, Proportion: 1} }, nil},
		{"jitter negative", func(p *policy.Policy) {
			p.Jitter = policy.Jitter{Kind: policy.JitterProportional, Proportion: -0.1}
		}, []string{"jitter.proportional"}},
		{"jitter NaN", func(p *policy.Policy) {
			p.Jitter = policy.Jitter{Kind: policy.JitterProportional, Proportion: math.NaN()}
		}, []string{"jitter.proportional"}},
		{"jitter of two kinds", func(p *policy.Policy) { p.Jitter = policy.Jitter{Kind: policy.JitterFull, Proportion: 0.5} }, []string{"jitter.proportional"}},
		{"jitter unknown", func(p *policy.Policy) { p.Jitter.Kind = 9 }, []string{"jitter"}},
		{"decorrelated with fixed", func(p *policy.Policy) { p.Jitter.Kind = policy.JitterDecorrelated }, []string{"jitter.decorrelated"}},
		{"decorrelated with exponential", func(p *policy.Policy) {
			p.Jitter.Kind, p.Schedule = policy.JitterDecorrelated, exponential(time.Second, 2, 0)
		}, nil},
		{"max_elapsed negative", func(p *policy.Policy) { p.MaxElapsed = -1 }, []string{"max_elapsed"}},
		{"max_elapsed too long", func(p *policy.Policy) { p.MaxElapsed = over }, []string{"max_elapsed"}},
		{"64 rules", rules(64, named), nil},
		{"65 rules", rules(65, named), []string{"rules"}},
		{"8 limited rules", rules(8, limited), nil},
		{"9 limited rules", rules(9, limited), []string{"rules"}},
		{"rules of one name", rules(3, func(int) policy.Rule { return named(0) }), []string{"rules[1].name", "rules[2].name"}},
		{"rules without a name", rules(3, func(int) policy.Rule { return policy.Rule{Action: policy.ActionRetry} }), nil},
		{"rule's name of 256 bytes", rule(policy.Rule{Name: strings.Repeat("a", 256), Action: policy.ActionRetry}), []string{"rules[0].name"}},
		{"rule's name not UTF-8", rule(policy.Rule{Name: "\xff", Action: policy.ActionRetry}), []string{"rules[0].name"}},
		{"rule without an action", rule(policy.Rule{Name: "r"}), []string{"rules[0].action"}},
		{"rule with an unknown action", rule(policy.Rule{Name: "r", Action: 4}), []string{"rules[0].action"}},
		{"rule's delay_multiplier", rule(policy.Rule{Action: policy.ActionRetry, DelayMultiplier: 0.001}), nil},
		{"rule's delay_multiplier negative", rule(policy.Rule{Action: policy.ActionRetry, DelayMultiplier: -1}), []string{"rules[0].delay_multiplier"}},
		{"rule's delay_multiplier NaN", rule(policy.Rule{Action: policy.ActionRetry, DelayMultiplier: math.NaN()}), []string{"rules[0].delay_multiplier"}},
		{"rule's delay_multiplier Inf", rule(policy.Rule{Action: policy.ActionRetry, DelayMultiplier: math.Inf(1)}), []string{"rules[0].delay_multiplier"}},
		{"rule's max_retries negative", rule(policy.Rule{Name: "r", Action: policy.ActionRetry, MaxRetries: -1}), []string{"rules[0].max_retries"}},
		{"rule's max_retries 1001", rule(policy.Rule{Name: "r", Action: policy.ActionRetry, MaxRetries: 1001}), []string{"rules[0].max_retries"}},
		{"hold", rule(hold), nil},
		{"hold on a long condition", rule(policy.Rule{Action: policy.ActionHold, HoldCondition: strings.Repeat("aA0._:/-xx", 10)}), nil},
		{"hold on too long a condition", rule(policy.Rule{Action: policy.ActionHold, HoldCondition: strings.Repeat("x", 101)}), []string{"rules[0].hold_condition"}},
		{"hold on a condition with a space", rule(policy.Rule{Action: policy.ActionHold, HoldCondition: "a b"}), []string{"rules[0].hold_condition"}},
		{"a condition without hold", rule(policy.Rule{Action: policy.ActionRetry, HoldCondition: "c"}), []string{"rules[0].hold_condition"}},
		{"statuses", match(policy.Match{Statuses: []string{"100", "599", "1xx", "5XX"}}), nil},
		{
			"statuses wrong", match(policy.Match{Statuses: []string{"099", "600", "0xx", "5x", "5xxx", "50x", "", "5.0", "20é", " 429"}}),
			indexed("rules[0].match.statuses", 10),
		},
		{"statuses_except wrong", match(policy.Match{StatusesExcept: []string{"xxx"}}), []string{"rules[0].match.statuses_except[0]"}},
		{"statuses, 1001", match(policy.Match{Statuses: many(1001, "500")}), []string{"rules[0].match.statuses"}},
		{
			"connection_kinds wrong", match(policy.Match{ConnectionKinds: []policy.ConnectionKind{0, 1, 6, 7}}),
			[]string{"rules[0].match.connection_kinds[0]", "rules[0].match.connection_kinds[3]"},
		},
		{"grpc_codes wrong", match(policy.Match{GRPCCodes: []string{"OK", "unavailable", "CANCELED", "14", ""}}), indexed("rules[0].match.grpc_codes", 5)},
		{"codes", match(policy.Match{Codes: []string{"a", "1-1", "0-18446744073709551615", "*", "a*", "a-b", strings.Repeat("x", 255)}}), nil},
		{
			"codes wrong", match(policy.Match{Codes: []string{"", "*a", "a*b", "**", "2-1", "0-18446744073709551616", strings.Repeat("x", 256), "\xff"}}),
			indexed("rules[0].match.codes", 8),
		},
		{"codes_except wrong", match(policy.Match{CodesExcept: []string{"2-1"}}), []string{"rules[0].match.codes_except[0]"}},
		{"outcomes", match(policy.Match{Outcomes: []string{"zażółć", "*"}}), nil},
		{"outcomes wrong", match(policy.Match{Outcomes: []string{"", strings.Repeat("x", 256), "\xff"}}), indexed("rules[0].match.outcomes", 3)},
		{"default_action HOLD", func(p *policy.Policy) { p.DefaultAction = policy.ActionHold }, []string{"default_action"}},
		{"default_action missing", func(p *policy.Policy) { p.DefaultAction = 0 }, []string{"default_action"}},
		{"retry_after", func(p *policy.Policy) { p.RetryAfter = policy.RetryAfter{Mode: 3, Cap: -1} }, []string{"retry_after.mode", "retry_after.cap"}},
		{"retry_after too long", func(p *policy.Policy) { p.RetryAfter.Cap = over }, []string{"retry_after.cap"}},
		{"window", window(policy.PauseWindow{Start: "00:00", End: "23:59"}), nil},
		{"window until 24:00", window(policy.PauseWindow{Start: "23:59", End: "24:00", Days: []time.Weekday{0, 6}}), nil},
		{"window of nothing", window(policy.PauseWindow{}), []string{"pause_windows[0].start", "pause_windows[0].end"}},
		{"window from 24:00", window(policy.PauseWindow{Start: "24:00", End: "01:00"}), []string{"pause_windows[0].start"}},
		{"window's clock wrong", window(policy.PauseWindow{Start: "9:00", End: "24:01"}), []string{"pause_windows[0].start", "pause_windows[0].end"}},
		{"window's clock odd", window(policy.PauseWindow{Start: "12:60", End: "1２:0"}), []string{"pause_windows[0].start", "pause_windows[0].end"}},
		{"window's days wrong", window(policy.PauseWindow{Start: "12:00", End: "13:00", Days: []time.Weekday{-1, 1, 7}}), []string{"pause_windows[0].days[0]", "pause_windows[0].days[2]"}},
		{"window's zone Local", window(policy.PauseWindow{Start: "12:00", End: "13:00", TimeZone: "Local"}), []string{"pause_windows[0].time_zone"}},
		{"window's spread", window(policy.PauseWindow{Start: "12:00", End: "13:00", Spread: -1}), []string{"pause_windows[0].spread"}},
		{"window's spread too long", window(policy.PauseWindow{Start: "12:00", End: "13:00", Spread: over}), []string{"pause_windows[0].spread"}},
		{"window once", window(policy.PauseWindow{StartTime: at(0), EndTime: at(time.Millisecond)}), nil},
		{"window once, backwards", window(policy.PauseWindow{StartTime: at(0), EndTime: at(-1)}), []string{"pause_windows[0].end_time"}},
		{"window once, empty", window(policy.PauseWindow{StartTime: at(0), EndTime: at(0)}), []string{"pause_windows[0].end_time"}},
		{"window once, without an end", window(policy.PauseWindow{StartTime: at(0)}), []string{"pause_windows[0].end_time"}},
		{"window once, without a start", window(policy.PauseWindow{EndTime: at(0)}), []string{"pause_windows[0].start_time"}},
		{"window once, beyond the years", window(policy.PauseWindow{StartTime: year(-5), EndTime: year(10000)}), []string{"pause_windows[0].start_time", "pause_windows[0].end_time"}},
		{
			"window once, with days and zone", window(policy.PauseWindow{StartTime: at(0), EndTime: at(1e9), Days: []time.Weekday{1}, TimeZone: "UTC"}),
			[]string{"pause_windows[0].days", "pause_windows[0].time_zone"},
		},
		{"window of both kinds", window(policy.PauseWindow{Start: "12:00", End: "13:00", StartTime: at(0), EndTime: at(1e9)}), []string{"pause_windows[0].start_time"}},
		{"33 windows", func(p *policy.Policy) {
			p.PauseWindows = slices.Repeat([]policy.PauseWindow{{Start: "12:00", End: "13:00"}}, 33)
		}, []string{"pause_windows"}},
		{"a window of every day, all day", window(policy.PauseWindow{Start: "12:00", End: "12:00"}), []string{"pause_windows"}},
		{"max_lease_expiries negative", func(p *policy.Policy) { p.MaxLeaseExpiries = -1 }, []string{"max_lease_expiries"}},
		{"retention of 1 min", func(p *policy.Policy) { p.Retention = time.Minute }, nil},
		{"retention under 1 min", func(p *policy.Policy) { p.Retention = time.Minute - 1 }, []string{"retention"}},
		{"retention too long", func(p *policy.Policy) { p.Retention = over }, []string{"retention"}},
		{"dead_letter_retention", func(p *policy.Policy) { p.DeadLetterRetention = -1 }, []string{"dead_letter_retention"}},
		{
			"everything at once", func(p *policy.Policy) { *p = policy.Policy{MaxRetries: -1, MaxElapsed: -1} },
			[]string{"id", "display_name", "max_retries", "max_elapsed", "default_action"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := retrying(3, fixed(time.Second))
			tt.change(&p)
			v := p.Validate(noonMS)
			if got := fieldsOf(v); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q\n%v", got, tt.want, v)
			}
			for _, x := range v {
				if x.Description == "" || len(x.Description) > 500 {
					t.Errorf("%s is described as %q", x.Field, x.Description)
				}
			}
			// Compile errs towards no retry, but never fails.
			c := policy.Compile(p)
			policy.Decide(c, failed(1), status(500), noonMS)
			policy.Range(c, failed(1), status(500), noonMS)
		})
	}
}

func indexed(field string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s[%d]", field, i))
	}
	return out
}

func TestValidateDescribes(t *testing.T) {
	t.Parallel()
	p := retrying(1001, fixed(0))
	v := p.Validate(noonMS)
	want := []policy.Violation{
		{Field: "max_retries", Description: "is 1001; allowed: 0 to 1000"},
		{Field: "fixed.delay", Description: "is 0s; allowed: 1ms to 876600h0m0s (100 years)"},
	}
	if !slices.Equal(v, want) {
		t.Errorf("got %q, want %q", v, want)
	}
}

// TestValidatePausedForEver: what a policy leaves free is judged from now on, in
// UTC where a window has no zone.
func TestValidatePausedForEver(t *testing.T) {
	t.Parallel()
	daily := func(start, end, zone string) policy.PauseWindow {
		return policy.PauseWindow{Start: start, End: end, TimeZone: zone}
	}
	tests := []struct {
		name    string
		windows []policy.PauseWindow
		valid   bool
	}{
		{"a minute a day is free", []policy.PauseWindow{daily("00:00", "12:00", "UTC"), daily("12:01", "00:00", "UTC")}, true},
		{"no minute is free", []policy.PauseWindow{daily("00:00", "12:01", "UTC"), daily("12:01", "00:00", "UTC")}, false},
		{"zones that cover each other", []policy.PauseWindow{daily("00:00", "12:00", "UTC"), daily("21:00", "09:00", "Asia/Tokyo")}, false},
		{"without a zone it is UTC", []policy.PauseWindow{daily("00:00", "12:00", "UTC"), daily("12:00", "00:00", "")}, false},
		// Berlin's hour before UTC moves by one in summer: half a year away, but free.
		{"free in summer only", []policy.PauseWindow{daily("00:00", "23:00", "UTC"), daily("00:00", "01:00", "Europe/Berlin")}, true},
		{"free on one day of the week", []policy.PauseWindow{{
			Start: "00:00", End: "24:00", Days: []time.Weekday{0, 1, 2, 3, 5, 6},
		}}, true},
		{"free on none", []policy.PauseWindow{{Start: "00:00", End: "24:00"}}, false},
		{"each day from midnight to midnight, but for a second half", []policy.PauseWindow{{
			Start: "18:00", End: "18:00", Days: []time.Weekday{0, 1, 2, 3, 4, 5, 6},
		}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := paused(tt.windows...).Validate(noonMS)
			if (v == nil) != tt.valid {
				t.Errorf("got %v", v)
			}
			if !tt.valid && !slices.Equal(fieldsOf(v), []string{"pause_windows"}) {
				t.Errorf("fields %q", fieldsOf(v))
			}
		})
	}
}

func TestFailureValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		failure policy.Failure
		want    []string
	}{
		{"http", status(100), nil},
		{"http 599", status(599), nil},
		{"http 99", status(99), []string{"http.status"}},
		{"http 600", status(600), []string{"http.status"}},
		{"an unreadable header", retryAfter("soon"), nil},
		{"grpc", policy.Failure{Cause: policy.CauseGRPC, GRPCCode: 16}, nil},
		{"grpc OK", policy.Failure{Cause: policy.CauseGRPC}, []string{"grpc.code"}},
		{"grpc 17", policy.Failure{Cause: policy.CauseGRPC, GRPCCode: 17}, []string{"grpc.code"}},
		{"timeout", policy.Failure{Cause: policy.CauseTimeout, RetryAfter: -time.Second}, nil},
		{"connection", policy.Failure{Cause: policy.CauseConnection, ConnectionKind: policy.ConnectionOther}, nil},
		{"connection of no kind", policy.Failure{Cause: policy.CauseConnection}, []string{"connection.kind"}},
		{"connection of an unknown kind", policy.Failure{Cause: policy.CauseConnection, ConnectionKind: 7}, []string{"connection.kind"}},
		{"outcome", policy.Failure{Cause: policy.CauseOutcome, Outcome: strings.Repeat("x", 255)}, nil},
		{"no outcome", policy.Failure{Cause: policy.CauseOutcome}, []string{"outcome"}},
		{"a long outcome", policy.Failure{Cause: policy.CauseOutcome, Outcome: strings.Repeat("x", 256)}, []string{"outcome"}},
		{"an outcome that is not UTF-8", policy.Failure{Cause: policy.CauseOutcome, Outcome: "\xff"}, []string{"outcome"}},
		{"no cause", policy.Failure{}, []string{"cause"}},
		{"an unknown cause", policy.Failure{Cause: 9}, []string{"cause"}},
		{"a code", policy.Failure{Cause: policy.CauseTimeout, Code: strings.Repeat("x", 255)}, nil},
		{"a long code", policy.Failure{Cause: policy.CauseTimeout, Code: strings.Repeat("x", 256)}, []string{"code"}},
		{"all at once", policy.Failure{Code: "\xff"}, []string{"cause", "code"}},
	}
	for _, tt := range tests {
		if got := fieldsOf(tt.failure.Validate()); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
