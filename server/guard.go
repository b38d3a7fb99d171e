package server

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// counters are what operators should be able to see rise.
type counters struct {
	panics             atomic.Int64
	slowConsumers      atomic.Int64
	refusedConnections atomic.Int64
	abusedConnections  atomic.Int64
	slowedReads        atomic.Int64
	refusedStreams     atomic.Int64
}

// Counters are totals since the server was made.
type Counters struct {
	// Panics were caught, in handlers and elsewhere.
	Panics int64
	// InternalErrors were answered with INTERNAL, panics included.
	InternalErrors int64
	// SlowConsumers are streams that were cut because nobody read from them.
	SlowConsumers int64
	// RefusedConnections were one too many.
	RefusedConnections int64
	// AbusedConnections were closed for what came by them: more unfinished messages
	// than there is room for.
	AbusedConnections int64
	// SlowedReads is how often reading from a connection was put off, since its host
	// sends much that nothing comes of.
	SlowedReads int64
	// RefusedStreams were one too many, those that watch health as well.
	RefusedStreams int64
}

// Counters returns the totals.
func (s *Server) Counters() Counters {
	return Counters{
		Panics:             s.counters.panics.Load(),
		InternalErrors:     s.failures.internal.Load(),
		SlowConsumers:      s.counters.slowConsumers.Load(),
		RefusedConnections: s.counters.refusedConnections.Load(),
		AbusedConnections:  s.counters.abusedConnections.Load(),
		SlowedReads:        s.counters.slowedReads.Load(),
		RefusedStreams:     s.counters.refusedStreams.Load(),
	}
}

// OpenStreams is how many streams are under way, but for those that watch health.
func (s *Server) OpenStreams() int64 { return s.openStreams[callerStream].Load() }

// panicked turns a panic into the status that its caller gets. It must be called
// by the deferred function that has recovered, so that the stack is that of the
// panic.
func (s *Server) panicked(ctx context.Context, p any) error {
	s.counters.panics.Add(1)
	return s.failures.bug(ctx, "panic", fmt.Sprint(p), "stack", string(debug.Stack())).status()
}

// guarded runs what has a goroutine of its own, in which nothing else would
// recover a panic.
func (s *Server) guarded(ctx context.Context, run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(ctx, p)
		}
	}()
	return run()
}
