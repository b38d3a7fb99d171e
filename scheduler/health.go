package scheduler

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// HealthState says how well a metric is.
type HealthState uint8

// The states, with the numbers of the API.
const (
	HealthUnspecified HealthState = iota
	HealthOK
	HealthWarn
	HealthAlert
	HealthNoData
)

// HealthMetric is one row of a queue's health table.
type HealthMetric struct {
	// Name is one of the names in DefaultThresholds.
	Name string
	// Value is of the last 24 hours, to the hour, and 0 with HealthNoData. Rates are
	// shares of 1.
	Value float64
	// Range says in words what is healthy.
	Range string
	State HealthState
}

// Threshold says up to where a metric is well, and from where on it alerts;
// between them it warns. Where Alert is below Healthy, less is worse.
type Threshold struct {
	Healthy, Alert float64
}

// Thresholds are the thresholds of the metrics by their names.
type Thresholds map[string]Threshold

// The metrics of a queue's health.
const (
	metricRetryRate      = "retry_rate"
	metricDeadRate       = "dead_letter_rate"
	metricAttempts       = "average_attempts_to_success"
	metricOverDay        = "tasks_over_24h"
	metricSecondAttempts = "second_attempt_success_rate"
	metricGrowth         = "depth_growth"
)

// metric is how one row of the table comes about.
type metric struct {
	name      string
	threshold Threshold
	// share says that it is a share of 1; otherwise it may be anything from least on.
	share bool
	least float64
	// inclusive says that it is well at the threshold itself.
	inclusive bool
	// unit follows the figure in words.
	unit string
	// value is the metric, and whether there are figures for it.
	value func(f *figures) (v float64, ok bool)
}

// metrics are the rows in their order, with the thresholds that hold where none
// are set.
func metrics() []metric {
	// While no success of a first attempt is reported, all that is known of are
	// failures: as shares of those, rates would lie.
	of := func(a, b Stat) func(f *figures) (float64, bool) {
		return func(f *figures) (float64, bool) {
			if f.sum[StatFirstSuccesses] <= 0 {
				return 0, false
			}
			return ratio(f.sum[a], f.sum[b])
		}
	}
	return []metric{
		{name: metricRetryRate, threshold: Threshold{0.05, 0.10}, share: true, value: of(StatRetried, StatTasks)},
		{name: metricDeadRate, threshold: Threshold{0.005, 0.01}, share: true, value: of(StatDead, StatTasks)},
		{name: metricAttempts, threshold: Threshold{1.3, 2}, least: 1, inclusive: true, value: of(StatAttempts, StatSuccesses)},
		{name: metricOverDay, threshold: Threshold{10, 100}, value: func(f *figures) (float64, bool) {
			return float64(f.overDay), true
		}},
		{name: metricSecondAttempts, threshold: Threshold{0.80, 0.60}, share: true, value: func(f *figures) (float64, bool) {
			return ratio(f.sum[StatSecondSuccesses], f.sum[StatSecondAttempts])
		}},
		{name: metricGrowth, threshold: Threshold{3, 6}, unit: " h", value: func(f *figures) (float64, bool) {
			return float64(f.growing), true
		}},
	}
}

// DefaultThresholds are those that hold where none are set. Rates are shares of 1,
// tasks_over_24h counts tasks whose first failure is more than 24 hours ago, and
// depth_growth the hours in a row in which the queue's depth has grown.
func DefaultThresholds() Thresholds {
	out := make(Thresholds)
	for _, m := range metrics() {
		out[m.name] = m.threshold
	}
	return out
}

// Validate says what is wrong with the thresholds.
func (t Thresholds) Validate() error {
	_, err := t.orDefault()
	return err
}

