package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/retryd/retryd/client"
)

// event is something that happened, to be told to a destination, and what is
// expected to become of it.
type event struct {
	name string
	run  string // tells this run's events from an earlier run's
	hook hook
	want ending
	// then is done once the first attempt was reported; nil for nothing.
	then func()
}

// hook is what an attempt needs to know. It travels as the task's payload.
type hook struct {
	URL  string `json:"url"`
	Body string `json:"body"`
}

// ending is how an event ended.
type ending struct {
	state  client.State
	reason client.Reason // with StateDead
}

func delivered() ending                { return ending{state: client.StateSucceeded} }
func dead(reason client.Reason) ending { return ending{state: client.StateDead, reason: reason} }
func (e event) id() string             { return e.name + "-" + e.run }
func nameOf(id string) string          { return id[:strings.LastIndexByte(id, '-')] }
func (e ending) String() string {
	if e.state == client.StateSucceeded {
		return "delivered"
	}
	return "dead letter, " + string(e.reason)
}

// events are one of each kind.
func events(d *destination) []event {
	run := strings.ToLower(rand.Text()[:8])
	ev := func(name, url string, want ending) event {
		return event{name: name, run: run, hook: hook{URL: url, Body: "event " + name}, want: want}
	}
	refused := ev("refused", d.lateURL("/fine"), delivered())
	refused.then = d.comeUp
	return []event{
		ev("fine", d.url("/fine"), delivered()),
		ev("unavailable", d.url("/unavailable"), delivered()),
		ev("busy", d.url("/busy"), delivered()),
		ev("slow", d.url("/slow"), delivered()),
		refused,
		ev("gone", d.url("/gone"), dead(client.ReasonNonRetryable)),
		ev("broken", d.url("/broken"), dead(client.ReasonRetriesExhausted)),
	}
}

// callTimeout is how long a destination may take to answer.
const callTimeout = time.Second

// call makes one attempt to deliver. The key is the same in every attempt, so
// that a destination can tell when it has seen the event before: its answer may
// have been lost.
func call(ctx context.Context, h hook, key string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, strings.NewReader(h.Body))
	if err != nil {
		return client.Permanent(err)
	}
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if resp != nil {
		defer func() { _ = resp.Body.Close() }()
	}
	return client.CheckHTTP(resp, err)
}

func (h hook) payload() ([]byte, error) { return json.Marshal(h) }

func parseHook(payload []byte) (h hook, err error) {
	err = json.Unmarshal(payload, &h)
	return h, err
}
