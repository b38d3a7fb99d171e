package simulation

import (
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/policy"
)

// policies are one of each kind, with times such that much happens within minutes.
func policies(began time.Time) []policy.Policy {
	named := func(id string, retries int, s policy.Schedule, change func(p *policy.Policy)) policy.Policy {
		p := policy.Policy{ID: id, DisplayName: id, MaxRetries: retries, Schedule: s, DefaultAction: policy.ActionRetry}
		if change != nil {
			change(&p)
		}
		return p
	}
	fixed := func(d time.Duration) policy.Schedule { return policy.Schedule{Fixed: &policy.FixedDelay{Delay: d}} }
	growing := policy.Schedule{Exponential: &policy.ExponentialDelay{InitialDelay: 2 * time.Second, Multiplier: 2, MaxDelay: 20 * time.Second}}
	jitter := func(j policy.Jitter) func(p *policy.Policy) {
		return func(p *policy.Policy) { p.Jitter, p.Retention = j, time.Minute }
	}
	at := began.Add
	return []policy.Policy{
		named("fixed", 3, fixed(5*time.Second), nil),
		named("spread", 4, growing, jitter(policy.Jitter{Kind: policy.JitterProportional, Proportion: 0.2})),
		named("full", 4, growing, jitter(policy.Jitter{Kind: policy.JitterFull})),
		named("wandering", 4, growing, jitter(policy.Jitter{Kind: policy.JitterDecorrelated})),
		named("listed", 0, policy.Schedule{Delays: &policy.DelayList{Delays: []time.Duration{0, time.Second, 30 * time.Second}}}, nil),
		named("dates", 0, policy.Schedule{Dates: &policy.DateList{Times: []time.Time{at(time.Minute), at(2 * time.Minute), at(4 * time.Minute)}}}, nil),
		named("windows", 3, fixed(8*time.Second), func(p *policy.Policy) {
			p.PauseWindows = []policy.PauseWindow{
				{StartTime: at(time.Minute), EndTime: at(100 * time.Second), Spread: 5 * time.Second},
				{StartTime: at(3 * time.Minute), EndTime: at(3*time.Minute + 30*time.Second)},
			}
		}),
		named("nightly", 3, fixed(8*time.Second), func(p *policy.Policy) {
			p.PauseWindows = []policy.PauseWindow{{Start: "00:02", End: "00:04", TimeZone: "UTC", Spread: time.Second}}
		}),
		named("holding", 3, fixed(3*time.Second), func(p *policy.Policy) {
			p.Rules = []policy.Rule{{Name: "wait", Action: policy.ActionHold, HoldCondition: "fix", Match: policy.Match{Statuses: []string{"429"}}}}
		}),
		named("fragile", 3, fixed(3*time.Second), func(p *policy.Policy) {
			p.MaxLeaseExpiries, p.DeadLetterRetention = 2, 2*time.Minute
		}),
		named("bounded", 50, fixed(4*time.Second), func(p *policy.Policy) {
			p.MaxElapsed = 40 * time.Second
			p.RetryAfter = policy.RetryAfter{Mode: policy.RetryAfterOverride}
		}),
	}
}

// setUp makes the policies, by the replica that is there first, and starts the rest.
func (w *world) setUp() {
	w.ledger.policies = make(map[string]policy.Policy)
	for _, p := range policies(w.began) {
		for _, ns := range namespaces {
			rec, err := w.replicas[0].s.CreatePolicy(w.ctx, ns, p)
			if err != nil {
				w.t.Fatal(err)
			}
			w.ledger.policies[p.ID] = rec.Policy
		}
		w.ledger.ids = append(w.ledger.ids, p.ID)
	}
	w.ledger.base = len(w.db.journal)
	synctest.Wait()
	for _, r := range w.replicas[1:] {
		w.after(w.between(0, time.Second), r.start)
	}
	for i := range w.plan.workers {
		w.workers = append(w.workers, newWorker(w, i))
	}
	for i := range w.plan.tasks {
		w.open(i)
	}
}

// namespaces have tasks of the same ids.
var namespaces = []string{"a", "b"}
