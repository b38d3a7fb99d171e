package telemetry

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

// Tasks counts what becomes of tasks. It is a [scheduler.Observer], and costs the path
// of a report a few additions: what may be counted often is looked up beforehand.
type Tasks struct {
	reports     *prometheus.CounterVec
	decisions   *prometheus.CounterVec
	handedOut   *prometheus.CounterVec
	duplicates  *prometheus.CounterVec
	dead        *prometheus.CounterVec
	holds       prometheus.Counter
	redelivered prometheus.Counter
	expired     prometheus.Counter
	lateness    prometheus.Histogram

	// failed and succeeded are of the two kinds of report.
	failed, succeeded reportCounters
	// decided is by action and reason, diedOf by reason, byTrigger by trigger.
	decided   [policy.ActionHold + 1][policy.ReasonLeasesExpired + 1]prometheus.Counter
	diedOf    [policy.ReasonLeasesExpired + 1]prometheus.Counter
	byTrigger []prometheus.Counter
}

type reportCounters struct {
	kind                          string
	accepted, duplicates, dropped prometheus.Counter
}

var _ scheduler.Observer = (*Tasks)(nil)

// triggers are the API's names of what makes an attempt happen, by the scheduler's
// numbers.
func triggers() []string { return []string{"UNSPECIFIED", "RETRY", "REPLAY", "RETRY_NOW", "RELEASE"} }

// refusals are the API's reasons for which reports are refused. Each is at zero from the
// start: a counter that begins at one is to Prometheus one that has not moved.
func refusals() []string {
	out := []string{server.Reason(context.DeadlineExceeded), server.Reason(context.Canceled), server.Reason(nil)}
	for _, kind := range []scheduler.Kind{
		scheduler.KindInvalid, scheduler.KindPayloadTooLarge, scheduler.KindKeyReused,
		scheduler.KindPolicyNotFound, scheduler.KindPolicyDeleted, scheduler.KindJobNotFound, scheduler.KindTaskNotFound,
		scheduler.KindLeaseLost, scheduler.KindLeaseRequired, scheduler.KindOutOfOrder, scheduler.KindWrongState,
		scheduler.KindUnavailable, scheduler.KindUnconfirmed, scheduler.KindFull, scheduler.KindQuota,
	} {
		out = append(out, server.Reason(&scheduler.Error{Kind: kind}))
	}
	return out
}

func newTasks() *Tasks {
	m := &Tasks{
		reports:     counterVec("reports_total", "Reports of attempts, by what they told and what came of them.", "kind", "result", "reason"),
		decisions:   counterVec("decisions_total", "Decisions on failed attempts.", "action", "reason"),
		handedOut:   counterVec("attempts_handed_out_total", "Attempts handed out to workers, each delivery counted.", "trigger"),
		duplicates:  counterVec("duplicates_dropped_total", "Reports that repeated one that had its effect before, and had none.", "kind"),
		dead:        counterVec("dead_letters_total", "Tasks that became dead letters.", "reason"),
		holds:       prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "holds_total", Help: "Tasks that were put on hold until a condition is released."}),
		redelivered: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "redeliveries_total", Help: "Attempts handed out that had been handed out before."}),
		expired:     prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "lease_expiries_total", Help: "Leases that ended without a word from their workers."}),
		lateness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "lateness_seconds", Buckets: latencies(),
			Help: "From the time an attempt fell due until it was handed out, by the store's clock; of attempts whose lease has expired the first hand-out only.",
		}),
	}
	m.failed, m.succeeded = m.reportsOf("failure"), m.reportsOf("success")
	for action := range m.decided {
		for reason := range m.decided[action] {
			if possible(policy.Action(action), policy.Reason(reason)) {
				m.decided[action][reason] = m.decisions.WithLabelValues(policy.Action(action).String(), policy.Reason(reason).String())
			}
		}
	}
	for _, reason := range refusals() {
		m.reports.WithLabelValues(m.failed.kind, "refused", reason)
		m.reports.WithLabelValues(m.succeeded.kind, "refused", reason)
	}
	for reason := policy.ReasonNonRetryable; reason <= policy.ReasonLeasesExpired; reason++ {
		m.diedOf[reason] = m.dead.WithLabelValues(reason.String())
	}
	for _, name := range triggers() {
		m.byTrigger = append(m.byTrigger, m.handedOut.WithLabelValues(name))
	}
	return m
}

// possible says whether decisions of that action and reason are made.
func possible(a policy.Action, r policy.Reason) bool {
	switch r {
	case policy.ReasonUnspecified, policy.ReasonLeasesExpired:
		return false
	case policy.ReasonRetryScheduled:
		return a == policy.ActionRetry
	case policy.ReasonHeld:
		return a == policy.ActionHold
	default:
		return a == policy.ActionDeadLetter
	}
}

func (m *Tasks) reportsOf(kind string) reportCounters {
	return reportCounters{
		kind:       kind,
		accepted:   m.reports.WithLabelValues(kind, "accepted", ""),
		duplicates: m.reports.WithLabelValues(kind, "duplicate", ""),
		dropped:    m.duplicates.WithLabelValues(kind),
	}
}

// Reported implements [scheduler.Observer].
func (m *Tasks) Reported(_ context.Context, e scheduler.ReportEvent) {
	of := &m.succeeded
	if e.Report.Failure != nil {
		of = &m.failed
	}
	effective := e.Effective()
	switch {
	case e.Err != nil:
		m.reports.WithLabelValues(of.kind, "refused", server.Reason(e.Err)).Inc()
	case effective:
		of.accepted.Inc()
	default:
		of.duplicates.Inc()
		of.dropped.Inc()
	}
	if effective && e.Report.Failure != nil {
		m.decision(&e.Answer.Record.Decision)
	}
}

func (m *Tasks) decision(d *policy.Decision) {
	if int(d.Action) >= len(m.decided) || int(d.Reason) >= len(m.diedOf) {
		return
	}
	if c := m.decided[d.Action][d.Reason]; c != nil {
		c.Inc()
	}
	switch d.Action {
	case policy.ActionHold:
		m.holds.Inc()
	case policy.ActionDeadLetter:
		m.died(d.Reason)
	default:
	}
}

func (m *Tasks) died(of policy.Reason) {
	if int(of) < len(m.diedOf) && m.diedOf[of] != nil {
		m.diedOf[of].Inc()
	}
}

// HandedOut implements [scheduler.Observer].
func (m *Tasks) HandedOut(t *scheduler.Task, nowMS int64) {
	if int(t.Trigger) < len(m.byTrigger) {
		m.byTrigger[t.Trigger].Inc()
	}
	if t.Delivery > 1 {
		m.redelivered.Inc()
	}
	if t.Expiries == 0 {
		m.lateness.Observe(float64(max(0, nowMS-t.DueMS)) / 1000)
	}
}

// LeaseExpired implements [scheduler.Observer].
func (m *Tasks) LeaseExpired(*scheduler.Task) { m.expired.Inc() }

// Died implements [scheduler.Observer].
func (m *Tasks) Died(t *scheduler.Task) { m.died(t.DeadReason) }

func (m *Tasks) all() []prometheus.Collector {
	return []prometheus.Collector{
		m.reports, m.decisions, m.handedOut, m.duplicates, m.dead, m.holds, m.redelivered, m.expired, m.lateness,
	}
}

// Describe implements [prometheus.Collector].
func (m *Tasks) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (m *Tasks) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}
