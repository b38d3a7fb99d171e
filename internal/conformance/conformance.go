// Package conformance reads the conformance cases, for tests: what the systems
// that this project replaces do, as data. It gives policies and failures both in
// the domain's types and as the API's JSON they were written in, so that the
// same cases run through policy.Decide and over gRPC.
//
// It owns the cases' format and a small decoder of the API's JSON, no more than
// the cases need; it must not import the generated code, since the policy's own
// tests use it.
package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/retryd/retryd/policy"
)

// File is one file of cases.
type File struct {
	// Name is the file's, without its ending, such as "gethook".
	Name     string
	System   string
	Policies []Policy
	Cases    []Case
	// InvalidPolicies must each be refused.
	InvalidPolicies []InvalidPolicy
	// StoredForm is a status token and what it is stored as.
	StoredForm *StoredForm
	// Job and JobCases are for tests of the service: policies know no jobs.
	Job      json.RawMessage
	JobCases []JobCase
}

// Policy is a valid policy.
type Policy struct {
	policy.Policy
	// JSON is the policy as the API spells it.
	JSON json.RawMessage
}

// InvalidPolicy is one that must be refused.
type InvalidPolicy struct {
	Policy
	// Why says what is wrong with it.
	Why string
}

// StoredForm is a status token as given, and as stored.
type StoredForm struct {
	Given  string `json:"given"`
	Stored string `json:"stored"`
}

// Case is one task's failures and what must become of each.
type Case struct {
	Name string
	// Policy is the id of one of the file's policies.
	Policy string
	// Start is when attempt 1 failed.
	Start time.Time
	// Deadline is the task's; zero is none.
	Deadline time.Time
	Steps    []Step
	Note     string
}

// Step is one failure and the decision wanted.
type Step struct {
	Failure Failure
	// At is when the attempt failed; zero is when it was due, and in the first
	// step the case's Start.
	At     time.Time
	Expect Expect
}

// Failure is a failure in both forms.
type Failure struct {
	policy.Failure
	JSON json.RawMessage
}

// Expect is the decision wanted. Ranges include both ends; nil is not asked for.
type Expect struct {
	Action             policy.Action
	Reason             policy.Reason
	NextAttempt        int
	HoldCondition      string
	DelayMin, DelayMax *time.Duration
	TimeMin, TimeMax   *time.Time
}

// JobCase is the first failure of a task that names a job.
type JobCase struct {
	// Job stands in for the file's where it is set.
	Job         json.RawMessage
	Environment string
	Failure     Failure
	Expect      Expect
}

// Load reads all files of a directory, in the order of their names. A field
// that it does not know is an error, lest a case says something that no test
// looks at.
func Load(dir string) ([]File, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no cases in %s", dir)
	}
	files := make([]File, 0, len(paths))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read cases: %w", err)
		}
		f, err := decodeFile(data)
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", path, err)
		}
		base := filepath.Base(path)
		f.Name = base[:len(base)-len(filepath.Ext(base))]
		files = append(files, f)
	}
	return files, nil
}

// Policy gives the file's policy of that id.
func (f *File) Policy(id string) (Policy, bool) {
	for _, p := range f.Policies {
		if p.ID == id {
			return p, true
		}
	}
	return Policy{}, false
}

