package plan

import (
	"time"

	"github.com/retryd/retryd/bench/internal/work"
)

// Sample is what one run of a step on a system has shown.
type Sample struct {
	Step   string    `json:"step"`
	System string    `json:"system"`
	Round  int       `json:"round"`
	Start  time.Time `json:"start"`
	work.Result
	// CPU are the seconds of CPU used while it was measured, by kind of process:
	// "load", "server", "redis", and peers' own.
	CPU map[string]float64 `json:"cpu_seconds"`
	// OtherCPU are those that the rest of the machine used meanwhile, and StolenCPU
	// those that its host kept from it: many of them spoil the run.
	OtherCPU  float64 `json:"other_cpu_seconds"`
	StolenCPU float64 `json:"stolen_cpu_seconds"`
	// Bytes are what the tasks took at the beginning, once prepared, and at the end.
	BytesBefore int64 `json:"bytes_before"`
	BytesReady  int64 `json:"bytes_ready"`
	BytesAfter  int64 `json:"bytes_after"`
	// Error is why there are no figures.
	Error string `json:"error,omitempty"`
}

// Skip is a system that was not measured.
type Skip struct {
	System string `json:"system"`
	Why    string `json:"why"`
}

// Results are all that a run of the harness has shown.
type Results struct {
	Started  time.Time         `json:"started"`
	Took     time.Duration     `json:"took_ns"`
	Machine  Machine           `json:"machine"`
	Settings map[string]string `json:"settings"`
	Versions map[string]string `json:"versions"`
	Rounds   int               `json:"rounds"`
	Steps    []StepInfo        `json:"steps"`
	Skipped  []Skip            `json:"skipped"`
	Samples  []Sample          `json:"samples"`
}

// StepInfo is what a reader of results must know of a step.
type StepInfo struct {
	ID    string   `json:"id"`
	Title string   `json:"title"`
	Bytes bool     `json:"bytes,omitempty"`
	Job   work.Job `json:"job"`
}

// Machine is what it ran on.
type Machine struct {
	OS     string `json:"os"`
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory_bytes"`
}
