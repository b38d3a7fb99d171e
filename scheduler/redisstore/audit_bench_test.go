package redisstore_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// auditKinds are the tasks that the auditor is measured with.
var auditKinds = []struct {
	name string
	make func(t *scheduler.Task, i int)
}{
	{"pending", func(*scheduler.Task, int) {}},
	{"pending/8KiB", func(t *scheduler.Task, _ int) { t.Spec.Payload = make([]byte, 8<<10) }},
	{"held/1KiB", func(t *scheduler.Task, i int) {
		t.State, t.HoldCondition, t.HoldMS = scheduler.StateHeld, fmt.Sprint("c", i%10), t.DueMS
		t.Spec.Payload = make([]byte, 1<<10)
	}},
	{"dead/a fingerprint each", func(t *scheduler.Task, i int) { die(t, i) }},
	{"dead/1KiB", func(t *scheduler.Task, i int) { die(t, i%100); t.Spec.Payload = make([]byte, 1<<10) }},
	{"dead/8KiB", func(t *scheduler.Task, i int) { die(t, i%100); t.Spec.Payload = make([]byte, 8<<10) }},
	{"dead/8KiB, a fingerprint each", func(t *scheduler.Task, i int) { die(t, i); t.Spec.Payload = make([]byte, 8<<10) }},
}

func die(t *scheduler.Task, fingerprint int) {
	t.State, t.EndMS, t.ExpireMS = scheduler.StateDead, t.DueMS, t.DueMS+scheduler.HourMS
	t.Fingerprint = scheduler.Fingerprint(fingerprint + 1)
}

// with100k is a store with 100,000 tasks that are not due for a while, every tenth in a
// group.
func with100k(b *testing.B, change func(t *scheduler.Task, i int)) *redisstore.Store {
	b.Helper()
	s := benchStore(b)
	nowMS := time.Now().UnixMilli()
	for from := range 1000 {
		changes := make([]scheduler.Change, 100)
		for i := range changes {
			task := pendingTask(fmt.Sprintf("order-%010d", from*100+i))
			task.DueMS = nowMS + scheduler.HourMS + int64(i)
			if i%10 == 0 {
				task.Spec.Group = fmt.Sprint("campaign-", from)
			}
			change(task, from*100+i)
			changes[i] = scheduler.Change{Key: task.Key, Task: task}
		}
		wantDone(b, s.Commit(b.Context(), changes))
	}
	return s
}

// BenchmarkAuditWalk walks over 100,000 tasks with no pause. At the default rate, a walk
// is spread over at least looked/20,000 seconds.
func BenchmarkAuditWalk(b *testing.B) {
	for _, kind := range auditKinds {
		b.Run(kind.name, func(b *testing.B) { benchmarkWalk(b, with100k(b, kind.make)) })
	}
}

func benchmarkWalk(b *testing.B, s *redisstore.Store) {
	b.Helper()
	looked := 0
	before := redisSeconds(b, s)
	for b.Loop() {
		walk := s.Audit()
		for {
			pass, err := walk.Pass(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if len(pass.Findings) > 0 {
				b.Fatalf("found: %+v", pass.Findings)
			}
			looked += pass.Looked
			if pass.Done {
				break
			}
		}
	}
	b.ReportMetric((redisSeconds(b, s)-before)/float64(b.N), "redis-s/walk")
	b.ReportMetric(float64(looked)/float64(b.N), "looked")
}

// BenchmarkAuditFinds has an auditor walk over 100,000 tasks at its default pace, and
// plants a fault of each of four kinds at moments that are spread over a minute. It
// reports how long the slowest was there, and what share of a processor Redis took.
func BenchmarkAuditFinds(b *testing.B) {
	for b.Loop() {
		s := with100k(b, auditKinds[0].make)
		sched, err := scheduler.New(s, scheduler.Config{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- sched.Run(ctx) }()
		before, began := redisSeconds(b, s), time.Now()
		q := scheduler.QueueKey{Namespace: "default", Name: "webhooks"}
		planted, at := 0, make(map[scheduler.FindingKind]time.Time)
		var slowest time.Duration
		tick := time.NewTicker(50 * time.Millisecond)
		for planted < len(bigPlants) || len(at) > 0 {
			<-tick.C
			counts := sched.AuditCounts()
			for kind, when := range at {
				if counts.Found[kind] > 0 {
					slowest = max(slowest, time.Since(when))
					delete(at, kind)
				}
			}
			if planted < len(bigPlants) && time.Since(began) > time.Duration(planted)*15*time.Second+7*time.Second {
				p := bigPlants[planted]
				if err := s.Client().Do(ctx, p.command(s, q)...).Err(); err != nil {
					b.Fatal(err)
				}
				at[p.kind] = time.Now()
				planted++
			}
			if time.Since(began) > 3*time.Minute {
				b.Fatalf("not found after 3 min: %v", at)
			}
		}
		tick.Stop()
		b.ReportMetric(100*(redisSeconds(b, s)-before)/time.Since(began).Seconds(), "redis-%")
		b.ReportMetric(slowest.Seconds(), "s-slowest")
		b.ReportMetric(sched.AuditCounts().LastWalk.Seconds(), "s/walk")
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		found, err := s.Verify(b.Context())
		if err != nil || len(found) > 0 {
			b.Fatalf("it is not sound: %v, error %v", found, err)
		}
	}
}

// bigPlants are faults, and what each is found as.
var bigPlants = []struct {
	kind    scheduler.FindingKind
	command func(s *redisstore.Store, q scheduler.QueueKey) []any
}{
	{scheduler.FindingMissing, func(s *redisstore.Store, q scheduler.QueueKey) []any {
		return []any{"ZREMRANGEBYRANK", s.DueKey(3, q), 500, 500}
	}},
	{scheduler.FindingQueueCount, func(s *redisstore.Store, q scheduler.QueueKey) []any {
		return []any{"HINCRBY", s.CountKey(5, q), "l", 1}
	}},
	{scheduler.FindingOrphan, func(s *redisstore.Store, q scheduler.QueueKey) []any {
		return []any{"ZADD", s.DueKey(7, q), time.Now().UnixMilli() + scheduler.HourMS, "ghost"}
	}},
	{scheduler.FindingGroupCount, func(s *redisstore.Store, _ scheduler.QueueKey) []any {
		task := pendingTask("order-0000000000")
		task.Spec.Group = "campaign-0"
		return []any{"HINCRBY", s.GroupKey(task), "i", 1}
	}},
}
