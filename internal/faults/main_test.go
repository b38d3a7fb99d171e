package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/retryd/retryd/internal/ledger"
	"github.com/retryd/retryd/scheduler"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	all := []Fault{
		{ID: "F1", Topologies: everywhere, Short: true},
		{ID: "F5 always", Topologies: []Topology{Standalone}, Short: true},
		{ID: "F5 everysec", Topologies: []Topology{Standalone}},
		{ID: "F12", Topologies: []Topology{Sentinel}},
	}
	for name, c := range map[string]struct {
		only       []string
		topologies []Topology
		short      bool
		want       string
	}{
		"all":             {nil, everywhere, false, "F1 standalone, F1 sentinel, F1 cluster, F5 always standalone, F5 everysec standalone, F12 sentinel"},
		"one topology":    {nil, []Topology{Sentinel}, false, "F1 sentinel, F12 sentinel"},
		"a number":        {[]string{"f5"}, everywhere, false, "F5 always standalone, F5 everysec standalone"},
		"a variant":       {[]string{"F5 always"}, everywhere, false, "F5 always standalone"},
		"not a prefix":    {[]string{"F1"}, []Topology{Sentinel}, false, "F1 sentinel"},
		"short":           {nil, everywhere, true, "F1 standalone, F5 always standalone"},
		"short, and more": {[]string{"F12"}, everywhere, true, "F12 sentinel"},
	} {
		jobs, err := plan(all, c.only, c.topologies, c.short)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, j := range jobs {
			got = append(got, j.ID+" "+string(j.on))
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
	if _, err := plan(all, []string{"F99"}, everywhere, false); err == nil || !strings.Contains(err.Error(), "F5 always") {
		t.Errorf("a fault that there is not: error %v", err)
	}
}

func TestEveryFaultIsWhole(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, f := range registry() {
		if f.ID == "" || f.Name == "" || len(f.Topologies) == 0 || f.Run == nil || slices.Contains(ids, f.ID) {
			t.Errorf("%+v is not whole, or there twice", f)
		}
		for _, on := range f.Topologies {
			if !slices.Contains(everywhere, on) {
				t.Errorf("%s is for the topology %q", f.ID, on)
			}
		}
		ids = append(ids, f.ID)
	}
}

// TestThePartitionIsAtEachDurability wants the fault that costs most where a level
// promises least to be run at every level, on a Redis that keeps what the level says.
func TestThePartitionIsAtEachDurability(t *testing.T) {
	t.Parallel()
	for level := scheduler.DurabilityMemory; level <= scheduler.DurabilityReplicated; level++ {
		jobs, err := plan(registry(), []string{"F10 " + level.String()}, everywhere, false)
		if err != nil || len(jobs) != 1 {
			t.Errorf("%d jobs, error %v", len(jobs), err)
			continue
		}
		var s Setup
		jobs[0].Setup(&s)
		if want := []string{"--durability=" + level.String()}; !slices.Equal(s.Serve, want) {
			t.Errorf("%s is served with %q, want %q", level, s.Serve, want)
		}
		redis := strings.Join(s.Redis, " ")
		if has := strings.Contains(redis, "--appendonly yes"); has != (level != scheduler.DurabilityMemory) {
			t.Errorf("%s is on Redis with %q", level, redis)
		}
		if always := strings.Contains(redis, "--appendfsync always"); always != (level == scheduler.DurabilityAlways) {
			t.Errorf("%s is on Redis with %q", level, redis)
		}
	}
}

func TestWrongArgumentsAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-only", "F99"}, `-only names "F99"`},
		{[]string{"-topology", "moon"}, `-topology names "moon"`},
		{[]string{"F1"}, `"F1" is no flag`},
		{[]string{"-seed", "x"}, "-seed"},
	} {
		var out, progress bytes.Buffer
		if code := run(t.Context(), c.args, &out, &progress); code != 2 || !strings.Contains(progress.String(), c.want) {
			t.Errorf("%q: status %d, %s", c.args, code, &progress)
		}
	}
}

func TestResultsAreWritten(t *testing.T) {
	t.Parallel()
	r := &Results{Seed: 7, Rows: []Result{
		{ID: "F1", Name: "kill", Topology: Cluster, Own: Figures{{"kills", "3"}}, Audit: ledger.Figures{Tasks: 10, Reports: 12, LostReports: 1, Handouts: 5, LostClaims: 2}, Broken: []string{"I1"}},
		{ID: "F10", Name: "cut", Topology: Sentinel, Skipped: "there is no ip"},
	}}
	dir := t.TempDir()
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(dir, "results.md"))
	const skipped = "| F10 | cut | sentinel | 0 | 0 of 0 | 0 of 0 | 0 | 0 | 0 | 0 / 0 | 0.0 s |  | skipped: there is no ip |"
	if want := "| F1 | kill | cluster | 10 | 1 of 12 | 2 of 5 | 0 | 0 | 0 | 0 / 0 | 0.0 s | kills 3 | **broken** |"; err != nil || !strings.Contains(string(table), want) || !strings.Contains(string(table), skipped) {
		t.Errorf("error %v, %s\nwant %s\nand %s", err, table, want, skipped)
	}
	text, err := os.ReadFile(filepath.Join(dir, "results.json"))
	var back Results
	if err != nil || json.Unmarshal(text, &back) != nil || back.Seed != 7 || back.Rows[0].Audit.LostReports != 1 {
		t.Errorf("error %v, %s", err, text)
	}
}

func TestProcessesAreBrokenAndEnded(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	start := func(name, script string) *Process {
		p, err := startProcess(dir, name, nil, "sh", "-c", script)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Kill() })
		return p
	}
	p := start("talks", "echo ready; exec sleep 60")
	if err := p.awaitLog(ctx, 0, "ready"); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil || !p.running() {
		t.Fatalf("stopped: error %v, running %t", err, p.running())
	}
	// Also one that is stopped can be ended.
	if err := p.Stop(); err != nil || p.running() {
		t.Errorf("ended: error %v, running %t", err, p.running())
	}
	if err := p.Signal(syscall.SIGCONT); err != nil {
		t.Errorf("a signal to what has ended: %v", err)
	}
	err := start("ends", "echo cannot bind; exit 3").awaitLog(ctx, 0, "ready")
	if err == nil || !strings.Contains(err.Error(), "cannot bind") {
		t.Errorf("error %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := start("silent", "exec sleep 60").awaitLog(ended, 0, "ready"); err == nil {
		t.Error("it was waited for though nobody waits any more")
	}
}
