package main

import (
	"slices"
	"testing"
)

func TestSharpestSecondIsAHerdAndNotADecay(t *testing.T) {
	t.Parallel()
	var decay []int
	for n := 6000; n > 10; n = n * 9 / 10 {
		decay = append(decay, n)
	}
	herd := slices.Clone(decay)
	herd[5] += 9000
	between := slices.Clone(decay)
	between[5] += 6000
	between[6] += 6000
	few := append(slices.Clone(decay), 0, 0, 0, 9, 0, 0)
	for _, c := range []struct {
		name      string
		perSecond []int
		spike     bool
	}{
		{"what falls off evenly", decay, false},
		{"what ends at once", append(slices.Repeat([]int{4000}, 8), make([]int, 8)...), false},
		{"a herd in one second", herd, true},
		{"a herd in two", between, true},
		{"a few after nothing", few, false},
		{"nothing at all", make([]int, 8), false},
	} {
		if times, at := sharpest(c.perSecond, 2); (times > mostSpike) != c.spike {
			t.Errorf("%s: second %d stands out %.1f times, a spike is above %.1f: %d", c.name, at, times, mostSpike, c.perSecond)
		}
	}
}