// orDefault completes t by the defaults, or says what is wrong with it.
func (t Thresholds) orDefault() (Thresholds, error) {
	out := DefaultThresholds()
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if _, ok := out[name]; !ok {
			return nil, fmt.Errorf("health threshold %q is not known; there are %s", name, strings.Join(slices.Sorted(maps.Keys(out)), ", "))
		}
		out[name] = t[name]
	}
	for _, m := range metrics() {
		if err := m.check(out[m.name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// check says what is wrong with a threshold of the metric.
func (m *metric) check(t Threshold) error {
	most, allowed := math.MaxFloat64, fmt.Sprintf("a number from %v on", m.least)
	if m.share {
		most, allowed = 1, "a share from 0 to 1"
	}
	for _, bound := range []struct {
		name  string
		value float64
	}{{"healthy", t.Healthy}, {"alert", t.Alert}} {
		if v := bound.value; math.IsNaN(v) || v < m.least || v > most {
			return fmt.Errorf("health threshold %s: %s is %v; it must be %s", m.name, bound.name, v, allowed)
		}
	}
	if best := m.best(); !m.inclusive && t.Healthy == best {
		return fmt.Errorf("health threshold %s: healthy is %v, which nothing can be better than", m.name, best)
	}
	if m.lessIsWorse() && t.Alert > t.Healthy {
		return fmt.Errorf("health threshold %s: alert is %v, above healthy, which is %v; less is worse", m.name, t.Alert, t.Healthy)
	}
	if !m.lessIsWorse() && t.Alert < t.Healthy {
		return fmt.Errorf("health threshold %s: alert is %v, below healthy, which is %v; more is worse", m.name, t.Alert, t.Healthy)
	}
	return nil
}

func (m *metric) lessIsWorse() bool { return m.threshold.Alert < m.threshold.Healthy }

// best is what the metric can be at best.
func (m *metric) best() float64 {
	if m.lessIsWorse() {
		return 1
	}
	return m.least
}

// figures are what the metrics are made of.
type figures struct {
	sum QueueStats
	// overDay counts the tasks under way since more than 24 hours, growing the hours
	// in a row in which the depth has grown.
	overDay, growing int64
}

// dayMS is the span that a queue's health is told of.
const dayMS = 24 * HourMS

// healthOf is the health of a queue.
func healthOf(c *QueueCount, thresholds Thresholds) []HealthMetric {
	var f figures
	for _, st := range c.Stats {
		f.sum.Add(st)
	}
	for hour, n := range c.Open {
		if hour*HourMS < c.NowMS-dayMS {
			f.overDay += n
		}
	}
	f.growing = growing(c.Stats, c.NowMS/HourMS)
	var out []HealthMetric
	for _, m := range metrics() {
		out = append(out, m.row(&f, thresholds[m.name]))
	}
	return out
}

// growing is for how many hours in a row, up to the one given, the depth has
// grown. That hour is not over: it has only to be one in which it has not fallen.
func growing(stats map[int64]QueueStats, hour int64) int64 {
	growth := func(hour int64) int64 { return stats[hour][StatGrowth] }
	var n int64
	switch {
	case growth(hour) < 0:
		return 0
	case growth(hour) > 0:
		n++
	}
	for hour--; growth(hour) > 0; hour-- {
		n++
	}
	return n
}

// row is the metric as it is shown.
func (m *metric) row(f *figures, t Threshold) HealthMetric {
	v, ok := m.value(f)
	row := HealthMetric{Name: m.name, Value: v, Range: m.healthy(t), State: HealthNoData}
	if ok {
		row.State = m.judge(v, t)
	}
	return row
}

func (m *metric) judge(v float64, t Threshold) HealthState {
	if m.lessIsWorse() {
		v, t = -v, Threshold{-t.Healthy, -t.Alert}
	}
	switch {
	case v < t.Healthy, m.inclusive && v == t.Healthy:
		return HealthOK
	case v > t.Alert:
		return HealthAlert
	default:
		return HealthWarn
	}
}

// healthy says in words what is well.
func (m *metric) healthy(t Threshold) string {
	figure := strconv.FormatFloat(t.Healthy, 'f', -1, 64) + m.unit
	if m.share {
		figure = strconv.FormatFloat(math.Round(t.Healthy*1e6)/1e4, 'f', -1, 64) + " %"
	}
	switch {
	case m.inclusive:
		return fmt.Sprintf("%.1f to %s", m.least, figure)
	case m.lessIsWorse():
		return "over " + figure
	default:
		return "under " + figure
	}
}

// ratio is a share of b; ok is false where there is nothing to share.
func ratio(a, b int64) (share float64, ok bool) {
	if b <= 0 {
		return 0, false
	}
	return float64(max(0, a)) / float64(b), true
}
