package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/retryd/retryd/bench/internal/plan"
	"github.com/retryd/retryd/bench/internal/system"
	"github.com/retryd/retryd/bench/internal/work"
)

// disturbed is the share of the machine's time that others may take before a run
// is marked.
const disturbed = 0.05

// markdown writes everything that was found as text with tables.
func markdown(w io.Writer, d *data) error {
	p := &printer{w: w}
	p.line("# Measurements")
	p.line("")
	p.line("%s, %d CPUs (%s), %s GiB, %s %s; %d rounds, begun %s, took %s.", orUnknown(d.Machine.CPU), d.Machine.CPUs, d.Machine.OS,
		number(float64(d.Machine.Memory)/(1<<30)), "kernel", orUnknown(d.Machine.Kernel), d.Rounds, d.Started.Format(time.RFC3339), d.Took.Round(time.Second))
	p.line("")
	p.line("Every figure is the median over the rounds, with the least and the greatest behind it. A ratio is retryd's figure over")
	p.line("the other's in the same round. CPU is microseconds for each task, of each kind of process.")
	p.targets(d)
	for _, step := range d.Steps {
		p.step(d, step)
	}
	p.rest(d)
	return p.err
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) row(cells ...string) { p.line("| %s |", strings.Join(cells, " | ")) }

func (p *printer) head(cells ...string) {
	p.line("")
	p.row(cells...)
	p.line("|%s", strings.Repeat("---|", len(cells)))
}

func (p *printer) targets(d *data) {
	p.line("")
	p.line("## Targets")
	p.head("target", "wanted", "reached", "")
	for _, t := range targets() {
		reached := t.reached(d)
		p.row(t.text, t.bound(), reached.String(), t.verdict(reached))
	}
}

// column is a figure with its heading.
type column struct {
	name string
	figure
}

// columns are those of a kind of step; the first is the one that ratios are of.
func columns(step plan.StepInfo) []column {
	switch {
	case step.Bytes:
		return []column{{"bytes/task", bytes}}
	case step.Job.Kind == work.Timing:
		return []column{{"late p50 ms", lateP50}, {"p99 ms", lateP99}, {"max ms", lateMax}, {"early", lateEarly}}
	case step.Job.Kind == work.Loop, step.Job.Kind == work.HandedLoop:
		return []column{{"s", seconds}}
	default:
		return []column{{"tasks/s", rate}}
	}
}

func (p *printer) step(d *data, step plan.StepInfo) {
	names := d.systems(step.ID)
	if len(names) == 0 {
		return
	}
	p.line("")
	p.line("## %s: %s", step.ID, step.Title)
	cols := columns(step)
	processes := d.processes(step.ID)
	head := []string{"system"}
	for _, c := range cols {
		head = append(head, c.name)
	}
	head = append(head, "retryd over it")
	for _, name := range processes {
		head = append(head, "CPU "+name)
	}
	p.head(append(head, "")...)
	for _, name := range names {
		cells := []string{name}
		for _, c := range cols {
			cells = append(cells, d.spread(step.ID, name, c.figure).String())
		}
		ratio := "-"
		if name != system.Retryd {
			ratio = against(step.ID, step.ID, name, cols[0].figure)(d).String()
		}
		cells = append(cells, ratio)
		for _, process := range processes {
			cells = append(cells, d.spread(step.ID, name, cpu(process)).String())
		}
		p.row(append(cells, d.remarks(step.ID, name))...)
	}
}

// processes are the kinds that a step has figures of.
func (d *data) processes(step string) []string {
	seen := make(map[string]bool)
	for _, samples := range d.samples[step] {
		for _, s := range samples {
			for name := range s.CPU {
				seen[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// remarks are what a reader must know of a row's runs.
func (d *data) remarks(step, name string) string {
	var cut, others int
	samples := d.samples[step][name]
	for _, s := range samples {
		if s.Cut {
			cut++
		}
		if s.OtherCPU+s.StolenCPU > disturbed*s.Seconds*float64(d.Machine.CPUs) {
			others++
		}
	}
	var remarks []string
	if cut > 0 {
		remarks = append(remarks, fmt.Sprintf("%d of %d ended by the limit", cut, len(samples)))
	}
	if others > 0 {
		remarks = append(remarks, fmt.Sprintf("%d of %d disturbed", others, len(samples)))
	}
	return strings.Join(remarks, ", ")
}

// rest is what is left to know: what failed, what was left out, and what ran.
func (p *printer) rest(d *data) {
	if len(d.Skipped) > 0 {
		p.line("")
		p.line("## Skipped")
		p.line("")
		for _, s := range d.Skipped {
			p.line("- %s", s.Why)
		}
	}
	failed := false
	for i := range d.Samples {
		s := &d.Samples[i]
		if s.Error == "" {
			continue
		}
		if !failed {
			failed = true
			p.line("")
			p.line("## Failed")
			p.line("")
		}
		p.line("- %s on %s in round %d: %s", s.Step, s.System, s.Round, strings.ReplaceAll(s.Error, "\n", " "))
	}
	p.line("")
	p.line("## Versions and settings")
	p.head("", "")
	for _, name := range slices.Sorted(maps.Keys(d.Versions)) {
		p.row(name+" is", strings.ReplaceAll(d.Versions[name], "\n", " "))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Settings)) {
		p.row(name+" has", d.Settings[name])
	}
}
