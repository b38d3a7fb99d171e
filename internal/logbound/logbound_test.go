package logbound_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/internal/logbound"
)

// TestLinesAreBounded shows how many lines there is room for in a flood, and that each
// that is allowed tells of those before it that were not.
func TestLinesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(*testing.T) {
		b := logbound.New()
		flood := func(want, missing int64) {
			t.Helper()
			var allowed, told int64
			for range 100 {
				if !b.Allow() {
					continue
				}
				allowed++
				for _, a := range b.Append([]slog.Attr{slog.Int("unlogged_before", 0)})[1:] {
					told += a.Value.Int64()
				}
			}
			if allowed != want || told != missing {
				t.Errorf("%d lines that tell of %d others, want %d and %d", allowed, told, want, missing)
			}
		}
		flood(20, 0)
		<-time.After(time.Second)
		flood(5, 80)
		<-time.After(time.Hour)
		flood(20, 95)
	})
}

// TestEachKindHasItsOwnBound floods one kind of line, which must leave others their room.
func TestEachKindHasItsOwnBound(t *testing.T) {
	t.Parallel()
	var each logbound.Each[string]
	allowed := 0
	for each.Of("a").Allow() {
		allowed++
	}
	if allowed < 20 {
		t.Errorf("a kind has room for %d lines at once, want 20", allowed)
	}
	if !each.Of("b").Allow() {
		t.Error("a flood of one kind has left another no room")
	}
}
