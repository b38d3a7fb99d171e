package telemetry

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// flushInterval is how long a line may wait to be written.
	flushInterval = 100 * time.Millisecond
	// flushBytes is how much is written without waiting for that.
	flushBytes = 64 << 10
	// maxBuffered is how much waits while whoever reads the log is slow. Past it lines
	// are dropped, and counted: no log is worth a call that waits for it.
	maxBuffered = 4 << 20
)

// LogBuffer gathers lines of log and has them written together, by Run: so that many
// lines cost few writes, and none of them waits for a slow reader. Lines that must not
// be lost go past it, by Direct.
type LogBuffer struct {
	full    chan struct{}
	dropped atomic.Int64

	// writing is held while anything is written to w.
	writing sync.Mutex
	w       io.Writer

	mu   sync.Mutex
	buf  []byte
	free []byte
}

// NewLogBuffer returns one that writes to w.
func NewLogBuffer(w io.Writer) *LogBuffer {
	return &LogBuffer{w: w, full: make(chan struct{}, 1)}
}

// add takes a line, or drops it where too much waits already.
func (b *LogBuffer) add(line []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.buf)+len(line) > maxBuffered {
		b.dropped.Add(1)
		return
	}
	b.buf = append(b.buf, line...)
	if len(b.buf) >= flushBytes {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
}

// Dropped is how many lines have been dropped.
func (b *LogBuffer) Dropped() int64 { return b.dropped.Load() }

// Direct is a writer of lines that are written at once.
func (b *LogBuffer) Direct() io.Writer { return direct{b} }

type direct struct{ b *LogBuffer }

// Write implements [io.Writer].
func (d direct) Write(line []byte) (int, error) {
	d.b.writing.Lock()
	defer d.b.writing.Unlock()
	return d.b.w.Write(line)
}

// Run writes what waits, until ctx ends, and then the rest.
func (b *LogBuffer) Run(ctx context.Context) error {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			b.Flush()
			return nil
		case <-tick.C:
		case <-b.full:
		}
		b.Flush()
	}
}

// Flush writes what waits.
func (b *LogBuffer) Flush() {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	out := b.buf
	b.buf, b.free = b.free[:0], nil
	b.mu.Unlock()
	if len(out) > 0 {
		// There is nowhere to tell of a log that cannot be written.
		_, _ = b.w.Write(out)
	}
	b.mu.Lock()
	b.free = out[:0]
	b.mu.Unlock()
}
