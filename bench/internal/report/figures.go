package report

import (
	"github.com/retryd/retryd/bench/internal/plan"
	"github.com/retryd/retryd/bench/internal/work"
)

// figure is what is read off a sample; ok says that the sample has it.
type figure func(s *plan.Sample) (v float64, ok bool)

func rate(s *plan.Sample) (float64, bool) { return s.Rate(), s.Seconds > 0 }

// seconds is how long all took: a run that was cut has no such figure.
func seconds(s *plan.Sample) (float64, bool) { return s.Seconds, !s.Cut }

func late(read func(l *work.Lateness) float64) figure {
	return func(s *plan.Sample) (float64, bool) {
		if s.Late == nil {
			return 0, false
		}
		return read(s.Late), true
	}
}

var (
	lateP50   = late(func(l *work.Lateness) float64 { return l.P50 })
	lateP99   = late(func(l *work.Lateness) float64 { return l.P99 })
	lateMax   = late(func(l *work.Lateness) float64 { return l.Max })
	lateEarly = late(func(l *work.Lateness) float64 { return float64(l.Early) })
)

// bytes is what one task takes.
func bytes(s *plan.Sample) (float64, bool) {
	if s.Tasks == 0 || s.Cut || s.BytesAfter <= s.BytesBefore {
		return 0, false
	}
	return float64(s.BytesAfter-s.BytesBefore) / float64(s.Tasks), true
}

// cpu is the microseconds of CPU that a kind of process has used for each task.
func cpu(process string) figure {
	return func(s *plan.Sample) (float64, bool) {
		v, ok := s.CPU[process]
		if !ok || s.Tasks == 0 {
			return 0, false
		}
		return v * 1e6 / float64(s.Tasks), true
	}
}

// data are results, ready to be asked.
type data struct {
	*plan.Results
	samples map[string]map[string][]*plan.Sample // by step, by system
}

func index(res *plan.Results) *data {
	d := &data{Results: res, samples: make(map[string]map[string][]*plan.Sample)}
	for i := range res.Samples {
		s := &res.Samples[i]
		if s.Error != "" {
			continue
		}
		if d.samples[s.Step] == nil {
			d.samples[s.Step] = make(map[string][]*plan.Sample)
		}
		d.samples[s.Step][s.System] = append(d.samples[s.Step][s.System], s)
	}
	return d
}

// rounds are a figure's values by round.
func (d *data) rounds(step, system string, f figure) map[int]float64 {
	out := make(map[int]float64)
	for _, s := range d.samples[step][system] {
		if v, ok := f(s); ok {
			out[s.Round] = v
		}
	}
	return out
}

func (d *data) spread(step, system string, f figure) Spread {
	return spreadOf(values(d.rounds(step, system, f)))
}

// systems are those that a step has figures of, in the order in which they were
// first met.
func (d *data) systems(step string) []string {
	var names []string
	seen := make(map[string]bool)
	for i := range d.Samples {
		s := &d.Samples[i]
		if s.Step == step && s.Error == "" && !seen[s.System] {
			seen[s.System] = true
			names = append(names, s.System)
		}
	}
	return names
}