func decodeFile(data []byte) (File, error) {
	var w struct {
		System   string            `json:"system"`
		Policies []json.RawMessage `json:"policies"`
		Cases    []wireCase        `json:"cases"`
		Invalid  []struct {
			Why    string          `json:"why"`
			Policy json.RawMessage `json:"policy"`
		} `json:"invalid_policies"`
		StoredForm *StoredForm     `json:"stored_form"`
		Job        json.RawMessage `json:"job"`
		JobCases   []struct {
			Job         json.RawMessage `json:"job"`
			Environment string          `json:"environment"`
			Failure     json.RawMessage `json:"failure"`
			Expect      wireExpect      `json:"expect"`
		} `json:"job_cases"`
	}
	if err := strict(data, &w); err != nil {
		return File{}, err
	}
	f := File{System: w.System, StoredForm: w.StoredForm, Job: w.Job}
	for _, raw := range w.Policies {
		p, err := DecodePolicy(raw)
		if err != nil {
			return File{}, err
		}
		f.Policies = append(f.Policies, Policy{Policy: p, JSON: raw})
	}
	for _, c := range w.Cases {
		dc, err := c.decode()
		if err != nil {
			return File{}, fmt.Errorf("case %q: %w", c.Name, err)
		}
		if _, ok := f.Policy(dc.Policy); !ok {
			return File{}, fmt.Errorf("case %q: no policy %q", c.Name, dc.Policy)
		}
		f.Cases = append(f.Cases, dc)
	}
	for _, i := range w.Invalid {
		p, err := DecodePolicy(i.Policy)
		if err != nil {
			return File{}, fmt.Errorf("invalid policy %q: %w", i.Why, err)
		}
		f.InvalidPolicies = append(f.InvalidPolicies, InvalidPolicy{Policy{p, i.Policy}, i.Why})
	}
	for i, j := range w.JobCases {
		failure, err := decodeFailure(j.Failure)
		if err != nil {
			return File{}, fmt.Errorf("job case %d: %w", i, err)
		}
		expect, err := j.Expect.decode()
		if err != nil {
			return File{}, fmt.Errorf("job case %d: %w", i, err)
		}
		f.JobCases = append(f.JobCases, JobCase{j.Job, j.Environment, failure, expect})
	}
	return f, nil
}

type wireCase struct {
	Name     string    `json:"name"`
	Policy   string    `json:"policy"`
	Start    time.Time `json:"start"`
	Deadline time.Time `json:"deadline"`
	Note     string    `json:"note"`
	Steps    []struct {
		Failure json.RawMessage `json:"failure"`
		At      time.Time       `json:"at"`
		Expect  wireExpect      `json:"expect"`
	} `json:"steps"`
}

func (w wireCase) decode() (Case, error) {
	c := Case{Name: w.Name, Policy: w.Policy, Start: w.Start, Deadline: w.Deadline, Note: w.Note}
	if c.Start.IsZero() || len(w.Steps) == 0 {
		return Case{}, errors.New("it needs a start and steps")
	}
	for i, ws := range w.Steps {
		failure, err := decodeFailure(ws.Failure)
		if err != nil {
			return Case{}, fmt.Errorf("step %d: %w", i, err)
		}
		expect, err := ws.Expect.decode()
		if err != nil {
			return Case{}, fmt.Errorf("step %d: %w", i, err)
		}
		c.Steps = append(c.Steps, Step{Failure: failure, At: ws.At, Expect: expect})
	}
	return c, nil
}

type wireExpect struct {
	Action        string     `json:"action"`
	Reason        string     `json:"reason"`
	NextAttempt   int        `json:"next_attempt"`
	HoldCondition string     `json:"hold_condition"`
	DelayMin      *duration  `json:"delay_min"`
	DelayMax      *duration  `json:"delay_max"`
	TimeMin       *time.Time `json:"time_min"`
	TimeMax       *time.Time `json:"time_max"`
}

func (w wireExpect) decode() (Expect, error) {
	action, err := enum[policy.Action](w.Action, "ACTION_")
	if err != nil {
		return Expect{}, err
	}
	reason, err := enum[policy.Reason](w.Reason, "REASON_")
	if err != nil {
		return Expect{}, err
	}
	return Expect{
		Action:        action,
		Reason:        reason,
		NextAttempt:   w.NextAttempt,
		HoldCondition: w.HoldCondition,
		DelayMin:      (*time.Duration)(w.DelayMin),
		DelayMax:      (*time.Duration)(w.DelayMax),
		TimeMin:       w.TimeMin,
		TimeMax:       w.TimeMax,
	}, nil
}

// strict decodes JSON and refuses fields that it does not know.
func strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
