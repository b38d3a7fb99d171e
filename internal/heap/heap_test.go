package heap_test

import (
	"log/slog"
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
