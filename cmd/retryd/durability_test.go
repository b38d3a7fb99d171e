package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/retryd/retryd/scheduler"
)

// TestDurabilityIsToldWhenItChanges has one log hear of one state after the other.
func TestDurabilityIsToldWhenItChanges(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	l := durabilityLog{log: slog.New(slog.NewTextHandler(&text, nil))}
	const replicated, memory, everysec = scheduler.DurabilityReplicated, scheduler.DurabilityMemory, scheduler.DurabilityEverySecond
	for i, c := range []struct {
		found, disk scheduler.Durability
		replicas    int
		level, says string
	}{
		{replicated, memory, 2, "WARN", "in memory only"},
		{replicated, memory, 2, "", ""},
		{replicated, memory, 1, "INFO", "another number"},
		{replicated, everysec, 1, "INFO", "redis keeps what is acknowledged"},
		{replicated, scheduler.DurabilityUnknown, 1, "INFO", "redis keeps what is acknowledged"},
		{replicated, memory, 1, "WARN", "in memory only"},
		{memory, memory, 1, "WARN", "KEEPS NOTHING ON DISK"},
		{everysec, everysec, 1, "INFO", "redis keeps what is acknowledged"},
		{scheduler.DurabilityUnknown, scheduler.DurabilityUnknown, 1, "WARN", "does not tell"},
	} {
		text.Reset()
		l.tell(t.Context(), scheduler.StoreInfo{Asked: replicated, Found: c.found, Disk: c.disk, Replicas: c.replicas})
		if c.level == "" {
			if text.Len() > 0 {
				t.Errorf("%d: nothing is new, and it says %s", i, &text)
			}
			continue
		}
		if got := text.String(); !strings.Contains(got, "level="+c.level) || !strings.Contains(got, c.says) {
			t.Errorf("%d: want %s %q, it says %s", i, c.level, c.says, got)
		}
	}
}
