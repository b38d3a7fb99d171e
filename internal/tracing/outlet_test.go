package tracing_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/retryd/retryd/internal/tracing"
	"github.com/retryd/retryd/scheduler"
)

// collector is an exporter that the test holds up, or has fail.
type collector struct {
	mu   sync.Mutex // held up while it is locked
	fail atomic.Bool
}

func (c *collector) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail.Load() {
		return errors.New("the collector is away")
	}
	return nil
}

func (*collector) Shutdown(context.Context) error { return nil }

// newTracing returns one whose log is in the buffer once it is shut down.
func newTracing(t *testing.T, c *collector) (*tracing.Tracing, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	tr, err := tracing.New(t.Context(), tracing.Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Exporter: c})
	if err != nil {
		t.Fatal(err)
	}
	return tr, &log
}

func makeSpans(t *testing.T, tr *tracing.Tracing, n int) {
	t.Helper()
	for range n {
		_, _, end := tr.Call(t.Context(), "/retry.v1.RetryService/ReportFailure", scheduler.TraceContext{Parent: sampled}, false)
		if end == nil {
			t.Fatal("no span")
		}
		end(nil)
	}
}

// A collector that does not answer costs spans, and nobody waits for it.
func TestSpansAreDroppedAndCountedWhereTheCollectorHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const more = 1000
		var c collector
		tr, log := newTracing(t, &c)
		c.mu.Lock()
		makeSpans(t, tr, tracing.QueueSize+more)
		if got := tr.Counts(); got != (tracing.Counts{Dropped: more}) {
			t.Errorf("counts are %+v, want %d dropped", got, more)
		}
		c.mu.Unlock()
		if err := tr.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		makeSpans(t, tr, 1)
		if err := tr.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := tr.Counts(), (tracing.Counts{Exported: tracing.QueueSize + 1, Dropped: more}); got != want {
			t.Errorf("counts are %+v, want %+v", got, want)
		}
		if got := strings.Count(log.String(), "level=WARN"); got != 1 {
			t.Errorf("%d warnings, want 1:\n%s", got, log)
		}
	})
}

func TestFailedExportsAreToldOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c collector
		c.fail.Store(true)
		tr, log := newTracing(t, &c)
		const rounds, every = 100, 2 * time.Second // in 200 s there are 4 minutes begun
		for range rounds {
			makeSpans(t, tr, 1)
			<-time.After(every)
		}
		if got, want := tr.Counts(), (tracing.Counts{Failed: rounds}); got != want {
			t.Errorf("counts are %+v, want %+v", got, want)
		}
		c.fail.Store(false)
		makeSpans(t, tr, 1)
		if err := tr.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(log.String(), "level=WARN"); got != 4 {
			t.Errorf("%d warnings, want 4:\n%s", got, log)
		}
		if !strings.Contains(log.String(), "spans are exported again") {
			t.Errorf("the end of it is not told:\n%s", log)
		}
	})
}
