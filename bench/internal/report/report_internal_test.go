package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/retryd/retryd/bench/internal/plan"
	"github.com/retryd/retryd/bench/internal/system"
	"github.com/retryd/retryd/bench/internal/work"
)

func sample(step, name string, round int, res work.Result) plan.Sample {
	return plan.Sample{Step: step, System: name, Round: round, Result: res, CPU: map[string]float64{"redis": 0.1, "load": 0.2}}
}

// results are three rounds of some works.
func results() *plan.Results {
	res := &plan.Results{
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: time.Minute, Rounds: 3,
		Machine:  plan.Machine{OS: "linux/amd64", CPUs: 2, CPU: "Abacus", Memory: 24 << 30},
		Versions: map[string]string{"redis-server": "7.0.15"}, Settings: map[string]string{"GOGC": "400"},
		Skipped: []plan.Skip{{System: system.Faktory, Why: "faktory is skipped: it does not build"}},
		Steps: []plan.StepInfo{
			{ID: "W1-64", Title: "report", Job: work.Job{Kind: work.Report}},
			{ID: "W3", Title: "timing", Job: work.Job{Kind: work.Timing}},
			{ID: "W4", Title: "loop", Job: work.Job{Kind: work.Loop}},
			{ID: "W6-pending", Title: "memory", Bytes: true, Job: work.Job{Kind: work.Report}},
			{ID: "W9-1-W1", Title: "nobody did it", Job: work.Job{Kind: work.Report}},
			{ID: "W5-10k-W2", Title: "growth", Job: work.Job{Kind: work.Drain}},
			{ID: "W5-1M-W2", Title: "growth", Job: work.Job{Kind: work.Drain}},
		},
	}
	for round := 1; round <= 3; round++ {
		pace := float64(round)
		early := 0
		if round == 3 {
			early = 1
		}
		add := func(s plan.Sample) { res.Samples = append(res.Samples, s) }
		add(sample("W1-64", system.Retryd, round, work.Result{Tasks: 10_000, Seconds: pace}))
		add(sample("W1-64", system.Echo, round, work.Result{Tasks: 20_000, Seconds: pace}))
		add(sample("W3", system.Retryd, round, work.Result{Tasks: 10, Seconds: 10, Late: &work.Lateness{P50: 1.25, P99: 7, Max: 9, Early: early}}))
		add(sample("W4", system.Retryd, round, work.Result{Tasks: 10, Seconds: 1.5}))
		add(sample("W4", system.Asynq, round, work.Result{Tasks: 10, Seconds: 8, Cut: round > 1}))
		add(sample("W5-10k-W2", system.Retryd, round, work.Result{Tasks: 10, Seconds: 1}))
		add(sample("W5-1M-W2", system.Retryd, round, work.Result{Tasks: 8, Seconds: 1}))
		memory := sample("W6-pending", system.Retryd, round, work.Result{Tasks: 100, Seconds: 1})
		memory.BytesBefore, memory.BytesAfter, memory.OtherCPU = 1000, 61_000, 1
		add(memory)
	}
	res.Samples = append(res.Samples, plan.Sample{Step: "W4", System: system.BullMQ, Round: 2, Error: "it broke\nin two"})
	return res
}

func TestMarkdownTellsWhatWasFound(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := markdown(&out, index(results())); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"Abacus, 2 CPUs (linux/amd64), 24 GiB, kernel unknown; 3 rounds",
		"| W1, 64 callers: rate over a bare gRPC echo's | >= 0.55 | 0.50 (0.50-0.50) | MISSED |",
		"| W1, 256 callers: rate over a bare gRPC echo's | >= 0.55 | - | not measured |",
		"| W3: late p50, ms | <= 1.50 | 1.25 (1.25-1.25) | met |",
		"| W3: late p99, ms | <= 6 | 7 (7-7) | MISSED |",
		// One in one round is one too many.
		"| W3: came early, in any round | <= 0 | 0 (0-1) | MISSED |",
		"| W4: time of asynq over the product's | >= 1 | 5.33 | met |",
		"| W5, W2 with 1 M pending: rate over that with 10 k | >= 0.70 | 0.80 (0.80-0.80) | met |",
		"| W6: bytes per pending task | <= 700 | 600 (600-600) | met |",
		"| retryd | 5,000 (3,333-10,000) | - | 20 (20-20) | 10 (10-10) |  |",
		"| grpc-echo | 10,000 (6,667-20,000) | 0.50 (0.50-0.50) |",
		"2 of 3 ended by the limit",
		"3 of 3 disturbed",
		"- faktory is skipped: it does not build",
		"- W4 on bullmq in round 2: it broke in two",
		"| redis-server is | 7.0.15 |",
		"| GOGC has | 400 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if strings.Contains(text, "nobody did it") {
		t.Error("it has a table without rows")
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestWriteKeepsTheRawFigures(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	want := results()
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	var got plan.Results
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("what was read is not what was written (-want +got):\n%s", diff)
	}
	for _, name := range []string{"W1-64.svg", "W5.svg"} {
		svg, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(svg), "<svg") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "W2-64.svg")); err == nil {
		t.Error("there is a plot of what nobody did")
	}
}

func TestEveryTargetIsOfAStepThatIsRun(t *testing.T) {
	t.Parallel()
	// A run in which every step of every system has figures leaves no target open.
	res := &plan.Results{Machine: plan.Machine{CPUs: 2}}
	for _, c := range plan.Cases(false) {
		if c.Full {
			continue
		}
		for _, s := range c.Steps {
			for _, name := range c.Systems {
				one := sample(s.ID, name, 1, work.Result{Tasks: 100, Seconds: 1, Late: &work.Lateness{P50: 1, P99: 1}})
				one.BytesAfter = 1
				res.Samples = append(res.Samples, one)
			}
		}
	}
	d := index(res)
	for _, target := range targets() {
		if got := target.reached(d); got.N == 0 {
			t.Errorf("%s: nothing reaches it", target.text)
		}
	}
}
