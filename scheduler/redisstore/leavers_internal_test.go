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
		"one of two leaves the old primary, the other is new": {
			[]heard{{0, "a", 2}, {time.Second, "b", 0}, {2 * time.Second, "a", 1}}, 2,
		},
	} {
		var l leavers
		began := time.UnixMilli(1_700_000_000_000)
		for _, h := range c.heard {
			l.heard(h.history, h.connected, began.Add(h.after))
		}
		if got, known := l.count(); got != c.want || known != (c.heard != nil) {
			t.Errorf("%s: %d are counted on (%v), want %d", name, got, known, c.want)
		}
	}
}

func TestPrimariesAreForgotten(t *testing.T) {
	t.Parallel()
	var l leavers
	now := time.UnixMilli(1_700_000_000_000)
	l.heard("old", 2, now)
	l.heard("older", 2, now)
	for _, c := range []struct {
		after     time.Duration
		primary   string
		connected int
		want      int
	}{{time.Minute, "old", 2, 2}, {forgetPause, "new", 1, 1}, {forgetPause, "older", 1, 1}, {forgetPause, "old", 1, 2}} {
		if got := l.heard(c.primary, c.connected, now.Add(c.after)); got != c.want {
			t.Errorf("after %s %d replicas of %s are counted on, want %d", c.after, got, c.primary, c.want)
		}
	}
}
