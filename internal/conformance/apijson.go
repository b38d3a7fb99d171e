package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/retryd/retryd/policy"
)

// duration is the API's JSON form, such as "1.5s".
type duration time.Duration

// UnmarshalJSON takes seconds only, as the API's JSON has them; ParseDuration
// alone would let "5m" through, which no server reads.
func (d *duration) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	digits := strings.TrimPrefix(strings.TrimSuffix(s, "s"), "-")
	if !strings.HasSuffix(s, "s") || strings.Trim(digits, "0123456789.") != "" {
		return fmt.Errorf("%q is no duration of the API's JSON", s)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("duration: %w", err)
	}
	*d = duration(v)
	return nil
}

type wirePolicy struct {
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	MaxRetries  int    `json:"max_retries"`
	Fixed       *struct {
		Delay duration `json:"delay"`
	} `json:"fixed"`
	Exponential *struct {
		InitialDelay duration `json:"initial_delay"`
		Multiplier   float64  `json:"multiplier"`
		MaxDelay     duration `json:"max_delay"`
	} `json:"exponential"`
	Delays *struct {
		Delays []duration `json:"delays"`
	} `json:"delays"`
	Dates *struct {
		Times []time.Time `json:"times"`
	} `json:"dates"`
	Jitter *struct {
		Proportional *float64 `json:"proportional"`
		Full         bool     `json:"full"`
		Equal        bool     `json:"equal"`
		Decorrelated bool     `json:"decorrelated"`
	} `json:"jitter"`
	MaxElapsed    duration   `json:"max_elapsed"`
	Rules         []wireRule `json:"rules"`
	DefaultAction string     `json:"default_action"`
	RetryAfter    struct {
		Mode string   `json:"mode"`
		Cap  duration `json:"cap"`
	} `json:"retry_after"`
	PauseWindows        []wireWindow `json:"pause_windows"`
	MaxLeaseExpiries    int          `json:"max_lease_expiries"`
	Retention           duration     `json:"retention"`
	DeadLetterRetention duration     `json:"dead_letter_retention"`
}

type wireRule struct {
	Name  string `json:"name"`
	Match struct {
		Statuses        []string `json:"statuses"`
		StatusesExcept  []string `json:"statuses_except"`
		Timeout         bool     `json:"timeout"`
		ConnectionError bool     `json:"connection_error"`
		ConnectionKinds []string `json:"connection_kinds"`
		GRPCCodes       []string `json:"grpc_codes"`
		Codes           []string `json:"codes"`
		CodesExcept     []string `json:"codes_except"`
		Outcomes        []string `json:"outcomes"`
	} `json:"match"`
	Action          string  `json:"action"`
	DelayMultiplier float64 `json:"delay_multiplier"`
	MaxRetries      int     `json:"max_retries"`
	HoldCondition   string  `json:"hold_condition"`
}

type wireWindow struct {
	Days      []string  `json:"days"`
	Start     string    `json:"start"`
	End       string    `json:"end"`
	TimeZone  string    `json:"time_zone"`
	StartTime time.Time `json:"start_time"`
	EndTime   time.Time `json:"end_time"`
	Spread    duration  `json:"spread"`
}

// DecodePolicy reads a policy in the API's JSON form. It does not validate it.
func DecodePolicy(data []byte) (policy.Policy, error) {
	var w wirePolicy
	if err := strict(data, &w); err != nil {
		return policy.Policy{}, fmt.Errorf("policy: %w", err)
	}
	p, err := w.decode()
	if err != nil {
		return policy.Policy{}, fmt.Errorf("policy %q: %w", w.ID, err)
	}
	return p, nil
}

func (w *wirePolicy) decode() (policy.Policy, error) {
	p := policy.Policy{
		ID:                  w.ID,
		DisplayName:         w.DisplayName,
		MaxRetries:          w.MaxRetries,
		MaxElapsed:          time.Duration(w.MaxElapsed),
		MaxLeaseExpiries:    w.MaxLeaseExpiries,
		Retention:           time.Duration(w.Retention),
		DeadLetterRetention: time.Duration(w.DeadLetterRetention),
	}
	p.RetryAfter.Cap = time.Duration(w.RetryAfter.Cap)
	w.decodeSchedule(&p)
	var err error
	if p.DefaultAction, err = enum[policy.Action](w.DefaultAction, "ACTION_"); err != nil {
		return p, err
	}
	if p.RetryAfter.Mode, err = enum[policy.RetryAfterMode](w.RetryAfter.Mode, "MODE_"); err != nil {
		return p, err
	}
	for _, wr := range w.Rules {
		r, err := wr.decode()
		if err != nil {
			return p, err
		}
		p.Rules = append(p.Rules, r)
	}
	for _, ww := range w.PauseWindows {
		pw, err := ww.decode()
		if err != nil {
			return p, err
		}
		p.PauseWindows = append(p.PauseWindows, pw)
	}
	return p, nil
}

