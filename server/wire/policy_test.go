package wire_test

import (
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/conformance"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/server/wire"
)

// everyField sets all that a policy can say, but for its schedule and jitter.
func everyField() policy.Policy {
	return policy.Policy{
		ID: "all", DisplayName: "Everything", MaxRetries: 7,
		MaxElapsed: 3*time.Hour + time.Nanosecond, DefaultAction: policy.ActionDeadLetter,
		RetryAfter: policy.RetryAfter{Mode: policy.RetryAfterOverride, Cap: time.Hour},
		Rules: []policy.Rule{{
			Name: "first", Action: policy.ActionRetry, DelayMultiplier: 1.5, MaxRetries: 2,
			Match: policy.Match{
				Statuses: []string{"5xx"}, StatusesExcept: []string{"501"}, Timeout: true, ConnectionError: true,
				ConnectionKinds: []policy.ConnectionKind{policy.ConnectionDNS, policy.ConnectionOther},
				GRPCCodes:       []string{"UNAVAILABLE"}, Codes: []string{"1-5", "sms/*"}, CodesExcept: []string{"3"}, Outcomes: []string{"busy"},
			},
		}, {Action: policy.ActionHold, HoldCondition: "compliance", DelayMultiplier: 1}},
		PauseWindows: []policy.PauseWindow{
			{Days: []time.Weekday{time.Sunday, time.Monday, time.Saturday}, Start: "22:00", End: "06:00", TimeZone: "Europe/Berlin", Spread: time.Minute},
			{StartTime: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), EndTime: time.Date(2030, 1, 2, 0, 0, 0, 5, time.UTC)},
		},
		MaxLeaseExpiries: 9, Retention: 2 * time.Hour, DeadLetterRetention: 48 * time.Hour,
	}
}

func TestPolicyRoundTrip(t *testing.T) {
	t.Parallel()
	change := func(f func(*policy.Policy)) policy.Policy {
		p := everyField()
		f(&p)
		return p
	}
	for name, p := range map[string]policy.Policy{
		"zero":  {},
		"fixed": change(func(p *policy.Policy) { p.Schedule.Fixed = &policy.FixedDelay{Delay: 90 * time.Second} }),
		"exponential": change(func(p *policy.Policy) {
			p.Schedule.Exponential = &policy.ExponentialDelay{InitialDelay: time.Second, Multiplier: 2.5, MaxDelay: time.Minute}
			p.Jitter.Kind = policy.JitterDecorrelated
		}),
		"delays": change(func(p *policy.Policy) {
			p.Schedule.Delays = &policy.DelayList{Delays: []time.Duration{0, time.Second, policy.MaxDuration}}
			p.Jitter = policy.Jitter{Kind: policy.JitterProportional, Proportion: 0.2}
		}),
		"dates": change(func(p *policy.Policy) {
			p.Schedule.Dates = &policy.DateList{Times: []time.Time{time.Date(2030, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}}
		}),
		"full jitter":        change(func(p *policy.Policy) { p.Jitter.Kind = policy.JitterFull }),
		"equal jitter":       change(func(p *policy.Policy) { p.Jitter.Kind = policy.JitterEqual }),
		"zero proportional":  change(func(p *policy.Policy) { p.Jitter.Kind = policy.JitterProportional }),
		"retry-after ignore": change(func(p *policy.Policy) { p.RetryAfter.Mode = policy.RetryAfterIgnore }),
	} {
		sent, err := proto.Marshal(wire.PolicyToProto(&p))
		if err != nil {
			t.Fatal(err)
		}
		var got retryv1.Policy
		if err := proto.Unmarshal(sent, &got); err != nil {
			t.Fatal(err)
		}
		back, violations := wire.PolicyFromProto(&got)
		if len(violations) > 0 || !reflect.DeepEqual(back, p) {
			t.Errorf("%s: got\n%+v\nwant\n%+v\nviolations %v", name, back, p, violations)
		}
	}
}

// TestPolicyFieldsAreAllMapped fails when a field is added to the domain or to
// the API and everyField does not know it.
func TestPolicyFieldsAreAllMapped(t *testing.T) {
	t.Parallel()
	p := everyField()
	p.Schedule.Fixed = &policy.FixedDelay{Delay: 1}
	p.Jitter.Kind = policy.JitterFull
	set := wire.PolicyToProto(&p).ProtoReflect()
	for i := range set.Descriptor().Fields().Len() {
		f := set.Descriptor().Fields().Get(i)
		switch f.Name() {
		case "exponential", "delays", "dates", "revision", "etag", "create_time", "update_time", "delete_time":
			continue
		}
		if !set.Has(f) {
			t.Errorf("field %s is not mapped", f.Name())
		}
	}
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set by everyField", v.Type().Field(i).Name)
		}
	}
}

