// Package heap sets how memory is collected in programs that serve calls.
package heap

import (
	"errors"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// gcPercent trades memory for processor time: a quarter of the server's time goes
	// into collections at Go's own 100, as what lives from one call to the next is
	// little beside what calls leave behind.
	gcPercent = 400
	// reserveBytes makes collections seldom also while next to nothing lives: a heap
	// of 6 MiB was collected 13 times a second, which is a tenth of the server's time.
	// It is counted as in use, but never touched, and so takes no memory.
	reserveBytes = 32 << 20
	// reserveFrom is the least limit of memory with which there is a reserve: it
	// counts against the limit, though it takes nothing, and below would cost more
	// collections than it saves.
	reserveFrom = 256 << 20
	// limitShare is how much of what the container may have is for the heap.
	limitShare = 0.9
)

// Tune sets up the collection of memory until release is called: 400 percent unless
// GOGC says otherwise, within nine tenths of the cgroup's memory, where there is such
// a limit and GOMEMLIMIT does not say otherwise, and above a reserve of 32 MiB, unless
// it has to be within less than 256 MiB.
func Tune(log *slog.Logger) (release func()) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	_, err := memlimit.Set(memlimit.WithProvider(memlimit.FromCgroup), memlimit.WithRatio(limitShare),
		memlimit.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil && !errors.Is(err, memlimit.ErrNoLimit) && !errors.Is(err, memlimit.ErrNoCgroup) {
		log.Warn("how much memory the container may have cannot be told; set GOMEMLIMIT to less than that", "error", err)
	}
	if debug.SetMemoryLimit(-1) < reserveFrom {
		return func() {}
	}
	reserve := make([]byte, reserveBytes)
	return func() { runtime.KeepAlive(reserve) }
}
