package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/retryd/retryd/client"
)

// timeline prints what happens, and notes how each event ends.
type timeline struct {
	began time.Time
	// ended is closed when every event has.
	ended chan struct{}

	mu     sync.Mutex
	out    io.Writer
	events []event
	ends   map[string]end // by id
}

type end struct {
	ending
	attempts int
	took     time.Duration
}

func newTimeline(out io.Writer, evs []event) *timeline {
	return &timeline{
		began: time.Now(), ended: make(chan struct{}),
		out: out, events: evs, ends: make(map[string]end),
	}
}

func (t *timeline) succeeded(id string, done *client.Completion) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line(id, done.Attempts, "delivered")
	t.end(id, end{ending: delivered(), attempts: done.Attempts})
}

func (t *timeline) failed(id string, err error, d *client.Decision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line(id, d.Attempt, "%s -> %s", client.FailureFrom(err).Cause, d)
	if d.Action == client.ActionDeadLetter {
		for _, step := range d.Explanation {
			t.line(id, d.Attempt, "  because %s", step)
		}
		t.end(id, end{ending: dead(d.Reason), attempts: d.Attempt})
	}
}

// line prints what happened. Callers hold mu.
func (t *timeline) line(id string, attempt int, format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, "t+%5d ms  %-12s attempt %d  %s\n",
		time.Since(t.began).Milliseconds(), nameOf(id), attempt, fmt.Sprintf(format, args...))
}

// end notes how an event ended. Callers hold mu.
func (t *timeline) end(id string, e end) {
	if _, known := t.ends[id]; known {
		return
	}
	e.took = time.Since(t.began)
	t.ends[id] = e
	if len(t.ends) == len(t.events) {
		close(t.ended)
	}
}

// summary prints how each event ended, and returns an error unless that is as
// expected.
func (t *timeline) summary() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "\nevent\tended\tattempts\tafter\tas expected\n")
	for _, ev := range t.events {
		e, ended := t.ends[ev.id()]
		how, as := "not at all", "yes"
		if ended {
			how = e.String()
		}
		if !ended || e.ending != ev.want {
			as = "no: " + ev.want.String()
			errs = append(errs, fmt.Errorf("%s ended %s, not %s", ev.name, how, ev.want))
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d ms\t%s\n", ev.name, how, e.attempts, e.took.Milliseconds(), as)
	}
	return errors.Join(append(errs, w.Flush())...)
}
