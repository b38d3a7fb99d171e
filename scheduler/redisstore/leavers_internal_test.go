package redisstore

import (
	"testing"
	"time"
)

func TestLeaversAreCountedOnForAWhile(t *testing.T) {
	t.Parallel()
	type heard struct {
		after     time.Duration
		history   string
		connected int
	}
	for name, c := range map[string]struct {
		heard []heard
		want  int
	}{
		"none was heard of": {nil, 0},
		"all are there":     {[]heard{{0, "a", 2}}, 2},
		"more come":         {[]heard{{0, "a", 1}, {time.Second, "a", 2}}, 2},
		"one leaves":        {[]heard{{0, "a", 2}, {time.Second, "a", 1}, {9 * time.Second, "a", 1}}, 2},
		"one has left":      {[]heard{{0, "a", 2}, {time.Second, "a", 1}, {11 * time.Second, "a", 1}}, 1},
		"one after the other leaves, and counts from the first on": {
			[]heard{{0, "a", 2}, {time.Second, "a", 1}, {9 * time.Second, "a", 0}, {11 * time.Second, "a", 0}}, 0,
		},
		"one comes back, and leaves again": {
			[]heard{{0, "a", 2}, {time.Second, "a", 1}, {5 * time.Second, "a", 2}, {10 * time.Second, "a", 1}, {15 * time.Second, "a", 1}}, 2,
		},
		"long not looked at": {[]heard{{0, "a", 2}, {time.Hour, "a", 1}}, 2},
		"another primary":    {[]heard{{0, "a", 2}, {time.Second, "b", 1}}, 1},
	} {
		var l leavers
		began := time.UnixMilli(1_700_000_000_000)
		for _, h := range c.heard {
			l.heard(h.history, h.connected, began.Add(h.after))
		}
		if got := l.count(); got != c.want {
			t.Errorf("%s: %d are counted on, want %d", name, got, c.want)
		}
	}
}

func TestACountIsOldAfterASecond(t *testing.T) {
	t.Parallel()
	var l leavers
	now := time.UnixMilli(1_700_000_000_000)
	if !l.stale(now) {
		t.Error("none was counted, and that counts")
	}
	l.heard("a", 1, now)
	if l.stale(now.Add(countPause - 1)) {
		t.Error("a fresh count does not count")
	}
	if !l.stale(now.Add(countPause)) {
		t.Error("an old count counts")
	}
}
