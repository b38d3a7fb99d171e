package redisstore

import (
	"strings"
	"testing"
	"time"
)

func TestLeaversAreCountedOnForAWhile(t *testing.T) {
	t.Parallel()
	const second = time.Second
	// heard is what is heard of a primary, every 100 ms from after until the next.
	type heard struct {
		after    time.Duration
		history  string
		replicas string
	}
	for name, c := range map[string]struct {
		heard []heard
		// until is when it is heard of last.
		until time.Duration
		want  int
	}{
		"none was heard of": {nil, 0, 0},
		"all are there":     {[]heard{{0, "a", "1 2"}}, 0, 2},
		"more come":         {[]heard{{0, "a", "1"}, {second, "a", "1 2"}}, second, 2},
		"one leaves":        {[]heard{{0, "a", "1 2"}, {second, "a", "1"}}, 10 * second, 2},
		"one has left":      {[]heard{{0, "a", "1 2"}, {second, "a", "1"}}, 11 * second, 1},
		"one after the other leaves": {
			[]heard{{0, "a", "1 2 3"}, {second, "a", "2 3"}, {10900 * time.Millisecond, "a", "3"}}, 11 * second, 2,
		},
		"the second has left too": {
			[]heard{{0, "a", "1 2 3"}, {second, "a", "2 3"}, {10900 * time.Millisecond, "a", "3"}}, 21 * second, 1,
		},
		"one leaves, and another that had left is back": {
			[]heard{{0, "a", "1 2"}, {second, "a", "2"}, {10200 * time.Millisecond, "a", ""}, {10400 * time.Millisecond, "a", "1"}}, 11 * second, 2,
		},
		"one comes as another leaves": {[]heard{{0, "a", "1 2"}, {second, "a", "1 3"}}, 2 * second, 3},
		"one comes back, and leaves again": {
			[]heard{{0, "a", "1 2"}, {second, "a", "1"}, {5 * second, "a", "1 2"}, {10 * second, "a", "1"}}, 15 * second, 2,
		},
		"two of one name":              {[]heard{{0, "a", ": :"}}, 0, 2},
		"two of one name, one leaves":  {[]heard{{0, "a", ": :"}, {second, "a", ":"}}, 10 * second, 2},
		"two of one name, one is left": {[]heard{{0, "a", ": :"}, {second, "a", ":"}}, 11 * second, 1},
		"another primary":              {[]heard{{0, "a", "1 2"}, {second, "b", "1"}}, second, 1},
		"one of two leaves the old primary, the other is new": {
			[]heard{{0, "a", "1 2"}, {second, "b", ""}, {2 * second, "a", "1"}}, 2 * second, 2,
		},
	} {
		var l leavers
		began := time.UnixMilli(1_700_000_000_000)
		for i, h := range c.heard {
			until := c.until
			if i+1 < len(c.heard) {
				until = c.heard[i+1].after - 1
			}
			for at := h.after; at <= until; at += 100 * time.Millisecond {
				l.heard(h.history, strings.Fields(h.replicas), began.Add(at))
			}
		}
		if got, known := l.count(); got != c.want || known != (c.heard != nil) {
			t.Errorf("%s: %d are counted on (%v), want %d", name, got, known, c.want)
		}
	}
}

// TestLeaversOfAPrimaryThatIsSeldomHeardOf has one replica of two be away whenever the
// primary is heard of again: not as long as in between, of which nothing is known, and not
// for ever.
func TestLeaversOfAPrimaryThatIsSeldomHeardOf(t *testing.T) {
	t.Parallel()
	for _, gap := range []time.Duration{heardPause, 9 * time.Second, leavePause, time.Hour} {
		var l leavers
		now := time.UnixMilli(1_700_000_000_000)
		l.heard("a", []string{"1", "2"}, now)
		for n := range int(leavePause / heardPause) {
			if got, _ := l.count(); got != 2 {
				t.Errorf("heard of every %s: %d are counted on after %d times, want 2", gap, got, n)
			}
			now = now.Add(gap)
			l.heard("a", []string{"1"}, now)
		}
		if got, _ := l.count(); got != 1 {
			t.Errorf("heard of every %s: %d are counted on in the end, want 1", gap, got)
		}
	}
}

func TestPrimariesAreForgotten(t *testing.T) {
	t.Parallel()
	var l leavers
	now := time.UnixMilli(1_700_000_000_000)
	one, both := []string{"1"}, []string{"1", "2"}
	l.heard("old", both, now)
	l.heard("older", both, now)
	for _, c := range []struct {
		after    time.Duration
		primary  string
		replicas []string
		want     int
	}{{time.Minute, "old", both, 2}, {forgetPause, "new", one, 1}, {forgetPause, "older", one, 1}, {forgetPause, "old", one, 2}} {
		if got := l.heard(c.primary, c.replicas, now.Add(c.after)); got != c.want {
			t.Errorf("after %s %d replicas of %s are counted on, want %d", c.after, got, c.primary, c.want)
		}
	}
}
