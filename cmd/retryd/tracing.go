package main

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/retryd/retryd/internal/tracing"
	"github.com/retryd/retryd/scheduler"
)

// traces are the settings of tracing.
type traces struct {
	endpoint string
	sample   float64
}

func (t *traces) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&t.endpoint, "otlp-endpoint", "", "URL of an OTLP collector that takes gRPC, to which traces are exported, such as http://127.0.0.1:4317; empty for none")
	flags.Float64Var(&t.sample, "trace-sample", tracing.DefaultSample, "share, 0 to 1, of the reports without a trace context that begin a trace; of the others, the caller has decided")
}

func (t *traces) validate(wrong func(flag, value, format string, args ...any)) {
	if t.endpoint != "" {
		if err := tracing.CheckEndpoint(t.endpoint); err != nil {
			// What stands before the host may be a password.
			at := strings.LastIndexByte(t.endpoint, '@') + 1
			wrong("otlp-endpoint", t.endpoint[at:], "%w", err)
		}
	}
	if err := tracing.CheckSample(t.sample); err != nil {
		wrong("trace-sample", strconv.FormatFloat(t.sample, 'g', -1, 64), "%w", err)
	}
}

// start begins to trace. It returns nil where there is no endpoint.
func (t *traces) start(ctx context.Context, log *slog.Logger) (*tracing.Tracing, error) {
	if t.endpoint == "" {
		return nil, nil //nolint:nilnil // tracing is off
	}
	return tracing.New(ctx, tracing.Config{Endpoint: t.endpoint, Sample: t.sample, Version: version(), Log: log})
}

// leastFlush is how long the last spans may take to be exported in any case.
const leastFlush = time.Second

// flushTraces exports what waits, in what the drain has left of its time.
func (d *daemon) flushTraces(ctx context.Context, drained time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(leastFlush, d.cfg.drainTimeout.value-drained))
	defer cancel()
	if err := d.tracing.Shutdown(ctx); err != nil {
		d.log.WarnContext(ctx, "the last spans were not exported in time", "error", err)
	}
}

// observer is what looks on at the scheduler; nil for none.
func (d *daemon) observer() scheduler.Observer {
	if d.tracing == nil {
		return nil
	}
	return d.tracing
}
