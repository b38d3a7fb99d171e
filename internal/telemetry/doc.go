// Package telemetry makes visible what the service does: metrics for Prometheus, and a
// line of log for every decision. It looks on, by the observers of the packages that do
// the work, and is joined to them in cmd/retryd alone: neither the scheduler nor a store
// knows of Prometheus.
//
// The names and labels of all metrics are in docs/metrics.md, to which a test holds
// them. Labels that callers could make up are namespaces and queues alone, of which no
// more are told apart than [Config] allows.
package telemetry
