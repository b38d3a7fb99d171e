package policy_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/conformance"
	"github.com/retryd/retryd/policy"
)

const (
	conformanceCopy   = "testdata/conformance"
	conformanceSource = "../../shared/conformance"
)

func loadConformance(t *testing.T) []conformance.File {
	t.Helper()
	files, err := conformance.Load(conformanceCopy)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestConformanceCopy holds the copy equal to the cases it is of, where those
// are present.
func TestConformanceCopy(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(conformanceSource); err != nil {
		t.Skip("the source of the cases is not here")
	}
	names := func(dir string) []string {
		paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range paths {
			paths[i] = filepath.Base(paths[i])
		}
		return paths
	}
	source := names(conformanceSource)
	if got := names(conformanceCopy); !slices.Equal(got, source) {
		t.Fatalf("copied files: %v, want %v", got, source)
	}
	for _, name := range source {
		want, err := os.ReadFile(filepath.Join(conformanceSource, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(conformanceCopy, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from its source", name)
		}
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, file := range loadConformance(t) {
		for _, c := range file.Cases {
			t.Run(file.Name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				p, _ := file.Policy(c.Policy)
				if v := p.Validate(c.Start.UnixMilli()); v != nil {
					t.Fatalf("policy refused: %v", v)
				}
				compiled := policy.Compile(p.Policy)
				tasks := 1
				if p.Jitter.Kind != policy.JitterNone {
					tasks = 1000
				}
				for i := range tasks {
					if runCase(t, compiled, c, fmt.Sprintf("task-%d", i)); t.Failed() {
						break
					}
				}
			})
		}
	}
}

// runCase takes one task through a case. It also holds every decision to be one
// of those that Range promises.
func runCase(t *testing.T, c *policy.Compiled, tc conformance.Case, task string) {
	t.Helper()
	now := tc.Start.UnixMilli()
	st := policy.State{
		Namespace: "default", TaskID: task, Generation: 1,
		Attempt: 1, FirstAttempt: 1, FirstFailureMS: now,
	}
	if !tc.Deadline.IsZero() {
		st.DeadlineMS = tc.Deadline.UnixMilli()
	}
	for i, step := range tc.Steps {
		if !step.At.IsZero() {
			now = step.At.UnixMilli()
		}
		d := policy.Decide(c, st, step.Failure.Failure, now)
		if fault := unmet(d, step.Expect); fault != "" {
			t.Errorf("task %s, step %d: %s\n%q", task, i+1, fault, policy.Explain(d.Steps))
			return
		}
		lo, hi := policy.Range(c, st, step.Failure.Failure, now)
		if d.NextMS < lo || d.NextMS > hi {
			t.Errorf("task %s, step %d: next %d is outside Range %d..%d", task, i+1, d.NextMS, lo, hi)
		}
		if d.Action != policy.ActionRetry {
			continue
		}
		now = d.NextMS
		st = after(st, d)
	}
}

// after is the task's state once a decision's next attempt has been made.
func after(st policy.State, d policy.Decision) policy.State {
	st.Attempt = d.NextAttempt
	st.RuleRetries, st.LastDelayMS, st.LastDateMS = d.RuleRetries, d.LastDelayMS, d.LastDateMS
	return st
}

// unmet says what a decision lacks of the one expected.
func unmet(d policy.Decision, e conformance.Expect) string {
	delay := time.Duration(d.DelayMS) * time.Millisecond
	next := time.UnixMilli(d.NextMS).UTC()
	switch {
	case d.Action != e.Action || d.Reason != e.Reason:
		return fmt.Sprintf("got %v %v, want %v %v", d.Action, d.Reason, e.Action, e.Reason)
	case d.NextAttempt != e.NextAttempt:
		return fmt.Sprintf("next attempt %d, want %d", d.NextAttempt, e.NextAttempt)
	case d.HoldCondition != e.HoldCondition:
		return fmt.Sprintf("hold condition %q, want %q", d.HoldCondition, e.HoldCondition)
	case e.DelayMin != nil && delay < *e.DelayMin:
		return fmt.Sprintf("delay %v, want %v or more", delay, *e.DelayMin)
	case e.DelayMax != nil && delay > *e.DelayMax:
		return fmt.Sprintf("delay %v, want %v or less", delay, *e.DelayMax)
	case e.TimeMin != nil && next.Before(*e.TimeMin):
		return fmt.Sprintf("next attempt at %v, want %v or later", next, *e.TimeMin)
	case e.TimeMax != nil && next.After(*e.TimeMax):
		return fmt.Sprintf("next attempt at %v, want %v or earlier", next, *e.TimeMax)
	}
	return ""
}

func TestConformanceInvalid(t *testing.T) {
	t.Parallel()
	// What is wrong with each policy, and the field that must be named for it.
	fields := map[string]string{
		"name missing":                  "display_name",
		"name of 201 characters":        "display_name",
		"negative retries":              "max_retries",
		"status class 6xx":              "rules[0].match.statuses[0]",
		"status 99":                     "rules[0].match.statuses[0]",
		"multiplier under 1":            "exponential.multiplier",
		"max_delay under initial_delay": "exponential.max_delay",
		"zero delay with fixed":         "fixed.delay",
		"more retries than delays":      "max_retries",
		"no default action":             "default_action",
		"retries without a schedule":    "schedule",
		"jitter over 1":                 "jitter.proportional",
		"unknown time zone":             "pause_windows[0].time_zone",
		"pause window without an end":   "pause_windows[0].end",
		"paused for ever":               "pause_windows",
		"id with a space":               "id",
		"hold without a condition":      "rules[0].hold_condition",
		"code range backwards":          "rules[0].match.codes[0]",
		"unordered dates":               "dates.times[1]",
		"rule limit without a name":     "rules[0].name",
	}
	seen := 0
	for _, file := range loadConformance(t) {
		for _, p := range file.InvalidPolicies {
			want, ok := fields[p.Why]
			if !ok {
				t.Errorf("%s: no field is known for %q", file.Name, p.Why)
				continue
			}
			seen++
			v := p.Validate(noonMS)
			if len(v) != 1 || v[0].Field != want || v[0].Description == "" {
				t.Errorf("%s: got %v, want one violation of %s", p.Why, v, want)
			}
		}
	}
	if seen != len(fields) {
		t.Errorf("%d policies for %d fields", seen, len(fields))
	}
}

func TestConformanceStoredForm(t *testing.T) {
	t.Parallel()
	for _, file := range loadConformance(t) {
		if file.StoredForm == nil {
			continue
		}
		p := policy.Policy{Rules: []policy.Rule{{Match: policy.Match{
			Statuses: []string{file.StoredForm.Given}, StatusesExcept: []string{file.StoredForm.Given},
		}}}}
		m := p.Normalize().Rules[0].Match
		if m.Statuses[0] != file.StoredForm.Stored || m.StatusesExcept[0] != file.StoredForm.Stored {
			t.Errorf("%q is stored as %q and %q, want %q", file.StoredForm.Given, m.Statuses, m.StatusesExcept, file.StoredForm.Stored)
		}
	}
}
