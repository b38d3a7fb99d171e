package scheduler_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// auditedStore is a store whose walks are what a test says.
type auditedStore struct {
	*memstore.Store
	t  *testing.T
	mu sync.Mutex
	// walks counts those begun, passes holds when each pass was.
	walks  int
	passes []time.Time
	// pass makes a pass of a walk; both are counted from 1.
	pass func(walk, pass int) (scheduler.AuditPass, error)
	// lost refuses everybody the turn, and away fails to answer.
	lost, away atomic.Bool
	// asked counts how often the turn was asked for.
	asked atomic.Int32
}

func (s *auditedStore) AuditTurn(ctx context.Context, replica string, hold time.Duration) (bool, error) {
	s.asked.Add(1)
	switch {
	case s.lost.Load():
		return false, nil
	case s.away.Load():
		return false, errAway
	}
	return s.Store.AuditTurn(ctx, replica, hold)
}

func (s *auditedStore) Audit() scheduler.AuditWalk {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.walks++
	return &auditedWalk{store: s, walk: s.walks}
}

// made returns how many walks were begun, and when the passes were.
func (s *auditedStore) made() (int, []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.walks, append([]time.Time{}, s.passes...)
}

type auditedWalk struct {
	store      *auditedStore
	walk, pass int
}

func (w *auditedWalk) Pass(context.Context) (scheduler.AuditPass, error) {
	w.store.mu.Lock()
	w.pass++
	w.store.passes = append(w.store.passes, time.Now())
	w.store.mu.Unlock()
	return w.store.pass(w.walk, w.pass)
}

// auditing runs test in a bubble in which nothing runs yet.
func auditing(t *testing.T, test func(s *auditedStore)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(&auditedStore{Store: memstore.New(memstore.Config{}), t: t}) })
}

// audit runs a scheduler over the store, and returns it, what it logs, and what stops it.
func (s *auditedStore) audit(cfg scheduler.AuditConfig) (*scheduler.Scheduler, *bytes.Buffer, func()) {
	t := s.t
	t.Helper()
	var log bytes.Buffer
	sched, err := scheduler.New(s, scheduler.Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Audit: cfg})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sched.Run(ctx) }()
	synctest.Wait()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return sched, &log, stop
}

