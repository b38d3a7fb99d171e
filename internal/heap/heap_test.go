package heap_test

import (
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/retryd/retryd/internal/heap"
)

//nolint:paralleltest // it is about what all tests share
func TestTune(t *testing.T) {
	was := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(was) })
	t.Setenv("GOMEMLIMIT", "1GiB") // what the process itself is told wins
	limit := debug.SetMemoryLimit(-1)
	for gogc, want := range map[string]int{"": 400, "150": 100} {
		t.Setenv("GOGC", gogc)
		debug.SetGCPercent(100)
		heap.Tune(slog.New(slog.DiscardHandler))()
		if got := debug.SetGCPercent(100); got != want {
			t.Errorf("with GOGC=%q it is %d; want %d", gogc, got, want)
		}
	}
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("the limit of memory is %d; want %d", got, limit)
	}
}

//nolint:paralleltest // it is about what all tests share
func TestReserveNeedsRoom(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	t.Setenv("GOMEMLIMIT", "set")
	for limit, want := range map[int64]bool{math.MaxInt64: true, 256 << 20: true, 256<<20 - 1: false} {
		debug.SetMemoryLimit(limit)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		release := heap.Tune(slog.New(slog.DiscardHandler))
		runtime.ReadMemStats(&after)
		release()
		if got := after.TotalAlloc-before.TotalAlloc >= 32<<20; got != want {
			t.Errorf("within %d bytes there is a reserve: %t; want %t", limit, got, want)
		}
	}
}
