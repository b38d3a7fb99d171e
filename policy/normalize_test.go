package policy_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

// given is a policy with something in every field that refers to memory.
func given() policy.Policy {
	zone := time.FixedZone("x", 3600)
	return policy.Policy{
		ID: "p", DisplayName: "P", MaxRetries: 1, DefaultAction: policy.ActionRetry,
		Schedule: policy.Schedule{
			Fixed:       &policy.FixedDelay{Delay: time.Second},
			Exponential: &policy.ExponentialDelay{InitialDelay: time.Second},
			Delays:      &policy.DelayList{Delays: []time.Duration{1, 2}},
			Dates:       &policy.DateList{Times: []time.Time{time.UnixMilli(noonMS).In(zone)}},
		},
		Rules: []policy.Rule{{Name: "r", Action: policy.ActionRetry, Match: policy.Match{
			Statuses: []string{"5XX", "429"}, StatusesExcept: []string{"5Xx"},
			ConnectionKinds: []policy.ConnectionKind{1}, GRPCCodes: []string{"ABORTED"},
			Codes: []string{"A"}, CodesExcept: []string{"B"}, Outcomes: []string{"C"},
		}}},
		PauseWindows: []policy.PauseWindow{
			{Start: "01:00", End: "02:00", Days: []time.Weekday{1}},
			{StartTime: time.UnixMilli(noonMS).In(zone), EndTime: time.UnixMilli(noonMS + 1).In(zone)},
		},
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	want := given()
	want.Schedule.Exponential.Multiplier = 2
	want.Schedule.Dates.Times[0] = time.UnixMilli(noonMS).UTC()
	want.Rules[0].DelayMultiplier = 1
	want.Rules[0].Match.Statuses = []string{"5xx", "429"}
	want.Rules[0].Match.StatusesExcept = []string{"5xx"}
	want.RetryAfter = policy.RetryAfter{Mode: policy.RetryAfterMaxOf, Cap: 24 * time.Hour}
	want.PauseWindows[0].StartTime, want.PauseWindows[0].EndTime = time.Time{}.UTC(), time.Time{}.UTC()
	want.PauseWindows[1].StartTime = time.UnixMilli(noonMS).UTC()
	want.PauseWindows[1].EndTime = time.UnixMilli(noonMS + 1).UTC()
	want.MaxLeaseExpiries = 5
	want.Retention = 24 * time.Hour
	want.DeadLetterRetention = 30 * 24 * time.Hour

	got := given().Normalize()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if again := got.Normalize(); !reflect.DeepEqual(again, got) {
		t.Errorf("normalized twice: %+v", again)
	}
	if compiled := policy.Compile(given()).Policy(); !reflect.DeepEqual(compiled, want) {
		t.Errorf("compiled: %+v", compiled)
	}
}

func TestNormalizeKeepsWhatIsGiven(t *testing.T) {
	t.Parallel()
	p := given()
	p.Schedule.Exponential.Multiplier = 1
	p.Rules[0].DelayMultiplier = 0.5
	p.RetryAfter = policy.RetryAfter{Mode: policy.RetryAfterIgnore, Cap: time.Second}
	p.MaxLeaseExpiries = 1
	p.Retention = time.Minute
	p.DeadLetterRetention = time.Second
	n := p.Normalize()
	if n.Schedule.Exponential.Multiplier != 1 || n.Rules[0].DelayMultiplier != 0.5 || n.RetryAfter != p.RetryAfter ||
		n.MaxLeaseExpiries != 1 || n.Retention != time.Minute || n.DeadLetterRetention != time.Second {
		t.Errorf("got %+v", n)
	}
}

// TestNormalizeDoesNotAlias overwrites all that the argument refers to.
func TestNormalizeDoesNotAlias(t *testing.T) {
	t.Parallel()
	p := given()
	want := given().Normalize()
	got, compiled := p.Normalize(), policy.Compile(p)

	*p.Schedule.Fixed = policy.FixedDelay{}
	*p.Schedule.Exponential = policy.ExponentialDelay{}
	p.Schedule.Delays.Delays[0] = 9
	p.Schedule.Dates.Times[0] = time.Time{}
	m := &p.Rules[0].Match
	for _, list := range [][]string{m.Statuses, m.StatusesExcept, m.GRPCCodes, m.Codes, m.CodesExcept, m.Outcomes} {
		list[0] = "overwritten"
	}
	m.ConnectionKinds[0] = 6
	p.PauseWindows[0].Days[0] = 6
	p.Rules[0].Name = "overwritten"
	p.PauseWindows[1].Start = "overwritten"

	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if !reflect.DeepEqual(compiled.Policy(), want) {
		t.Errorf("compiled %+v\nwant %+v", compiled.Policy(), want)
	}
}
