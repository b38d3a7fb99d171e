package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Gatherer is what a scrape is answered from.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }
