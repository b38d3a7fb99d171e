package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// warnInterval is how often it is told at most that spans get lost.
const warnInterval = time.Minute

// outlet is the SDK's batch processor with a bound of its own, so that what it drops
// is counted, and with an eye on what becomes of its exports.
type outlet struct {
	sdktrace.SpanProcessor
	ctx context.Context //nolint:containedctx // OnEnd has none
	log *slog.Logger
	// waiting are the spans on their way, those being exported among them.
	waiting                   atomic.Int64
	exported, dropped, failed atomic.Uint64
	// warnedMS is when it was last told that spans get lost, 0 while none do.
	warnedMS atomic.Int64
}

func newOutlet(ctx context.Context, exporter sdktrace.SpanExporter, log *slog.Logger) *outlet {
	o := &outlet{ctx: ctx, log: log}
	o.SpanProcessor = sdktrace.NewBatchSpanProcessor(&watched{SpanExporter: exporter, o: o},
		// It holds as much besides what is being exported, and so drops nothing itself.
		sdktrace.WithMaxQueueSize(queueSize),
		sdktrace.WithBatchTimeout(exportDelay),
		sdktrace.WithExportTimeout(exportTimeout))
	return o
}

// OnEnd takes a span, if there is room for it.
func (o *outlet) OnEnd(span sdktrace.ReadOnlySpan) {
	if o.waiting.Add(1) > queueSize {
		o.waiting.Add(-1)
		o.dropped.Add(1)
		o.warn(o.ctx, "spans are dropped: they are made faster than they are exported")
		return
	}
	o.SpanProcessor.OnEnd(span)
}

// watched is an exporter that tells the outlet what became of spans.
type watched struct {
	sdktrace.SpanExporter
	o *outlet
}

// ExportSpans exports spans. It returns no error: the SDK would write each one to
// stderr.
func (w *watched) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := w.SpanExporter.ExportSpans(ctx, spans)
	w.o.waiting.Add(-int64(len(spans)))
	if err != nil {
		w.o.failed.Add(uint64(len(spans)))
		w.o.warn(ctx, "spans cannot be exported", "error", err)
		return nil
	}
	w.o.exported.Add(uint64(len(spans)))
	if w.o.waiting.Load() < queueSize && w.o.warnedMS.Swap(0) != 0 {
		w.o.log.InfoContext(ctx, "spans are exported again", "dropped", w.o.dropped.Load(), "failed", w.o.failed.Load())
	}
	return nil
}

// warn tells that spans get lost, unless it was told a moment ago.
func (o *outlet) warn(ctx context.Context, msg string, args ...any) {
	nowMS := time.Now().UnixMilli()
	was := o.warnedMS.Load()
	if was != 0 && nowMS-was < warnInterval.Milliseconds() || !o.warnedMS.CompareAndSwap(was, nowMS) {
		return
	}
	o.log.WarnContext(ctx, msg, append(args, "dropped", o.dropped.Load(), "failed", o.failed.Load())...) //nolint:sloglint // the callers' are constant
}
