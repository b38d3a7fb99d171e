package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/retryd/retryd/scheduler"
)

// quotaGauges tell of the namespaces that a file of quotas names: those are as many as
// whoever runs the server wants.
type quotaGauges struct {
	sched      *scheduler.Scheduler
	use, limit *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (g *quotaGauges) Describe(to chan<- *prometheus.Desc) {
	to <- g.use
	to <- g.limit
}

// Collect implements [prometheus.Collector].
func (g *quotaGauges) Collect(to chan<- prometheus.Metric) {
	for _, u := range g.sched.QuotaUses() {
		for kind, limit := range u.Limit {
			if limit == 0 {
				continue
			}
			quota := scheduler.QuotaKind(kind).String()
			to <- prometheus.MustNewConstMetric(g.use, prometheus.GaugeValue, float64(u.Used[kind]), u.Namespace, quota)
			to <- prometheus.MustNewConstMetric(g.limit, prometheus.GaugeValue, float64(limit), u.Namespace, quota)
		}
	}
}
