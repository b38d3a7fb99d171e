package wire

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
)

// PolicyFromProto returns a policy in the domain's terms, and what of the
// message cannot be expressed in them, fields named from the policy on. Whether
// the policy makes sense is for [policy.Policy.Validate] to say; a policy is
// valid when neither finds anything. Fields that the server sets are left out.
func PolicyFromProto(p *retryv1.Policy) (policy.Policy, []policy.Violation) {
	var r reader
	out := policy.Policy{
		ID:                  p.GetId(),
		DisplayName:         p.GetDisplayName(),
		MaxRetries:          int(p.GetMaxRetries()),
		Schedule:            r.schedule(p),
		Jitter:              r.jitter(p.GetJitter()),
		MaxElapsed:          r.duration("max_elapsed", p.GetMaxElapsed()),
		DefaultAction:       policy.Action(enum(p.GetDefaultAction())),
		RetryAfter:          r.retryAfter(p.GetRetryAfter()),
		MaxLeaseExpiries:    int(p.GetMaxLeaseExpiries()),
		Retention:           r.duration("retention", p.GetRetention()),
		DeadLetterRetention: r.duration("dead_letter_retention", p.GetDeadLetterRetention()),
	}
	r.known("default_action", p.GetDefaultAction(), "RETRY or DEAD_LETTER")
	for i, rule := range p.GetRules() {
		out.Rules = append(out.Rules, r.rule(fmt.Sprintf("rules[%d].", i), rule))
	}
	for i, w := range p.GetPauseWindows() {
		out.PauseWindows = append(out.PauseWindows, r.window(fmt.Sprintf("pause_windows[%d].", i), w))
	}
	return out, r.violations
}

// reader collects what of a policy cannot be read.
type reader struct{ violations []policy.Violation }

func (r *reader) add(field, format string, args ...any) {
	r.violations = append(r.violations, policy.Violation{Field: field, Description: fmt.Sprintf(format, args...)})
}

// connectionKinds are those of [retryv1.ConnectionFailure_Kind].
const connectionKinds = "DNS, REFUSED, RESET, TLS, UNREACHABLE or OTHER"

// known refuses a number that the API's enum does not have. The domain keeps its
// counterpart in a byte, and could not tell which number it was.
func (r *reader) known(field string, e protoreflect.Enum, allowed string) {
	if e.Descriptor().Values().ByNumber(e.Number()) == nil {
		r.add(field, "is %d; allowed: %s", e.Number(), allowed)
	}
}

func (r *reader) duration(field string, d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	if d.CheckValid() != nil {
		r.add(field, "is no valid duration; allowed: seconds and nanoseconds of the same sign, with less than a second of nanoseconds")
		return 0
	}
	return d.AsDuration()
}

func (r *reader) time(field string, t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	if t.CheckValid() != nil {
		r.add(field, "is no valid time; allowed: the years 1 to 9999, with 0 to 999,999,999 nanoseconds")
		return time.Time{}
	}
	return t.AsTime()
}

func (r *reader) schedule(p *retryv1.Policy) policy.Schedule {
	var s policy.Schedule
	switch x := p.GetSchedule().(type) {
	case *retryv1.Policy_Fixed:
		s.Fixed = &policy.FixedDelay{Delay: r.duration("fixed.delay", x.Fixed.GetDelay())}
	case *retryv1.Policy_Exponential:
		s.Exponential = &policy.ExponentialDelay{
			InitialDelay: r.duration("exponential.initial_delay", x.Exponential.GetInitialDelay()),
			Multiplier:   x.Exponential.GetMultiplier(),
			MaxDelay:     r.duration("exponential.max_delay", x.Exponential.GetMaxDelay()),
		}
	case *retryv1.Policy_Delays:
		s.Delays = &policy.DelayList{}
		for i, d := range x.Delays.GetDelays() {
			s.Delays.Delays = append(s.Delays.Delays, r.duration(fmt.Sprintf("delays.delays[%d]", i), d))
		}
	case *retryv1.Policy_Dates:
		s.Dates = &policy.DateList{}
		for i, t := range x.Dates.GetTimes() {
			s.Dates.Times = append(s.Dates.Times, r.time(fmt.Sprintf("dates.times[%d]", i), t))
		}
	}
	return s
}