func (w *wirePolicy) decodeSchedule(p *policy.Policy) {
	if w.Fixed != nil {
		p.Schedule.Fixed = &policy.FixedDelay{Delay: time.Duration(w.Fixed.Delay)}
	}
	if e := w.Exponential; e != nil {
		p.Schedule.Exponential = &policy.ExponentialDelay{
			InitialDelay: time.Duration(e.InitialDelay),
			Multiplier:   e.Multiplier,
			MaxDelay:     time.Duration(e.MaxDelay),
		}
	}
	if w.Delays != nil {
		p.Schedule.Delays = &policy.DelayList{}
		for _, d := range w.Delays.Delays {
			p.Schedule.Delays.Delays = append(p.Schedule.Delays.Delays, time.Duration(d))
		}
	}
	if w.Dates != nil {
		p.Schedule.Dates = &policy.DateList{Times: w.Dates.Times}
	}
	if j := w.Jitter; j != nil {
		switch {
		case j.Proportional != nil:
			p.Jitter = policy.Jitter{Kind: policy.JitterProportional, Proportion: *j.Proportional}
		case j.Full:
			p.Jitter.Kind = policy.JitterFull
		case j.Equal:
			p.Jitter.Kind = policy.JitterEqual
		case j.Decorrelated:
			p.Jitter.Kind = policy.JitterDecorrelated
		}
	}
}

func (w *wireRule) decode() (policy.Rule, error) {
	r := policy.Rule{
		Name: w.Name,
		Match: policy.Match{
			Statuses:        w.Match.Statuses,
			StatusesExcept:  w.Match.StatusesExcept,
			Timeout:         w.Match.Timeout,
			ConnectionError: w.Match.ConnectionError,
			GRPCCodes:       w.Match.GRPCCodes,
			Codes:           w.Match.Codes,
			CodesExcept:     w.Match.CodesExcept,
			Outcomes:        w.Match.Outcomes,
		},
		DelayMultiplier: w.DelayMultiplier,
		MaxRetries:      w.MaxRetries,
		HoldCondition:   w.HoldCondition,
	}
	var err error
	if r.Action, err = enum[policy.Action](w.Action, "ACTION_"); err != nil {
		return r, err
	}
	for _, name := range w.Match.ConnectionKinds {
		kind, err := enum[policy.ConnectionKind](name, "KIND_")
		if err != nil {
			return r, err
		}
		r.Match.ConnectionKinds = append(r.Match.ConnectionKinds, kind)
	}
	return r, nil
}

func (w *wireWindow) decode() (policy.PauseWindow, error) {
	p := policy.PauseWindow{
		Start:     w.Start,
		End:       w.End,
		TimeZone:  w.TimeZone,
		StartTime: w.StartTime,
		EndTime:   w.EndTime,
		Spread:    time.Duration(w.Spread),
	}
	for _, name := range w.Days {
		day := time.Sunday
		for day <= time.Saturday && "DAY_OF_WEEK_"+strings.ToUpper(day.String()) != name {
			day++
		}
		if day > time.Saturday {
			return p, fmt.Errorf("unknown day %q", name)
		}
		p.Days = append(p.Days, day)
	}
	return p, nil
}

func decodeFailure(data json.RawMessage) (Failure, error) {
	var w struct {
		HTTP *struct {
			Status     int    `json:"status"`
			RetryAfter string `json:"retry_after"`
		} `json:"http"`
		GRPC *struct {
			Code int `json:"code"`
		} `json:"grpc"`
		Timeout    *struct{} `json:"timeout"`
		Connection *struct {
			Kind string `json:"kind"`
		} `json:"connection"`
		Outcome    *string  `json:"outcome"`
		Code       string   `json:"code"`
		Message    string   `json:"message"`
		RetryAfter duration `json:"retry_after"`
		Permanent  bool     `json:"permanent"`
	}
	if err := strict(data, &w); err != nil {
		return Failure{}, fmt.Errorf("failure: %w", err)
	}
	f := policy.Failure{
		Code:       w.Code,
		Message:    w.Message,
		RetryAfter: time.Duration(w.RetryAfter),
		Permanent:  w.Permanent,
	}
	switch {
	case w.HTTP != nil:
		f.Cause, f.HTTPStatus, f.RetryAfterHeader = policy.CauseHTTP, w.HTTP.Status, w.HTTP.RetryAfter
	case w.GRPC != nil:
		f.Cause, f.GRPCCode = policy.CauseGRPC, w.GRPC.Code
	case w.Timeout != nil:
		f.Cause = policy.CauseTimeout
	case w.Connection != nil:
		kind, err := enum[policy.ConnectionKind](w.Connection.Kind, "KIND_")
		if err != nil {
			return Failure{}, err
		}
		f.Cause, f.ConnectionKind = policy.CauseConnection, kind
	case w.Outcome != nil:
		f.Cause, f.Outcome = policy.CauseOutcome, *w.Outcome
	}
	return Failure{f, data}, nil
}

// enum reads a name with its prefix; none is the zero value.
func enum[E interface {
	~uint8
	fmt.Stringer
}](name, prefix string) (E, error) {
	if name == "" {
		return 0, nil
	}
	for v := E(0); v < 32; v++ {
		if prefix+v.String() == name {
			return v, nil
		}
	}
	return 0, fmt.Errorf("unknown name %q", name)
}
