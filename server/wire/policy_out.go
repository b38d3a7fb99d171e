package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// PolicyRecord returns a policy as it is kept, with the fields that the server
// sets.
func PolicyRecord(rec *scheduler.PolicyRecord) *retryv1.Policy {
	out := PolicyToProto(&rec.Policy)
	out.Revision = rec.Revision
	out.Etag = rec.Etag()
	out.CreateTime = Time(rec.CreateMS)
	out.UpdateTime = Time(rec.UpdateMS)
	out.DeleteTime = timeOrNil(rec.DeleteMS)
	return out
}

// PolicyToProto is the inverse of [PolicyFromProto].
func PolicyToProto(p *policy.Policy) *retryv1.Policy {
	out := &retryv1.Policy{
		Id:                  p.ID,
		DisplayName:         p.DisplayName,
		MaxRetries:          int32(p.MaxRetries),
		Jitter:              jitterToProto(p.Jitter),
		MaxElapsed:          durationOrNil(p.MaxElapsed),
		DefaultAction:       retryv1.Action(p.DefaultAction),
		RetryAfter:          &retryv1.RetryAfter{Mode: retryv1.RetryAfter_Mode(p.RetryAfter.Mode) + 1, Cap: durationOrNil(p.RetryAfter.Cap)},
		MaxLeaseExpiries:    int32(p.MaxLeaseExpiries),
		Retention:           durationOrNil(p.Retention),
		DeadLetterRetention: durationOrNil(p.DeadLetterRetention),
	}
	scheduleToProto(&p.Schedule, out)
	for i := range p.Rules {
		out.Rules = append(out.Rules, ruleToProto(&p.Rules[i]))
	}
	for i := range p.PauseWindows {
		out.PauseWindows = append(out.PauseWindows, windowToProto(&p.PauseWindows[i]))
	}
	return out
}

func scheduleToProto(s *policy.Schedule, out *retryv1.Policy) {
	switch {
	case s.Fixed != nil:
		out.Schedule = &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(s.Fixed.Delay)}}
	case s.Exponential != nil:
		out.Schedule = &retryv1.Policy_Exponential{Exponential: &retryv1.ExponentialDelay{
			InitialDelay: durationpb.New(s.Exponential.InitialDelay),
			Multiplier:   s.Exponential.Multiplier,
			MaxDelay:     durationOrNil(s.Exponential.MaxDelay),
		}}
	case s.Delays != nil:
		list := &retryv1.DelayList{}
		for _, d := range s.Delays.Delays {
			list.Delays = append(list.Delays, durationpb.New(d))
		}
		out.Schedule = &retryv1.Policy_Delays{Delays: list}
	case s.Dates != nil:
		list := &retryv1.DateList{}
		for _, t := range s.Dates.Times {
			list.Times = append(list.Times, timestamppb.New(t))
		}
		out.Schedule = &retryv1.Policy_Dates{Dates: list}
	}
}

func jitterToProto(j policy.Jitter) *retryv1.Jitter {
	switch j.Kind {
	case policy.JitterProportional:
		return &retryv1.Jitter{Kind: &retryv1.Jitter_Proportional{Proportional: j.Proportion}}
	case policy.JitterFull:
		return &retryv1.Jitter{Kind: &retryv1.Jitter_Full{Full: true}}
	case policy.JitterEqual:
		return &retryv1.Jitter{Kind: &retryv1.Jitter_Equal{Equal: true}}
	case policy.JitterDecorrelated:
		return &retryv1.Jitter{Kind: &retryv1.Jitter_Decorrelated{Decorrelated: true}}
	default:
		return nil
	}
}

func ruleToProto(r *policy.Rule) *retryv1.Rule {
	m := &r.Match
	match := &retryv1.Match{
		Statuses:        m.Statuses,
		StatusesExcept:  m.StatusesExcept,
		Timeout:         m.Timeout,
		ConnectionError: m.ConnectionError,
		GrpcCodes:       m.GRPCCodes,
		Codes:           m.Codes,
		CodesExcept:     m.CodesExcept,
		Outcomes:        m.Outcomes,
	}
	for _, kind := range m.ConnectionKinds {
		match.ConnectionKinds = append(match.ConnectionKinds, retryv1.ConnectionFailure_Kind(kind))
	}
	return &retryv1.Rule{
		Name:            r.Name,
		Match:           match,
		Action:          retryv1.Action(r.Action),
		DelayMultiplier: r.DelayMultiplier,
		MaxRetries:      int32(r.MaxRetries),
		HoldCondition:   r.HoldCondition,
	}
}

func windowToProto(w *policy.PauseWindow) *retryv1.PauseWindow {
	out := &retryv1.PauseWindow{
		Start:    w.Start,
		End:      w.End,
		TimeZone: w.TimeZone,
		Spread:   durationOrNil(w.Spread),
	}
	if !w.StartTime.IsZero() {
		out.StartTime = timestamppb.New(w.StartTime)
	}
	if !w.EndTime.IsZero() {
		out.EndTime = timestamppb.New(w.EndTime)
	}
	for _, day := range w.Days {
		if day == time.Sunday {
			out.Days = append(out.Days, retryv1.DayOfWeek_DAY_OF_WEEK_SUNDAY)
		} else {
			out.Days = append(out.Days, retryv1.DayOfWeek(day))
		}
	}
	return out
}

func durationOrNil(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