func (r *reader) jitter(j *retryv1.Jitter) policy.Jitter {
	if j == nil {
		return policy.Jitter{}
	}
	flag := func(field string, on bool, kind policy.JitterKind) policy.Jitter {
		if !on {
			r.add("jitter."+field, "is false; allowed: true, or no jitter at all")
		}
		return policy.Jitter{Kind: kind}
	}
	switch k := j.GetKind().(type) {
	case *retryv1.Jitter_Proportional:
		return policy.Jitter{Kind: policy.JitterProportional, Proportion: k.Proportional}
	case *retryv1.Jitter_Full:
		return flag("full", k.Full, policy.JitterFull)
	case *retryv1.Jitter_Equal:
		return flag("equal", k.Equal, policy.JitterEqual)
	case *retryv1.Jitter_Decorrelated:
		return flag("decorrelated", k.Decorrelated, policy.JitterDecorrelated)
	}
	r.add("jitter.kind", "is missing; one of proportional, full, equal and decorrelated must be set, or no jitter at all")
	return policy.Jitter{}
}

func (r *reader) retryAfter(ra *retryv1.RetryAfter) policy.RetryAfter {
	out := policy.RetryAfter{Cap: r.duration("retry_after.cap", ra.GetCap())}
	switch ra.GetMode() {
	case retryv1.RetryAfter_MODE_UNSPECIFIED, retryv1.RetryAfter_MODE_MAX_OF:
		out.Mode = policy.RetryAfterMaxOf
	case retryv1.RetryAfter_MODE_OVERRIDE:
		out.Mode = policy.RetryAfterOverride
	case retryv1.RetryAfter_MODE_IGNORE:
		out.Mode = policy.RetryAfterIgnore
	default:
		r.known("retry_after.mode", ra.GetMode(), "MAX_OF, OVERRIDE or IGNORE")
		out.Mode = math.MaxUint8
	}
	return out
}

func (r *reader) rule(at string, rule *retryv1.Rule) policy.Rule {
	m := rule.GetMatch()
	out := policy.Rule{
		Name: rule.GetName(),
		Match: policy.Match{
			Statuses:        m.GetStatuses(),
			StatusesExcept:  m.GetStatusesExcept(),
			Timeout:         m.GetTimeout(),
			ConnectionError: m.GetConnectionError(),
			GRPCCodes:       m.GetGrpcCodes(),
			Codes:           m.GetCodes(),
			CodesExcept:     m.GetCodesExcept(),
			Outcomes:        m.GetOutcomes(),
		},
		Action:          policy.Action(enum(rule.GetAction())),
		DelayMultiplier: rule.GetDelayMultiplier(),
		MaxRetries:      int(rule.GetMaxRetries()),
		HoldCondition:   rule.GetHoldCondition(),
	}
	r.known(at+"action", rule.GetAction(), "RETRY, DEAD_LETTER or HOLD")
	for i, kind := range m.GetConnectionKinds() {
		r.known(fmt.Sprintf("%smatch.connection_kinds[%d]", at, i), kind, connectionKinds)
		out.Match.ConnectionKinds = append(out.Match.ConnectionKinds, policy.ConnectionKind(enum(kind)))
	}
	return out
}

func (r *reader) window(at string, w *retryv1.PauseWindow) policy.PauseWindow {
	out := policy.PauseWindow{
		Start:     w.GetStart(),
		End:       w.GetEnd(),
		TimeZone:  w.GetTimeZone(),
		StartTime: r.time(at+"start_time", w.GetStartTime()),
		EndTime:   r.time(at+"end_time", w.GetEndTime()),
		Spread:    r.duration(at+"spread", w.GetSpread()),
	}
	for i, day := range w.GetDays() {
		switch {
		case day == retryv1.DayOfWeek_DAY_OF_WEEK_SUNDAY:
			out.Days = append(out.Days, time.Sunday)
		case day >= retryv1.DayOfWeek_DAY_OF_WEEK_MONDAY && day <= retryv1.DayOfWeek_DAY_OF_WEEK_SATURDAY:
			out.Days = append(out.Days, time.Weekday(day))
		default:
			r.add(fmt.Sprintf("%sdays[%d]", at, i), "is %d; allowed: DAY_OF_WEEK_MONDAY to DAY_OF_WEEK_SUNDAY", day)
		}
	}
	return out
}
