package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
	"github.com/retryd/retryd/server/access"
)

// Watch adds what a scheduler and its server are asked for at a scrape.
func (m *Metrics) Watch(sched *scheduler.Scheduler, srv *server.Server) {
	m.watchScheduler(sched)
	m.watchServer(srv)
}

func (m *Metrics) watchScheduler(sched *scheduler.Scheduler) {
	for kind := range scheduler.NumFindings {
		m.registry.MustRegister(counter("audit_repairs_total", "What this replica's auditor has found not to fit together, and mended where it could, by kind.",
			prometheus.Labels{"kind": kind.String()}, func() float64 { return float64(sched.AuditCounts().Found[kind]) }))
	}
	for kind := range scheduler.NumQuotas {
		m.registry.MustRegister(counter("quota_refusals_total", "Reports, streams and attempts that this replica has refused because a namespace's quota was used up, by quota.",
			prometheus.Labels{"quota": kind.String()}, func() float64 { return float64(sched.QuotaRefusals()[kind]) }))
	}
	m.registry.MustRegister(
		&quotaGauges{
			sched: sched,
			use:   prometheus.NewDesc(namespace+"_quota_use", "What a namespace with quotas of its own uses, over all replicas, by quota.", []string{"namespace", "quota"}, nil),
			limit: prometheus.NewDesc(namespace+"_quota_limit", "The quotas of a namespace that has its own.", []string{"namespace", "quota"}, nil),
		},
		gauge("audit_round_duration_seconds", "How long this replica's auditor took for its last walk over all that is kept.", nil,
			func() float64 { return sched.AuditCounts().LastWalk.Seconds() }),
		counter("audit_unrepaired_total", "What this replica's auditor has found and left, since nobody can know what is right.", nil,
			func() float64 { return float64(sched.AuditCounts().Left) }),
		gauge("leases_out", "Attempts that workers of this replica's streams have out.", nil,
			func() float64 { return float64(sched.Load().LeasesOut) }),
		gauge("stream_credit", "How many more attempts the workers of this replica's streams would take.", nil,
			func() float64 { return float64(sched.Load().FreeCredit) }),
		gauge("clock_offset_seconds", "How far the store's clock is ahead of this machine's.", nil,
			func() float64 { return float64(sched.Info().ClockOffsetMS) / 1000 }),
		gauge("durability_reached", "1 if the store keeps what it takes as safe as was asked for, or nothing was asked for; else 0.", nil,
			func() float64 { return one(reached(sched.Info().Store)) }),
		&infoGauge{
			desc:   prometheus.NewDesc(namespace+"_durability_info", "Always 1; its labels tell the durability asked for and found.", []string{"asked", "found"}, nil),
			labels: func() []string { i := sched.Info().Store; return []string{asked(i.Asked), i.Found.String()} },
		},
	)
}

// reached says whether a store keeps what it takes as safe as it was told to, as far as
// it tells.
func reached(i scheduler.StoreInfo) bool {
	return i.Asked == scheduler.DurabilityUnknown || i.Found == scheduler.DurabilityUnknown || i.Found >= i.Asked
}

// asked names a durability that was asked for, as `retryd status` does.
func asked(d scheduler.Durability) string {
	if d == scheduler.DurabilityUnknown {
		return "none"
	}
	return d.String()
}

func (m *Metrics) watchServer(srv *server.Server) {
	m.registry.MustRegister(
		gauge("streams", "Streams under way, but for watches of health.", nil, func() float64 { return float64(srv.OpenStreams()) }),
		counter("panics_total", "Panics that were caught; each is a bug.", nil, func() float64 { return float64(srv.Counters().Panics) }),
		counter("internal_errors_total", "Calls and items answered with INTERNAL; each is a bug.", nil, func() float64 { return float64(srv.Counters().InternalErrors) }),
		counter("slow_consumers_total", "Streams that were cut because nobody read from them.", nil, func() float64 { return float64(srv.Counters().SlowConsumers) }),
		counter("connections_refused_total", "Connections that were one too many.", nil, func() float64 { return float64(srv.Counters().RefusedConnections) }),
		counter("connections_abused_total", "Connections that were closed for what came by them.", nil, func() float64 { return float64(srv.Counters().AbusedConnections) }),
		counter("reads_slowed_total", "How often reading from a connection was put off, since its host sends much that nothing comes of.", nil, func() float64 { return float64(srv.Counters().SlowedReads) }),
		counter("streams_refused_total", "Streams that were one too many, watches of health as well.", nil, func() float64 { return float64(srv.Counters().RefusedStreams) }),
	)
	for _, reason := range access.Reasons() {
		m.registry.MustRegister(counter("access_denials_total", "Calls and streams that were turned away for who their callers are.",
			prometheus.Labels{"reason": reason}, func() float64 { return float64(srv.Denials(reason)) }))
	}
}

// infoGauge is always 1; what it tells is in its labels, which may change.
type infoGauge struct {
	desc   *prometheus.Desc
	labels func() []string
}

// Describe implements [prometheus.Collector].
func (g *infoGauge) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

// Collect implements [prometheus.Collector].
func (g *infoGauge) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, 1, g.labels()...)
}

// WatchTraces adds what has become of spans, by each result's name.
func (m *Metrics) WatchTraces(results map[string]func() uint64) {
	for result, count := range results {
		m.registry.MustRegister(counter("trace_spans_total", "Spans of traces by what became of them: exported, dropped since too many waited, or failed to be exported.",
			prometheus.Labels{"result": result}, func() float64 { return float64(count()) }))
	}
}