func TestConformancePoliciesDecode(t *testing.T) {
	t.Parallel()
	files, err := conformance.Load("../../policy/testdata/conformance")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, p := range file.Policies {
			msg := new(retryv1.Policy)
			if err := protojson.Unmarshal(p.JSON, msg); err != nil {
				t.Fatalf("%s/%s: %v", file.Name, p.ID, err)
			}
			got, violations := wire.PolicyFromProto(msg)
			if len(violations) > 0 || !reflect.DeepEqual(got.Normalize(), p.Normalize()) {
				t.Errorf("%s/%s: got\n%+v\nwant\n%+v\nviolations %v", file.Name, p.ID, got, p.Policy, violations)
			}
		}
	}
}

func TestPolicyThatCannotBeExpressed(t *testing.T) {
	t.Parallel()
	badDuration := &durationpb.Duration{Seconds: 1, Nanos: -1}
	badTime := &timestamppb.Timestamp{Seconds: math.MaxInt64}
	for name, tc := range map[string]struct {
		p    *retryv1.Policy
		want []string
	}{
		"jitter of no kind":  {&retryv1.Policy{Jitter: &retryv1.Jitter{}}, []string{"jitter.kind"}},
		"full is false":      {&retryv1.Policy{Jitter: &retryv1.Jitter{Kind: &retryv1.Jitter_Full{}}}, []string{"jitter.full"}},
		"equal is false":     {&retryv1.Policy{Jitter: &retryv1.Jitter{Kind: &retryv1.Jitter_Equal{}}}, []string{"jitter.equal"}},
		"decorrelated false": {&retryv1.Policy{Jitter: &retryv1.Jitter{Kind: &retryv1.Jitter_Decorrelated{}}}, []string{"jitter.decorrelated"}},
		"several at once": {&retryv1.Policy{
			MaxElapsed: badDuration,
			RetryAfter: &retryv1.RetryAfter{Cap: badDuration},
			Schedule:   &retryv1.Policy_Dates{Dates: &retryv1.DateList{Times: []*timestamppb.Timestamp{timestamppb.New(time.Unix(1, 0)), badTime}}},
			PauseWindows: []*retryv1.PauseWindow{
				{Days: []retryv1.DayOfWeek{1, 0, 8}, StartTime: badTime, Spread: badDuration},
			},
		}, []string{
			"dates.times[1]", "max_elapsed", "retry_after.cap",
			"pause_windows[0].start_time", "pause_windows[0].spread", "pause_windows[0].days[1]", "pause_windows[0].days[2]",
		}},
	} {
		_, violations := wire.PolicyFromProto(tc.p)
		var got []string
		for _, v := range violations {
			got = append(got, v.Field)
		}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestUnknownEnumsAreRefused(t *testing.T) {
	t.Parallel()
	// 257 would be 1, a good action, if it were just cut to a byte.
	p, _ := wire.PolicyFromProto(&retryv1.Policy{
		Id: "p", DisplayName: "p", DefaultAction: 257,
		RetryAfter: &retryv1.RetryAfter{Mode: 259},
		Rules:      []*retryv1.Rule{{Action: -255, Match: &retryv1.Match{ConnectionKinds: []retryv1.ConnectionFailure_Kind{257}}}},
	})
	named := map[string]bool{}
	for _, v := range p.Validate(0) {
		named[v.Field] = true
	}
	for _, field := range []string{"default_action", "retry_after.mode", "rules[0].action", "rules[0].match.connection_kinds[0]"} {
		if !named[field] {
			t.Errorf("%s is not refused: %v", field, named)
		}
	}
	f := wire.Failure(&retryv1.Failure{Cause: &retryv1.Failure_Connection{Connection: &retryv1.ConnectionFailure{Kind: 257}}})
	if len(f.Validate()) == 0 {
		t.Errorf("an unknown kind of connection failure is taken for %v", f.ConnectionKind)
	}
}
