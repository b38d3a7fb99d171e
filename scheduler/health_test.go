package scheduler_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// figured is a store with figures of its own.
type figured struct {
	*memstore.Store
	count scheduler.QueueCount
}

func (f *figured) CountQueues(_ context.Context, queues []scheduler.QueueKey) ([]scheduler.QueueCount, error) {
	out := make([]scheduler.QueueCount, len(queues))
	for i := range out {
		out[i] = f.count
	}
	return out, nil
}

// health returns the rows of a queue of which that is counted.
func health(t *testing.T, count scheduler.QueueCount, cfg scheduler.Config) map[string]scheduler.HealthMetric {
	t.Helper()
	count.Known = true
	s, err := scheduler.New(&figured{memstore.New(memstore.Config{}), count}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Queue(t.Context(), scheduler.QueueKey{Namespace: "ns", Name: "q"})
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]scheduler.HealthMetric)
	for _, m := range v.Health {
		if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
			t.Errorf("%s is %v", m.Name, m.Value)
		}
		out[m.Name] = m
	}
	return out
}

// thisHour is a moment in the midst of an hour.
const thisHour = 500_000

var nowMS = thisHour*scheduler.HourMS + scheduler.HourMS/2

// inHours is a queue of which that was counted in its hours, the current one last.
func inHours(hours ...scheduler.QueueStats) scheduler.QueueCount {
	c := scheduler.QueueCount{NowMS: nowMS, Stats: make(map[int64]scheduler.QueueStats)}
	for i, st := range hours {
		c.Stats[thisHour-int64(len(hours)-1-i)] = st
	}
	return c
}

func TestHealth(t *testing.T) {
	t.Parallel()
	const ok, warn, alert, none = scheduler.HealthOK, scheduler.HealthWarn, scheduler.HealthAlert, scheduler.HealthNoData
	tasks := func(n, retried, dead int64) scheduler.QueueCount {
		return inHours(scheduler.QueueStats{
			scheduler.StatTasks: n, scheduler.StatFirstSuccesses: 1, scheduler.StatRetried: retried, scheduler.StatDead: dead,
			scheduler.StatSuccesses: 1, scheduler.StatAttempts: 1,
		})
	}
	attempts := func(successes, n int64) scheduler.QueueCount {
		return inHours(scheduler.QueueStats{
			scheduler.StatTasks: 1, scheduler.StatFirstSuccesses: 1, scheduler.StatSuccesses: successes, scheduler.StatAttempts: n,
		})
	}
	second := func(n, successes int64) scheduler.QueueCount {
		return inHours(scheduler.QueueStats{scheduler.StatSecondAttempts: n, scheduler.StatSecondSuccesses: successes})
	}
	open := func(hoursAgo, n int64) scheduler.QueueCount {
		c := inHours()
		c.Open = map[int64]int64{thisHour - hoursAgo: n}
		return c
	}
	growth := func(by ...int64) scheduler.QueueCount {
		var hours []scheduler.QueueStats
		for _, n := range by {
			hours = append(hours, scheduler.QueueStats{scheduler.StatGrowth: n})
		}
		return inHours(hours...)
	}
	for _, c := range []struct {
		name  string
		count scheduler.QueueCount
		value float64
		state scheduler.HealthState
	}{
		{"retry_rate", tasks(1000, 49, 0), 0.049, ok},
		{"retry_rate", tasks(1000, 50, 0), 0.05, warn},
		{"retry_rate", tasks(1000, 100, 0), 0.1, warn},
		{"retry_rate", tasks(1000, 101, 0), 0.101, alert},
		{"retry_rate", inHours(scheduler.QueueStats{scheduler.StatTasks: 10, scheduler.StatRetried: 10}), 0, none},
		{"retry_rate", inHours(), 0, none},
		{"dead_letter_rate", tasks(1000, 0, 4), 0.004, ok},
		{"dead_letter_rate", tasks(1000, 0, 5), 0.005, warn},
		{"dead_letter_rate", tasks(1000, 0, 11), 0.011, alert},
		{"dead_letter_rate", inHours(scheduler.QueueStats{scheduler.StatTasks: 10, scheduler.StatDead: 10}), 0, none},
		{"average_attempts_to_success", attempts(10, 13), 1.3, ok},
		{"average_attempts_to_success", attempts(100, 131), 1.31, warn},
		{"average_attempts_to_success", attempts(10, 20), 2, warn},
		{"average_attempts_to_success", attempts(10, 21), 2.1, alert},
		{"average_attempts_to_success", inHours(scheduler.QueueStats{scheduler.StatSuccesses: 1, scheduler.StatAttempts: 3}), 0, none},
		{"tasks_over_24h", open(25, 9), 9, ok},
		{"tasks_over_24h", open(25, 10), 10, warn},
		{"tasks_over_24h", open(24, 10), 10, warn},
		{"tasks_over_24h", open(23, 10), 0, ok},
		{"tasks_over_24h", open(900, 101), 101, alert},
		{"second_attempt_success_rate", second(10, 9), 0.9, ok},
		{"second_attempt_success_rate", second(10, 8), 0.8, warn},
		{"second_attempt_success_rate", second(10, 6), 0.6, warn},
		{"second_attempt_success_rate", second(100, 59), 0.59, alert},
		{"second_attempt_success_rate", second(10, 0), 0, alert},
		{"second_attempt_success_rate", second(0, 0), 0, none},
		{"depth_growth", growth(1, 1), 2, ok},
		{"depth_growth", growth(1, 1, 1), 3, warn},
		{"depth_growth", growth(1, 1, 1, 1, 1, 1), 6, warn},
		{"depth_growth", growth(1, 1, 1, 1, 1, 1, 5), 7, alert},
		{"depth_growth", growth(1, 1, 1, 1, 1, 1, 1, 0), 7, alert},
		{"depth_growth", growth(1, 1, 1, 1, 1, 1, 1, -1), 0, ok},
		{"depth_growth", growth(1, 1, 1, 0, 1, 1), 2, ok},
		{"depth_growth", growth(1, 1, 1, -5, 1, 1, 1), 3, warn},
		{"depth_growth", growth(), 0, ok},
	} {
		row := health(t, c.count, scheduler.Config{})[c.name]
		if math.Abs(row.Value-c.value) > 1e-9 || row.State != c.state {
			t.Errorf("%s is %v in state %d, want %v in state %d", c.name, row.Value, row.State, c.value, c.state)
		}
	}
}

