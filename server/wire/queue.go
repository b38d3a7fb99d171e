package wire

import (
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// Quotas are those that limit something.
func Quotas(u *scheduler.QuotaUse) []*retryv1.QuotaUse {
	var out []*retryv1.QuotaUse
	for kind, limit := range u.Limit {
		if limit != 0 {
			out = append(out, &retryv1.QuotaUse{Quota: scheduler.QuotaKind(kind).String(), Limit: limit, Used: u.Used[kind]})
		}
	}
	return out
}

// Queue returns what is seen of a queue.
func Queue(q *scheduler.QueueView) *retryv1.Queue {
	out := &retryv1.Queue{
		Queue:       q.Key.Name,
		Scheduled:   q.Scheduled,
		Due:         q.Due,
		Leased:      q.Leased,
		Held:        q.Held,
		Dead:        q.Dead,
		Paused:      q.Paused,
		PausedUntil: timeOrNil(q.PausedUntilMS),
	}
	if q.Due > 0 {
		out.OldestDueAge = Milliseconds(q.OldestDueAgeMS)
	}
	for i := range q.Health {
		m := &q.Health[i]
		out.Health = append(out.Health, &retryv1.HealthMetric{
			Name:         m.Name,
			Value:        m.Value,
			HealthyRange: m.Range,
			State:        retryv1.HealthMetric_State(m.State),
		})
	}
	return out
}

// Group returns the counts of a group.
func Group(name string, g scheduler.GroupCount) *retryv1.Group {
	return &retryv1.Group{
		Group:      name,
		Total:      g.Total,
		Completed:  g.Completed,
		Failed:     g.Failed,
		Pending:    g.Pending(),
		InProgress: g.InProgress,
	}
}
