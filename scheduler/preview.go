package scheduler

import (
	"context"
	"fmt"

	"github.com/retryd/retryd/policy"
)

// PreviewRequest asks what a policy would decide.
type PreviewRequest struct {
	Namespace string
	// PolicyID names a policy that is kept; else Policy is tried as it stands.
	PolicyID string
	Policy   policy.Policy
	// Failures happen one after the other, each when its attempt was due; the
	// last is repeated until the task ends.
	Failures []policy.Failure
	// StartMS is when the first happens; 0 means now.
	StartMS int64
	// TaskID seeds the draws.
	TaskID     string
	DeadlineMS int64
	TimeZone   string
}

// Previewed is one decision of a preview.
type Previewed struct {
	Decision       policy.Decision
	Policy         string
	PolicyRevision int64
	FailureMS      int64
	// EarliestMS and LatestMS are what other draws could have made of NextMS.
	EarliestMS, LatestMS int64
}

// MaxPreviewed is how many decisions a preview shows at the most.
const MaxPreviewed = 1000

// Preview decides without a task, and writes nothing.
func (s *Scheduler) Preview(ctx context.Context, r PreviewRequest) ([]Previewed, error) {
	compiled, id, revision, err := s.previewPolicy(ctx, r)
	if err != nil {
		return nil, err
	}
	nowMS := r.StartMS
	if nowMS == 0 {
		nowMS = s.clock.nowMS()
	}
	if r.TimeZone != "" && !compiled.FreeWithinYear(r.TimeZone, nowMS) {
		return nil, Invalid(violation("time_zone", "%q leaves no moment outside the policy's pause windows for 366 days", r.TimeZone))
	}
	st := policy.State{
		Namespace: r.Namespace, TaskID: r.TaskID, Generation: 1, Attempt: 1, FirstAttempt: 1,
		FirstFailureMS: nowMS, DeadlineMS: r.DeadlineMS, TimeZone: r.TimeZone,
	}
	var out []Previewed
	for len(out) < MaxPreviewed {
		failure := r.Failures[min(len(out), len(r.Failures)-1)]
		d := policy.Decide(compiled, st, failure, nowMS)
		p := Previewed{Decision: d, Policy: id, PolicyRevision: revision, FailureMS: nowMS}
		if d.Action != policy.ActionRetry {
			return append(out, p), nil
		}
		p.EarliestMS, p.LatestMS = policy.Range(compiled, st, failure, nowMS)
		out = append(out, p)
		nowMS = d.NextMS
		st.Attempt = d.NextAttempt
		st.RuleRetries, st.LastDelayMS, st.LastDateMS = d.RuleRetries, d.LastDelayMS, d.LastDateMS
	}
	return out, nil
}

func (s *Scheduler) previewPolicy(ctx context.Context, r PreviewRequest) (c *policy.Compiled, id string, revision int64, err error) {
	if r.PolicyID == "" {
		p, err := s.checkPolicy(r.Policy)
		if err != nil {
			return nil, "", 0, err
		}
		return policy.Compile(p), p.ID, 0, nil
	}
	pol, err := s.ruling(ctx, r.Namespace, r.PolicyID)
	if err != nil {
		return nil, "", 0, fmt.Errorf("preview: %w", err)
	}
	if pol == nil {
		return nil, "", 0, policyNotFound(r.Namespace, r.PolicyID)
	}
	return pol.compiled, r.PolicyID, pol.revision, nil
}