func TestHealthAddsUpItsHours(t *testing.T) {
	t.Parallel()
	st := scheduler.QueueStats{scheduler.StatTasks: 10, scheduler.StatFirstSuccesses: 1, scheduler.StatRetried: 1}
	quiet := scheduler.QueueStats{scheduler.StatTasks: 80, scheduler.StatFirstSuccesses: 80}
	row := health(t, inHours(st, quiet, st), scheduler.Config{})["retry_rate"]
	equal(t, "retry rate", row.Value, 0.02)
}

func TestHealthSaysWhatIsHealthy(t *testing.T) {
	t.Parallel()
	told := func(cfg scheduler.Config) map[string]string {
		out := make(map[string]string)
		for name, row := range health(t, inHours(), cfg) {
			out[name] = row.Range
		}
		return out
	}
	equal(t, "by default", told(scheduler.Config{}), map[string]string{
		"retry_rate": "under 5 %", "dead_letter_rate": "under 0.5 %", "average_attempts_to_success": "1.0 to 1.3",
		"tasks_over_24h": "under 10", "second_attempt_success_rate": "over 80 %", "depth_growth": "under 3 h",
	})
	equal(t, "otherwise", told(scheduler.Config{Health: scheduler.Thresholds{
		"retry_rate": {0.125, 0.5}, "dead_letter_rate": {0.0001, 0.001}, "average_attempts_to_success": {2, 3},
		"tasks_over_24h": {1000, 1000}, "second_attempt_success_rate": {0.07, 0}, "depth_growth": {1.5, 2},
	}}), map[string]string{
		"retry_rate": "under 12.5 %", "dead_letter_rate": "under 0.01 %", "average_attempts_to_success": "1.0 to 2",
		"tasks_over_24h": "under 1000", "second_attempt_success_rate": "over 7 %", "depth_growth": "under 1.5 h",
	})
}

