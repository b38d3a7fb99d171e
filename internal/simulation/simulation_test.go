package simulation_test

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/retryd/retryd/internal/simulation"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run this seed alone, and print its log with -v")
	seeds   = flag.String("seeds", "1:1000", "run the seeds from:to, both included")
)

// TestSeeds runs many seeds; each finds nothing that must not be.
func TestSeeds(t *testing.T) {
	t.Parallel()
	from, to := wanted(t)
	var mu sync.Mutex
	var sum simulation.Figures
	t.Cleanup(func() { t.Logf("%d seeds: %+v", to-from+1, sum) })
	for seed := from; seed <= to; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			got := simulation.Run(t, seed)
			mu.Lock()
			sum.Add(got.Figures)
			mu.Unlock()
			if got.Problem != "" {
				t.Errorf("%s\nthe last that happened, of %d events:\n%s\n%s\nreplay it with: go test ./internal/simulation -run TestSeeds -seed %d -v",
					got.Problem, len(got.Log), tail(got.Log, 100), got.Plan, seed)
			} else if *oneSeed != 0 {
				t.Logf("%s\n%s\n%+v", got.Plan, strings.Join(got.Log, "\n"), got.Figures)
			}
		})
	}
}

// TestSameSeedSameLog runs seeds twice: everything happens again, at the same time
// and in the same order.
func TestSameSeedSameLog(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 25; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			a, b := simulation.Run(t, seed).Log, simulation.Run(t, seed).Log
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					t.Fatalf("at event %d\n first %s\nsecond %s\nafter\n%s", i, a[i], b[i], tail(a[:i], 10))
				}
			}
			if len(a) != len(b) {
				t.Fatalf("%d events, and %d the second time", len(a), len(b))
			}
		})
	}
}

func tail(log []string, n int) string { return strings.Join(log[max(0, len(log)-n):], "\n") }

// wanted are the seeds that the flags ask for.
func wanted(t *testing.T) (from, to uint64) {
	t.Helper()
	if *oneSeed != 0 {
		return *oneSeed, *oneSeed
	}
	first, last, ok := strings.Cut(*seeds, ":")
	from, err1 := strconv.ParseUint(first, 10, 64)
	to, err2 := strconv.ParseUint(last, 10, 64)
	if !ok || err1 != nil || err2 != nil || from > to {
		t.Fatalf("-seeds is %q; it must be from:to, such as 1:1000", *seeds)
	}
	return from, to
}
