// Package report makes tables, plots and verdicts of what was measured. It
// measures nothing.
package report

import (
	"fmt"
	"math"
	"slices"
)

// Spread is some figures of one kind, one for each round.
type Spread struct {
	Median, Min, Max float64
	// N is how many there are; with none, the rest is not set.
	N int
}

// spreadOf sums figures up.
func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	s := Spread{Median: sorted[mid], Min: sorted[0], Max: sorted[len(sorted)-1], N: len(sorted)}
	if len(sorted)%2 == 0 {
		s.Median = (sorted[mid-1] + sorted[mid]) / 2
	}
	return s
}

// ratios divides the figures of each round that has both: so what the machine did
// in one round is in both figures of it. Nothing is divided by lateness that is
// earliness.
func ratios(over, under map[int]float64) Spread {
	var values []float64
	for round, v := range over {
		if u, ok := under[round]; ok && u > 0 {
			values = append(values, v/u)
		}
	}
	return spreadOf(values)
}

// values are the figures of all rounds.
func values(byRound map[int]float64) []float64 {
	var all []float64
	for _, v := range byRound {
		all = append(all, v)
	}
	return all
}

// number writes a figure with three digits that mean something, thousands with
// commas and whole numbers whole.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || v == math.Trunc(v):
		return commas(int64(math.Round(v)))
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func commas(n int64) string {
	digits := fmt.Sprint(max(n, -n))
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "-" + digits
	}
	return digits
}

// String is the median, and the range where there is one.
func (s Spread) String() string {
	switch s.N {
	case 0:
		return "-"
	case 1:
		return number(s.Median)
	default:
		return number(s.Median) + " (" + number(s.Min) + "-" + number(s.Max) + ")"
	}
}
