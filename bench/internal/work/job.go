// Package work says what the systems under measurement are asked to do, and does
// it through a [Driver], so that all of them are asked for the same. It knows no
// system, starts no server, and judges no figure.
package work

import (
	"encoding/json"
	"time"
)

// Kind is what a load process does while it is measured.
type Kind string

// The kinds.
const (
	// Report puts tasks that are due in 60 s, as fast as Callers can, for Job.Time;
	// where Job.Tasks is set, that many of them instead.
	Report Kind = "report"
	// Finish tells of Job.Tasks tasks whose first attempt succeeded.
	Finish Kind = "finish"
	// Drain hands out Job.Tasks that are due, to handlers that do nothing.
	Drain Kind = "drain"
	// Timing hands out Job.Tasks that fall due at random moments within Job.Time.
	Timing Kind = "timing"
	// Loop puts Job.Tasks whose first attempt fails and whose next, a second later,
	// succeeds. The first attempt is its caller's own where the system has it so.
	Loop Kind = "loop"
	// HandedLoop is Loop with the first attempt handed out too, by every system.
	HandedLoop Kind = "handed-loop"
	// Fill puts Job.Tasks that are due in a day: what others then work beside.
	Fill Kind = "fill"
)

// Job is one order to a load process, which reads it as a line of JSON.
type Job struct {
	System string `json:"system"`
	Kind   Kind   `json:"kind"`
	// Tasks is how many, First the index of the first of them: jobs of one stage
	// have none in common.
	Tasks int `json:"tasks"`
	First int `json:"first"`
	// Callers is how many put tasks at a time, and Batch how many tasks each call
	// puts, where the system has such a call.
	Callers int `json:"callers"`
	Batch   int `json:"batch"`
	// InFlight is how many attempts may be out at a time.
	InFlight int `json:"in_flight"`
	// Payload is the size of a task's payload in bytes, at least MinPayload.
	Payload int `json:"payload"`
	// Time is how long Report goes on, and within what time Timing's tasks fall due.
	Time time.Duration `json:"time_ns"`
	// Limit ends the measured part early; its result then says so. 0 is none.
	Limit time.Duration `json:"limit_ns"`
	// Addr says where the servers are, by name.
	Addr map[string]string `json:"addr"`
	// Token is what calls bear, empty for none.
	Token string `json:"token,omitempty"`
}

// Result is what came of a job.
type Result struct {
	// Tasks is how many were put, settled or finished in Seconds.
	Tasks   int     `json:"tasks"`
	Seconds float64 `json:"seconds"`
	// Cut says that the limit came before the end.
	Cut bool `json:"cut,omitempty"`
	// Late is how late attempts were handed out; Timing alone has it.
	Late *Lateness `json:"late,omitempty"`
}

// Rate is tasks per second.
func (r *Result) Rate() float64 {
	if r.Seconds == 0 {
		return 0
	}
	return float64(r.Tasks) / r.Seconds
}

// Lateness is how late attempts reached their handlers, in milliseconds.
type Lateness struct {
	Min float64 `json:"min_ms"`
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
	// Early is how many came before their time.
	Early int `json:"early"`
}

// Message is what a load process says, a line of JSON each: Ready when it has
// prepared and waits for a line to begin, Result or Error when it is done; it
// then waits for its standard input to be closed.
type Message struct {
	Ready  bool    `json:"ready,omitempty"`
	Result *Result `json:"result,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// ParseMessage reads a line that a load process has said.
func ParseMessage(line []byte) (Message, error) {
	var m Message
	err := json.Unmarshal(line, &m)
	return m, err
}
