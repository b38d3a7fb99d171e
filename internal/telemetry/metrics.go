package telemetry

import (
	"fmt"
	"log/slog"
	"net/http"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
)

// namespace begins the names of all metrics of our own.
const namespace = "retryd"

// Config is what Metrics needs to know.
type Config struct {
	// Log takes what goes wrong while metrics are gathered.
	Log *slog.Logger
	// Version is that of build_info.
	Version string
	// Queues is how many queues are told apart, the first by namespace and name; the
	// rest is summed up as queue "other" without a namespace. Default 200, from 0 to
	// MaxQueues.
	Queues int
	// Lines are those of the log, of which dropped ones are counted.
	Lines *LogBuffer
}

// The default of Config.Queues, and its bound.
const (
	DefaultQueues = 200
	MaxQueues     = 10_000
)

// Metrics are those of one process, in a registry of their own. They are of the
// scheduler by Tasks, of the store by Redis, of the server by Calls and Streams, and of
// what all of them are asked for at a scrape by Watch and its kin.
type Metrics struct {
	cfg      Config
	registry *prometheus.Registry
	// Tasks observes the scheduler.
	Tasks *Tasks
	rpc   *grpcprom.ServerMetrics
}

// New returns the metrics, all of them at zero.
func New(cfg Config) *Metrics {
	m := &Metrics{cfg: cfg, registry: prometheus.NewRegistry(), Tasks: newTasks(), rpc: newRPC()}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.Tasks, m.rpc,
		gauge("build_info", "Always 1; its label tells the version of the binary.", prometheus.Labels{"version": cfg.Version}, func() float64 { return 1 }),
		counter("log_lines_dropped_total", "Lines of decisions that were not logged, since whoever reads the log was too slow.", nil,
			func() float64 { return float64(cfg.Lines.Dropped()) }),
	)
	return m
}

// newRPC are the metrics of calls and streams.
func newRPC() *grpcprom.ServerMetrics {
	return grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram(
		grpcprom.WithHistogramBuckets([]float64{0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60}),
	))
}

// Calls looks on at unary calls.
func (m *Metrics) Calls() grpc.UnaryServerInterceptor { return m.rpc.UnaryServerInterceptor() }

// Streams looks on at streams.
func (m *Metrics) Streams() grpc.StreamServerInterceptor { return m.rpc.StreamServerInterceptor() }

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: scrapeLog{m.cfg.Log},
		// One gauge that fails takes nothing from the others.
		ErrorHandling: promhttp.ContinueOnError,
		// More at once would only slow each other down.
		MaxRequestsInFlight: 4,
		Registry:            m.registry,
	})
}

// scrapeLog takes what promhttp has to say.
type scrapeLog struct{ log *slog.Logger }

// Println logs one line.
func (l scrapeLog) Println(v ...any) { l.log.Warn("metrics", "error", fmt.Sprint(v...)) }

// gauge is one whose value is asked for at a scrape.
func gauge(name, help string, labels prometheus.Labels, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value)
}

// counter is one whose value is asked for at a scrape.
func counter(name, help string, labels prometheus.Labels, value func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value)
}

// counterVec is one that is counted as things happen.
func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// latencies are the buckets of durations within the service, in seconds.
func latencies() []float64 {
	return []float64{0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
}
