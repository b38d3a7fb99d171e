package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/retryd/retryd/scheduler/redisstore"
)

// Redis counts calls to Redis. It is a [redisstore.Observer].
type Redis struct {
	scripts *prometheus.HistogramVec
	errors  *prometheus.CounterVec
}

var _ redisstore.Observer = (*Redis)(nil)

// Redis adds the metrics of calls to Redis, and returns what counts them.
func (m *Metrics) Redis() *Redis {
	r := &Redis{
		scripts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "redis_script_duration_seconds", Buckets: latencies(),
			Help: "How long Redis took to answer a script, with all that was sent together with it.",
		}, []string{"script"}),
		errors: counterVec("redis_errors_total", "Answers of Redis that were errors or did not come, by kind.", "kind"),
	}
	for _, name := range redisstore.ScriptNames() {
		r.scripts.WithLabelValues(name)
	}
	for _, kind := range redisstore.ErrorKinds() {
		r.errors.WithLabelValues(kind)
	}
	m.registry.MustRegister(r.scripts, r.errors)
	return r
}

// WatchRedis adds whether Redis can be used.
func (m *Metrics) WatchRedis(up func() bool) {
	m.registry.MustRegister(
		gauge("redis_up", "1 while Redis can be used, as the last checks have told, else 0.", nil, func() float64 { return one(up()) }))
}

// ScriptRan implements [redisstore.Observer].
func (r *Redis) ScriptRan(script string, took time.Duration) {
	r.scripts.WithLabelValues(script).Observe(took.Seconds())
}

// Failed implements [redisstore.Observer].
func (r *Redis) Failed(kind string) { r.errors.WithLabelValues(kind).Inc() }

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