func TestHealthThresholdsAreSettable(t *testing.T) {
	t.Parallel()
	c := inHours(scheduler.QueueStats{scheduler.StatTasks: 100, scheduler.StatFirstSuccesses: 70, scheduler.StatRetried: 30, scheduler.StatDead: 3})
	rows := health(t, c, scheduler.Config{Health: scheduler.Thresholds{"retry_rate": {0.4, 0.5}}})
	equal(t, "set, and default", []any{rows["retry_rate"].State, rows["dead_letter_rate"].State}, []any{scheduler.HealthOK, scheduler.HealthAlert})
}

func TestHealthThresholdThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		thresholds scheduler.Thresholds
		want       string
	}{
		"unknown":     {scheduler.Thresholds{"retries": {1, 2}}, `"retries" is not known; there are average_attempts_to_success, dead_letter_rate`},
		"no number":   {scheduler.Thresholds{"retry_rate": {math.NaN(), 1}}, "retry_rate: healthy is NaN; it must be a share from 0 to 1"},
		"negative":    {scheduler.Thresholds{"tasks_over_24h": {1, -1}}, "tasks_over_24h: alert is -1; it must be a number from 0 on"},
		"percent":     {scheduler.Thresholds{"dead_letter_rate": {0.5, 5}}, "dead_letter_rate: alert is 5; it must be a share from 0 to 1"},
		"no attempt":  {scheduler.Thresholds{"average_attempts_to_success": {0.5, 2}}, "average_attempts_to_success: healthy is 0.5; it must be a number from 1 on"},
		"infinite":    {scheduler.Thresholds{"depth_growth": {1, math.Inf(1)}}, "depth_growth: alert is +Inf; it must be a number from 0 on"},
		"unreachable": {scheduler.Thresholds{"depth_growth": {0, 1}}, "depth_growth: healthy is 0, which nothing can be better than"},
		"all":         {scheduler.Thresholds{"second_attempt_success_rate": {1, 0.5}}, "healthy is 1, which nothing can be better than"},
		"wrong order": {scheduler.Thresholds{"retry_rate": {0.2, 0.1}}, "retry_rate: alert is 0.1, below healthy, which is 0.2; more is worse"},
		"less order":  {scheduler.Thresholds{"second_attempt_success_rate": {0.5, 0.6}}, "second_attempt_success_rate: alert is 0.6, above healthy, which is 0.5; less is worse"},
	} {
		_, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Health: c.thresholds})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	given := scheduler.Thresholds{"retry_rate": {0.2, 0.4}}
	if _, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Health: given}); err != nil {
		t.Error(err)
	}
	equal(t, "what was given", len(given), 1)
}

func TestHealthOfAQueueAtWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Config{Shards: 4}))
		row := func(name string) scheduler.HealthMetric {
			for _, m := range w.view("q").Health {
				if m.Name == name {
					return m
				}
			}
			t.Fatalf("there is no row %s", name)
			return scheduler.HealthMetric{}
		}
		for i := range 10 {
			w.report(failure(fmt.Sprint("bad", i)))
		}
		equal(t, "without a first success", row("retry_rate").State, scheduler.HealthNoData)
		for i := range 90 {
			w.report(success(fmt.Sprint("good", i)))
		}
		equal(t, "retry rate", row("retry_rate").Value, 0.1)
		equal(t, "of few retries", row("second_attempt_success_rate").State, scheduler.HealthNoData)
		w.pass(time.Minute)
		for i := range 10 {
			if i < 9 {
				w.report(success(fmt.Sprint("bad", i)))
			} else {
				w.report(failure(fmt.Sprint("bad", i)))
			}
		}
		equal(t, "second attempts", row("second_attempt_success_rate").Value, 0.9)
		equal(t, "attempts to success", row("average_attempts_to_success").Value, float64(90+9*2)/99)
		w.pass(23 * time.Hour)
		equal(t, "over 24 h", row("tasks_over_24h").Value, 0.0)
		w.pass(2 * time.Hour)
		equal(t, "over 24 h", row("tasks_over_24h").Value, 1.0)
		equal(t, "after a day", row("retry_rate").State, scheduler.HealthNoData)
	})
}
