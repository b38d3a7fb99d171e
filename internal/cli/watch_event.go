package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/retryd/retryd/client"
)

// event is a line of watch. Its names in JSON are those of the API where it has the
// same; they are kept as they are.
type event struct {
	// Event is "due", and with --lease "taken", then "succeeded", "failed",
	// "released" or "refused".
	Event       string            `json:"event"`
	Time        string            `json:"time"`
	TaskID      string            `json:"taskId"`
	Queue       string            `json:"queue"`
	Group       string            `json:"group,omitempty"`
	Attempt     int               `json:"attempt"`
	Delivery    int               `json:"delivery,omitempty"`
	Generation  int               `json:"generation"`
	Trigger     string            `json:"trigger"`
	DueTime     string            `json:"dueTime"`
	RetriesLeft int               `json:"retriesLeft"`
	LastFailure string            `json:"lastFailure,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	// Payload is in base64, as in the API.
	Payload []byte `json:"payload,omitempty"`

	// Failure is how this attempt failed, Decision what then became of the task, and
	// Error why the server refused the result.
	Failure         string `json:"failure,omitempty"`
	Decision        string `json:"decision,omitempty"`
	NextAttemptTime string `json:"nextAttemptTime,omitempty"`
	Error           string `json:"error,omitempty"`

	late time.Duration
}

func eventOf(name string, now time.Time, a *client.Attempt) event {
	ev := event{
		Event: name, Time: timeText(now), TaskID: a.TaskID, Queue: a.Queue, Group: a.Group, Attempt: a.Number,
		Delivery: a.Delivery, Generation: a.Generation, Trigger: string(a.Trigger), DueTime: timeText(a.DueTime),
		RetriesLeft: a.RetriesLeft, Attributes: a.Attributes, Payload: a.Payload, late: now.Sub(a.DueTime),
	}
	if a.LastFailure != nil {
		ev.LastFailure = a.LastFailure.Error()
	}
	return ev
}

// timeText is a time as the API's JSON has it; empty for none.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.999Z")
}

// words are those of a line for people.
func (ev *event) words() string {
	out := []string{fmt.Sprintf("attempt %d", ev.Attempt)}
	switch ev.Event {
	case "due", "taken":
		if ev.Delivery > 1 {
			out = append(out, fmt.Sprintf("delivery %d", ev.Delivery))
		}
		if ev.Trigger != string(client.TriggerRetry) {
			out = append(out, ev.Trigger)
		}
		out = append(out, "due "+span(max(0, ev.late))+" ago", retriesWords(ev.RetriesLeft))
		if ev.LastFailure != "" {
			out = append(out, "after "+ev.LastFailure)
		}
	case "failed":
		out = append(out, ev.Failure, ev.Decision)
	case "refused":
		out = append(out, ev.Error)
	}
	return strings.Join(out, ", ")
}

func retriesWords(n int) string {
	switch n {
	case 0:
		return "the last"
	case 1:
		return "1 retry left"
	default:
		return fmt.Sprintf("%d retries left", n)
	}
}

// printer prints events one after the other, beside those who meet them.
type printer struct {
	s      *session
	events chan event
	quit   chan struct{}
	done   sync.WaitGroup
	err    error
}

// newPrinter returns one that calls failed when it cannot print.
func newPrinter(s *session, failed context.CancelCauseFunc) *printer {
	// A worker must not wait for whoever reads what it prints. Of each attempt that
	// it holds there is one event at most that nobody waits to be taken, and it
	// holds 1,000.
	p := &printer{s: s, events: make(chan event, 1000), quit: make(chan struct{})}
	p.done.Go(func() {
		for ev, ok := p.next(); ok; ev, ok = p.next() {
			if p.err == nil {
				if p.err = p.write(&ev); p.err != nil {
					failed(p.err)
				}
			}
		}
	})
	return p
}

// next is the next event, until it is closed and all are printed.
func (p *printer) next() (ev event, ok bool) {
	select {
	case ev = <-p.events:
		return ev, true
	case <-p.quit:
	}
	select {
	case ev = <-p.events:
		return ev, true
	default:
		return event{}, false
	}
}

// put prints an event, once those before it are printed. What comes after close,
// as from a command that could not be ended, is dropped.
func (p *printer) put(ev event) {
	select {
	case p.events <- ev:
	case <-p.quit:
	}
}

// close waits until all is printed.
func (p *printer) close() error {
	close(p.quit)
	p.done.Wait()
	return p.err
}

func (p *printer) write(ev *event) error {
	if p.s.forPeople() {
		return p.s.say("%s  %-9s  %s  %s  %s", absolute(p.s.env.Now()), ev.Event, ev.Queue, ev.TaskID, ev.words())
	}
	if p.s.format == formatYAML {
		text, err := yamlOfValue(ev)
		if err == nil {
			_, err = p.s.env.Out.Write(slices.Concat([]byte("---\n"), text))
		}
		return err
	}
	data, err := json.Marshal(ev)
	if err == nil {
		_, err = p.s.env.Out.Write(append(data, '\n'))
	}
	return err
}