// passTime lets virtual time pass.
func passTime(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAuditKeepsItsPace(t *testing.T) {
	auditing(t, func(s *auditedStore) {
		s.pass = func(_, pass int) (scheduler.AuditPass, error) {
			return scheduler.AuditPass{Looked: 100 * pass, Done: pass == 3}, nil
		}
		start := time.Now()
		sched, _, _ := s.audit(scheduler.AuditConfig{Rate: 1000, Interval: 20 * time.Second})
		passTime(29 * time.Second)
		walks, passes := s.made()
		equal(s.t, "walks", walks, 2)
		var at []time.Duration
		for _, p := range passes {
			at = append(at, p.Sub(start))
		}
		ms := time.Millisecond
		equal(s.t, "passes", at, []time.Duration{0, 100 * ms, 300 * ms, 20_000 * ms, 20_100 * ms, 20_300 * ms})
		want := scheduler.AuditCounts{Walks: 2, LastWalk: 300 * ms, Looked: 1200}
		equal(s.t, "counts", sched.AuditCounts(), want)
	})
}

func TestAuditOfAStoreThatIsSlowLeavesItSomeTime(t *testing.T) {
	auditing(t, func(s *auditedStore) {
		s.pass = func(int, int) (scheduler.AuditPass, error) {
			<-time.After(60 * time.Millisecond)
			return scheduler.AuditPass{Looked: 1}, nil
		}
		s.audit(scheduler.AuditConfig{})
		passTime(8 * time.Second)
		if _, passes := s.made(); len(passes) < 95 || len(passes) > 101 {
			s.t.Errorf("%d passes of 60 ms in 8 s, want 100", len(passes))
		}
	})
}

func TestAuditIsOneReplicasWork(t *testing.T) {
	auditing(t, func(s *auditedStore) {
		s.pass = func(int, int) (scheduler.AuditPass, error) { return scheduler.AuditPass{Looked: 1000}, nil }
		first, _, stop := s.audit(scheduler.AuditConfig{})
		second, _, _ := s.audit(scheduler.AuditConfig{})
		passTime(time.Minute)
		walks, _ := s.made()
		equal(s.t, "walks", walks, 1)
		equal(s.t, "looked at by the second", second.AuditCounts().Looked, int64(0))
		looked := first.AuditCounts().Looked
		stop()
		// The turn is given back: the other has it when it next asks.
		passTime(6 * time.Second)
		if second.AuditCounts().Looked == 0 || first.AuditCounts().Looked != looked {
			s.t.Errorf("looked at: %d by the first, which has stopped, %d by the second", first.AuditCounts().Looked-looked, second.AuditCounts().Looked)
		}
	})
}

func TestAuditTurnOfAReplicaThatIsGoneEnds(t *testing.T) {
	auditing(t, func(s *auditedStore) {
		s.pass = func(int, int) (scheduler.AuditPass, error) { return scheduler.AuditPass{Looked: 1000}, nil }
		_, _, stop := s.audit(scheduler.AuditConfig{})
		second, _, _ := s.audit(scheduler.AuditConfig{})
		s.away.Store(true)
		stop()
		s.away.Store(false)
		passTime(21 * time.Second)
		if second.AuditCounts().Looked == 0 {
			s.t.Error("nobody has taken over after 21 s")
		}
	})
}

func TestAuditStopsWhenItHasLostItsTurn(t *testing.T) {
	auditing(t, func(s *auditedStore) {
		s.pass = func(int, int) (scheduler.AuditPass, error) { return scheduler.AuditPass{Looked: 1000}, nil }
		sched, _, _ := s.audit(scheduler.AuditConfig{})
		passTime(time.Second)
		s.lost.Store(true)
		passTime(20 * time.Second)
		looked := sched.AuditCounts().Looked
		passTime(time.Minute)
		if got := sched.AuditCounts().Looked - looked; got > 0 {
			s.t.Errorf("%d looked at without the turn", got)
		}
	})
}

func TestAuditCountsAndLogsWhatItFinds(t *testing.T) {
	auditing(t, func(s *auditedStore) {
		s.pass = func(walk, _ int) (scheduler.AuditPass, error) {
			pass := scheduler.AuditPass{Done: true}
			if walk > 1 {
				return pass, nil
			}
			for i := range 30 {
				pass.Findings = append(pass.Findings, scheduler.Finding{Kind: scheduler.FindingMissing, Shard: 3, Namespace: "ns", Name: fmt.Sprint("t", i), Detail: "due of queue q"})
			}
			pass.Findings[7].Kind, pass.Findings[7].Left = scheduler.FindingUnreadable, true
			return pass, nil
		}
		sched, log, stop := s.audit(scheduler.AuditConfig{})
		passTime(2 * time.Minute)
		counts := sched.AuditCounts()
		equal(s.t, "missing, unreadable, left", []int64{counts.Found[scheduler.FindingMissing], counts.Found[scheduler.FindingUnreadable], counts.Left}, []int64{29, 1, 1})
		stop()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		equal(s.t, "lines", len(lines), 21)
		for i, want := range map[int]string{
			0:  `kind=missing namespace=ns name=t0 shard=3 detail="due of queue q" outcome=mended`,
			7:  `kind=unreadable namespace=ns name=t7 shard=3 detail="due of queue q" outcome="left as it is"`,
			20: "more=10",
		} {
			if !strings.HasSuffix(lines[i], want) {
				s.t.Errorf("line %d is %s\nwant %s", i, lines[i], want)
			}
		}
	})
}

func TestAuditThatFailsBeginsAnewAndSaysSoOnce(t *testing.T) {
	auditing(t, func(s *auditedStore) {
		var well atomic.Bool
		s.pass = func(int, int) (scheduler.AuditPass, error) {
			if !well.Load() {
				return scheduler.AuditPass{}, errAway
			}
			return scheduler.AuditPass{Looked: 1, Done: true}, nil
		}
		_, log, stop := s.audit(scheduler.AuditConfig{})
		passTime(2 * time.Minute)
		walks, _ := s.made()
		equal(s.t, "walks begun in 2 min", walks, 25)
		well.Store(true)
		passTime(time.Minute)
		stop()
		equal(s.t, "lines", strings.Count(log.String(), "\n"), 1)
	})
}

func TestAuditIsOffWhereItIsSwitchedOff(t *testing.T) {
	auditing(t, func(s *auditedStore) {
		s.audit(scheduler.AuditConfig{Off: true})
		passTime(time.Hour)
		equal(s.t, "times that the turn was asked for", s.asked.Load(), int32(0))
	})
}

func TestAuditConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]scheduler.AuditConfig{
		"": {Interval: time.Second, Rate: 1_000_000},
		"audit interval is 999ms: it must be at least 1s": {Interval: 999 * time.Millisecond},
		"audit interval is -1s: it must be at least 1s":   {Interval: -time.Second},
		"audit rate is -1: it must be 1 to 1000000":       {Rate: -1},
		"audit rate is 1000001: it must be 1 to 1000000":  {Rate: 1_000_001},
	} {
		_, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Audit: cfg})
		if got := fmt.Sprint(err); got != want && (want != "" || err != nil) {
			t.Errorf("%+v: error %q, want %q", cfg, got, want)
		}
	}
}

func TestFindingNames(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for k := range scheduler.NumFindings {
		names[k.String()] = true
	}
	equal(t, "names", len(names), int(scheduler.NumFindings))
	equal(t, "a name of none", scheduler.NumFindings.String(), "unknown")
}
