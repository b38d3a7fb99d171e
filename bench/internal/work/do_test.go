package work_test

import (
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/bench/internal/work"
)

func do(t *testing.T, job work.Job, f *fake) (*work.Result, error) {
	t.Helper()
	job.Payload = 200
	d := work.New(&job, f)
	if err := d.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d.Run(t.Context())
}

// wantSeconds allows for the turns of the fake's loop.
func wantSeconds(t *testing.T, res *work.Result, want float64) {
	t.Helper()
	if math.Abs(res.Seconds-want) > 0.02 {
		t.Errorf("%g s, want %g", res.Seconds, want)
	}
}

func TestReportCountsWhatWasPutInItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		res, err := do(t, work.Job{Kind: work.Report, Callers: 4, Batch: 10, Time: time.Second, First: 500}, f)
		if err != nil {
			t.Fatal(err)
		}
		// 4 callers, a call each millisecond, 10 tasks a call.
		if res.Tasks < 40_000 || res.Tasks > 40_080 {
			t.Errorf("%d tasks in a second", res.Tasks)
		}
		wantSeconds(t, res, 1)
		seen := make(map[int]bool)
		for _, task := range f.tasks {
			if seen[task.Index] || task.Index < 500 {
				t.Fatalf("index %d, a second time or before the first", task.Index)
			}
			seen[task.Index] = true
			if len(task.Payload) != 200 {
				t.Fatalf("a payload of %d bytes", len(task.Payload))
			}
		}
		// What warmed it up is there, and not counted.
		if more := len(f.tasks) - res.Tasks; more != 1000 {
			t.Errorf("%d tasks are not counted", more)
		}
	})
}

func TestReportOfSomeTasksPutsThoseAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		res, err := do(t, work.Job{Kind: work.Report, Tasks: 1001, Callers: 3, Batch: 100}, f)
		if err != nil || res.Tasks != 1001 || len(f.tasks) != 1001 {
			t.Errorf("%d tasks, %d put, error %v", res.Tasks, len(f.tasks), err)
		}
	})
}

func TestDrainMeasuresHandOutsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		res, err := do(t, work.Job{Kind: work.Drain, Tasks: 1000, InFlight: 8}, &fake{cost: time.Millisecond})
		if err != nil || res.Tasks != 1000 || res.Cut {
			t.Errorf("%+v, error %v", res, err)
		}
		wantSeconds(t, res, 1)
	})
}

func TestTheLimitCutsASlowDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		res, err := do(t, work.Job{Kind: work.Drain, Tasks: 1000, InFlight: 8, Limit: 100 * time.Millisecond}, &fake{cost: time.Millisecond})
		if err != nil || !res.Cut || res.Tasks < 98 || res.Tasks > 100 {
			t.Errorf("%+v, error %v", res, err)
		}
		wantSeconds(t, res, 0.1)
	})
}

func TestTimingTellsHowLateAttemptsCame(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lag   time.Duration
		early int
	}{"late": {50 * time.Millisecond, 0}, "early": {-50 * time.Millisecond, 500}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				res, err := do(t, work.Job{Kind: work.Timing, Tasks: 500, InFlight: 8, Time: 10 * time.Second}, &fake{lag: tt.lag})
				if err != nil || res.Tasks != 500 {
					t.Fatalf("%+v, error %v", res, err)
				}
				ms := float64(tt.lag.Milliseconds())
				if l := res.Late; l.Early != tt.early || math.Abs(l.P50-ms) > 2 || l.Min > l.P50 || l.P50 > l.P99 || l.P99 > l.Max {
					t.Errorf("lateness %+v, want about %g ms", l, ms)
				}
			})
		})
	}
}

func TestLoopFailsEveryTaskOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind    work.Kind
		owners  bool
		handled int
	}{
		"the worker makes both attempts":                  {work.Loop, false, 200},
		"the caller makes the first":                      {work.Loop, true, 100},
		"handed out both, though the caller may have one": {work.HandedLoop, true, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fake{owners: tt.owners}
				res, err := do(t, work.Job{Kind: tt.kind, Tasks: 100, InFlight: 8, First: 7}, f)
				if err != nil || res.Tasks != 100 || f.handled != tt.handled {
					t.Errorf("%+v, %d attempts handed out, error %v", res, f.handled, err)
				}
				wantSeconds(t, res, 1)
			})
		})
	}
}

func TestAFailedCallEndsTheWork(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection refused")
	for _, kind := range []work.Kind{work.Report, work.Fill, work.Finish, work.Timing, work.Loop} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				f := &fake{put: func([]work.Task) error {
					if calls.Add(1) > 2 {
						return broken
					}
					return nil
				}}
				job := work.Job{Kind: kind, Tasks: 10_000, Callers: 2, Batch: 10, InFlight: 8, Time: time.Second, Limit: time.Minute}
				if _, err := do(t, job, f); !errors.Is(err, broken) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestAnUnknownKindIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := do(t, work.Job{Kind: "sleep"}, &fake{}); err == nil {
		t.Error("no error")
	}
}

func TestParseDeliveryRefusesStrangers(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "hello", "abcdefghij 0000000000000000001 x", "0000000001 000000000000000000x x"} {
		if got, err := work.ParseDelivery(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
	got, err := work.ParseDelivery("0000000042 0000000001000000007 abc")
	if err != nil || got.Index != 42 || !got.Due.Equal(time.Unix(1, 7)) {
		t.Errorf("%+v, error %v", got, err)
	}
}
