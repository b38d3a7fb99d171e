package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/retryd/retryd/bench/internal/plan"
	"github.com/retryd/retryd/bench/internal/stage"
	"github.com/retryd/retryd/bench/internal/system"
)

// TestMain lets the test binary be the processes that the harness starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "drive" || os.Args[1] == "serve") {
		if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// TestSystems has every system do a little of all that it is asked for. With
// -short those are left out whose servers would have to be installed.
func TestSystems(t *testing.T) {
	t.Parallel()
	for _, name := range plan.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && slices.Contains(foreign, name) {
				t.Skip("its server is not installed for a short run")
			}
			tools, err := stage.NewTools(t.Context(), []string{name}, stage.Runtime{GOGC: 400, MemoryLimit: "1GiB"})
			if err != nil {
				t.Skipf("nothing can be measured here: %v", err)
			}
			t.Cleanup(func() {
				if err := tools.Close(); err != nil {
					t.Error(err)
				}
			})
			if why := tools.Missing(name); why != nil {
				if name == system.Retryd || name == system.RetrydStream {
					t.Fatal(why)
				}
				t.Skip(why)
			}
			works := []string{"W1", "W2", "W3", "W4", "W5-10k", "W6", "W7", "W8-always", "W9-1"}
			cases := plan.Select(plan.Cases(false), plan.Selection{Works: works, Systems: []string{name}})
			r := &plan.Runner{Tools: tools, Progress: t.Output(), Scale: 0.002}
			res := r.Run(t.Context(), cases, 1)
			if len(res.Samples) == 0 {
				t.Error("it was asked for nothing")
			}
			for _, s := range res.Samples {
				check(t, &s)
			}
		})
	}
}

// foreign are the systems that need other servers than Redis and our own.
var foreign = []string{system.River, system.Beanstalkd, system.BullMQ}

// check says what is wrong with a sample of a tiny run.
func check(t *testing.T, s *plan.Sample) {
	t.Helper()
	if s.Error != "" {
		t.Errorf("%s: %s", s.Step, s.Error)
		return
	}
	if s.Tasks == 0 || s.Seconds <= 0 || s.Cut {
		t.Errorf("%s: %+v", s.Step, s.Result)
	}
	switch {
	case strings.HasPrefix(s.Step, "W2"):
		if s.Tasks != 100 {
			t.Errorf("%s: %d of 100 handed out", s.Step, s.Tasks)
		}
	case strings.HasPrefix(s.Step, "W4"):
		// beanstalkd and asynq know whole seconds only, and cut them off.
		if s.Tasks != 40 || s.Seconds > 15 {
			t.Errorf("%s: %d of 40 in %g s", s.Step, s.Tasks, s.Seconds)
		}
	case s.Step == "W3":
		if s.Tasks != 10 || s.Late == nil {
			t.Errorf("%s: %+v", s.Step, s.Result)
		}
	}
	if _, ok := s.CPU["load"]; !ok {
		t.Errorf("%s: CPU of %v alone", s.Step, s.CPU)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want []string // in the error
	}{
		"defaults":       {nil, nil},
		"everything":     {[]string{"-full", "-only", "W1,W2", "-systems", "retryd,bullmq", "-rounds", "7", "-out", "x"}, nil},
		"unknown system": {[]string{"-systems", "retryd,sidekiq"}, []string{`"sidekiq"`, "asynq-best"}},
		"all at once":    {[]string{"-rounds", "0", "-scale", "-1", "W1"}, []string{"-rounds is 0", "-scale is -1", `"W1"`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := parse(tt.args, t.Output())
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("error %v", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
			if name == "everything" && (len(s.sel.Works) != 2 || len(s.sel.Systems) != 2 || s.rounds != 7 || !s.sel.Full || s.out != "x") {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestServeRefusesWhatIsNoFloor(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"serve"}, {"serve", "retryd", "127.0.0.1:0", ""}} {
		if err := run(t.Context(), args, nil, nil, nil); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
