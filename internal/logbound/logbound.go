// Package logbound bounds the lines of log that callers can cause, so that a flood of
// what is refused does not fill the disk. It must not import anything of the project.
package logbound

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// After a burst of lines of one kind there are so many a second.
const (
	lines = 5
	burst = 20
)

// Bound is the bound of lines of one kind. Make it with [New].
type Bound struct {
	lines    *rate.Limiter
	unlogged atomic.Int64
}

// New returns one that has room for a whole burst.
func New() *Bound { return &Bound{lines: rate.NewLimiter(lines, burst)} }

// Allow says whether there is room for a line now. A line that has none is counted.
func (b *Bound) Allow() bool {
	if b.lines.Allow() {
		return true
	}
	b.unlogged.Add(1)
	return false
}

// Append ends the attributes of a line that is allowed with how many had no room before
// it, where there are any.
func (b *Bound) Append(attrs []slog.Attr) []slog.Attr {
	if n := b.unlogged.Swap(0); n > 0 {
		attrs = append(attrs, slog.Int64("unlogged_before", n))
	}
	return attrs
}

// Each has a [Bound] for each kind of line. None is ever forgotten, so that kinds must be
// few, and not be made up by callers. The zero value is ready.
type Each[K comparable] struct{ bounds sync.Map }

// Of is the bound of a kind.
func (e *Each[K]) Of(kind K) *Bound {
	kept, ok := e.bounds.Load(kind)
	if !ok {
		kept, _ = e.bounds.LoadOrStore(kind, New())
	}
	return kept.(*Bound) //nolint:forcetypeassert // nothing else is put there
}
