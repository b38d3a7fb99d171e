package plan

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/retryd/retryd/bench/internal/stage"
	"github.com/retryd/retryd/bench/internal/system"
	"github.com/retryd/retryd/bench/internal/work"
)

func ids(cases []Case) []string {
	var out []string
	for _, c := range cases {
		out = append(out, c.ID)
	}
	return out
}

func TestSelect(t *testing.T) {
	t.Parallel()
	cases := []Case{
		{ID: "W1-64", Systems: []string{"a", "b"}},
		{ID: "W1-256", Systems: []string{"b"}},
		{ID: "W2", Systems: []string{"a"}},
		{ID: "W7", Systems: []string{"a"}, Full: true},
	}
	tests := map[string]struct {
		sel  Selection
		want []string
	}{
		"a short run":                {Selection{}, []string{"W1-64", "W1-256", "W2"}},
		"a full run":                 {Selection{Full: true}, []string{"W1-64", "W1-256", "W2", "W7"}},
		"by the beginning":           {Selection{Works: []string{"W1"}}, []string{"W1-64", "W1-256"}},
		"several":                    {Selection{Works: []string{"W2", "W1-2"}}, []string{"W1-256", "W2"}},
		"a long one by its name":     {Selection{Works: []string{"W7"}}, []string{"W7"}},
		"only what a system does":    {Selection{Systems: []string{"a"}}, []string{"W1-64", "W2"}},
		"nothing that nobody can do": {Selection{Systems: []string{"c"}}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Select(cases, tt.sel)
			if !slices.Equal(ids(got), tt.want) {
				t.Errorf("%v, want %v", ids(got), tt.want)
			}
			for _, c := range got {
				if len(tt.sel.Systems) > 0 && !slices.Equal(c.Systems, tt.sel.Systems) {
					t.Errorf("%s on %v", c.ID, c.Systems)
				}
			}
		})
	}
	if len(cases[0].Systems) != 2 {
		t.Error("the cases themselves have changed")
	}
}

func TestCasesAreSound(t *testing.T) {
	t.Parallel()
	for _, full := range []bool{false, true} {
		wantSound(t, Cases(full))
	}
}

func wantSound(t *testing.T, cases []Case) {
	t.Helper()
	seen := make(map[string]bool)
	for _, c := range cases {
		for _, name := range c.Systems {
			if !slices.Contains(Names(), name) {
				t.Errorf("%s: system %q is unknown", c.ID, name)
			}
		}
		for _, s := range c.Steps {
			if seen[s.ID] {
				t.Errorf("%s: two steps have this name", s.ID)
			}
			seen[s.ID] = true
			j := s.Job
			if j.Limit <= 0 || j.Limit > 20*time.Second || j.Payload < work.MinPayload {
				t.Errorf("%s: limit %s, payload %d", s.ID, j.Limit, j.Payload)
			}
			puts := j.Kind == work.Report || j.Kind == work.Finish
			if puts && (j.Callers < 1 || j.Batch < 1) || !puts && (j.InFlight < 1 || j.Tasks < 1) {
				t.Errorf("%s: %+v", s.ID, j)
			}
		}
	}
	for _, want := range []string{"W1-64", "W1-256", "W1-batch", "W2-64", "W2-256", "W3", "W4", "W5-10k-W1", "W5-1M-W3", "W5-3M-W1", "W6-pending", "W7-W1", "W8-always-W2", "W9-64-W1"} {
		if !seen[want] {
			t.Errorf("there is no %s", want)
		}
	}
}

func TestUseIsSharedOut(t *testing.T) {
	t.Parallel()
	before := &used{cpu: map[string]float64{"redis": 1, "load": 0.5}, machine: 10, stolen: 1}
	after := &used{cpu: map[string]float64{"redis": 2, "load": 1}, machine: 12, stolen: 1.25}
	cpu, other, stolen := before.until(after)
	if diff := cmp.Diff(map[string]float64{"redis": 1, "load": 0.5}, cpu); diff != "" || other != 0.5 || stolen != 0.25 {
		t.Errorf("other %g, stolen %g, by process (-want +got):\n%s", other, stolen, diff)
	}
	// Clocks of different grain must not make it negative.
	after.machine = 11
	if _, other, _ := before.until(after); other != 0 {
		t.Errorf("other %g", other)
	}
}

func TestEverySystemComesFirstInTurn(t *testing.T) {
	t.Parallel()
	// Nothing can be started from tools that have nothing, and the failed samples
	// tell the order.
	tools := &stage.Tools{}
	var log nothing
	r := &Runner{Tools: tools, Progress: &log, Scale: 1}
	c := Case{ID: "W2", Systems: []string{system.Beanstalkd, system.Asynq, system.Scripts}, Steps: []Step{{ID: "W2"}}}
	res := r.Run(t.Context(), []Case{c}, 3)
	var order []string
	for _, s := range res.Samples {
		if s.Error == "" {
			t.Errorf("%s was started from nothing", s.System)
		}
		order = append(order, s.System)
	}
	want := []string{
		system.Beanstalkd, system.Asynq, system.Scripts,
		system.Asynq, system.Scripts, system.Beanstalkd,
		system.Scripts, system.Beanstalkd, system.Asynq,
	}
	if !slices.Equal(order, want) {
		t.Errorf("in the order %v", order)
	}
}

type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }
