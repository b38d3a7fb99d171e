package main

import (
	"slices"
	"testing"
	"time"
)

func TestSinceLastIsSinceTheLastBefore(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	got := sinceLast([]time.Time{at(27), at(5), at(11), at(13)}, []time.Time{at(10), at(20)})
	if want := []time.Duration{time.Second, 3 * time.Second, 7 * time.Second}; !slices.Equal(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}
