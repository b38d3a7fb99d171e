package scheduler

import "slices"

// TraceContext is where a task stands in its caller's traces, in the form of W3C
// Trace Context. The scheduler keeps it with the task and reads nothing in it. The
// zero value is none.
type TraceContext struct {
	// Parent is a traceparent, of at most 255 bytes, and State the tracestate that
	// goes with it.
	Parent, State string
}

// Trace is the context of the newest report of the task that came with one: whoever
// makes its next attempt goes on from there.
func (t *Task) Trace() TraceContext {
	for i := range slices.Backward(t.History) {
		if t.History[i].Trace.Parent != "" {
			return t.History[i].Trace
		}
	}
	return TraceContext{}
}

// keepTrace drops the contexts of the records before the last where that has one of
// its own: a task keeps one, however many attempts it takes.
func keepTrace(history []AttemptRecord) {
	last := len(history) - 1
	if last < 0 || history[last].Trace.Parent == "" {
		return
	}
	for i := range history[:last] {
		history[i].Trace = TraceContext{}
	}
}
