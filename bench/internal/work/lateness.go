package work

import (
	"slices"
	"time"
)

// latenessOf sums up how late attempts were.
func latenessOf(late []time.Duration) *Lateness {
	if len(late) == 0 {
		return nil
	}
	slices.Sort(late)
	ms := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
	early, _ := slices.BinarySearch(late, 0)
	return &Lateness{
		Min: ms(late[0]), P50: ms(late[len(late)/2]), P99: ms(late[len(late)*99/100]), Max: ms(late[len(late)-1]),
		Early: early,
	}
}
