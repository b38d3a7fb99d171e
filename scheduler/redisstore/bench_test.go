package redisstore_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// benchStore is a store on a server of its own.
func benchStore(b *testing.B) *redisstore.Store {
	b.Helper()
	return newStore(b, redisstore.Config{URL: redistest.Start(b).URL()})
}

var benchIDs atomic.Int64

func benchChanges(n int) []scheduler.Change {
	from := benchIDs.Add(int64(n))
	changes := make([]scheduler.Change, n)
	for i := range changes {
		task := pendingTask(fmt.Sprintf("order-%010d", from-int64(i)))
		changes[i] = scheduler.Change{Key: task.Key, Task: task, DecidedMS: startMS, Final: true}
	}
	return changes
}

// inGroup puts new tasks into a group.
func inGroup(changes []scheduler.Change, group string) []scheduler.Change {
	for i := range changes {
		changes[i].Task.Spec.Group = group
	}
	return changes
}

// benchGroups are without a group and with one.
var benchGroups = map[string]string{"": "", "/group": "campaign"}

// redisCPU measures what Redis itself takes for what lies between start and stop.
type redisCPU struct {
	b             *testing.B
	s             *redisstore.Store
	began, amount float64
}

func (c *redisCPU) seconds() float64 {
	text, err := c.s.Client().Info(c.b.Context(), "cpu").Result()
	if err != nil {
		c.b.Fatal(err)
	}
	var sum float64
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		v, err := strconv.ParseFloat(infoField(text, field), 64)
		if err != nil {
			c.b.Fatal(err)
		}
		sum += v
	}
	return sum
}

func (c *redisCPU) start() { c.began = c.seconds() }
func (c *redisCPU) stop()  { c.amount += c.seconds() - c.began }

func (c *redisCPU) report(n int) {
	c.b.ReportMetric(c.amount*1e6/float64(c.b.N)/float64(n), "redis-us/task")
}

// perTask reports the time per task of calls that take many.
func perTask(b *testing.B, n int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/task")
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		for name, group := range benchGroups {
			b.Run(fmt.Sprint(n, name), func(b *testing.B) {
				s := benchStore(b)
				cpu := redisCPU{b: b, s: s}
				cpu.start()
				for b.Loop() {
					wantDone(b, s.Commit(b.Context(), inGroup(benchChanges(n), group)))
				}
				cpu.stop()
				perTask(b, n)
				cpu.report(n)
			})
		}
	}
}

// BenchmarkCommitCallers commits one task a call from many callers at once, as
// reports come in.
func BenchmarkCommitCallers(b *testing.B) {
	for _, callers := range []int{8, 64, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := benchStore(b)
			b.SetParallelism(callers / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					wantDone(b, s.Commit(b.Context(), benchChanges(1)))
				}
			})
		})
	}
}

// BenchmarkClaimAndSettle hands out and ends tasks, up to 100 at a time.
func BenchmarkClaimAndSettle(b *testing.B) {
	for _, n := range []int{1, 100} {
		for name, group := range benchGroups {
			b.Run(fmt.Sprint(n, name), func(b *testing.B) { benchClaims(b, n, group, true) })
		}
	}
}

func BenchmarkClaim(b *testing.B) {
	for name, group := range benchGroups {
		b.Run(fmt.Sprint(100, name), func(b *testing.B) { benchClaims(b, 100, group, false) })
	}
}

func benchClaims(b *testing.B, n int, group string, settle bool) {
	b.Helper()
	s := newStore(b, redisstore.Config{URL: redistest.Start(b).URL(), Shards: 1})
	cpu := redisCPU{b: b, s: s}
	nonces := make([]uint64, n)
	for b.Loop() {
		b.StopTimer()
		changes := inGroup(benchChanges(n), group)
		for i := range changes {
			changes[i].Task.DueMS = 1
		}
		wantDone(b, s.Commit(b.Context(), changes))
		cpu.start()
		b.StartTimer()
		got := s.Claim(b.Context(), []scheduler.Claim{{
			ID: uint64(benchIDs.Add(1)), Replica: "r", Queue: changes[0].Task.Queue(),
			Slots: []scheduler.Slot{{Count: n, LeaseMS: 3_600_000, Worker: "worker"}}, Nonces: nonces,
		}})[0]
		if len(got.Tasks) != n {
			b.Fatalf("%d claimed, error %v", len(got.Tasks), got.Err)
		}
		if settle {
			for i, t := range got.Tasks {
				next := *t
				next.State, next.ExpireMS, next.Spec.Payload = scheduler.StateSucceeded, 1<<42, nil
				changes[i] = scheduler.Change{Key: t.Key, Before: t, Task: &next, DecidedMS: startMS, Final: true}
			}
			wantDone(b, s.Commit(b.Context(), changes))
		}
		b.StopTimer()
		cpu.stop()
		b.StartTimer()
	}
	perTask(b, n)
	cpu.report(n)
}

// BenchmarkFloor is what Redis and its client take for the bare minimum: a value
// of a record's length and its place in a sorted set, without a check.
func BenchmarkFloor(b *testing.B) {
	record := encode(b, pendingTask("a"))
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint("pipeline/", n), func(b *testing.B) {
			s := benchStore(b)
			for b.Loop() {
				_, err := s.Client().Pipelined(b.Context(), func(pipe redis.Pipeliner) error {
					for range n {
						id := fmt.Sprintf("order-%010d", benchIDs.Add(1))
						pipe.Set(b.Context(), "t:"+id, record, 0)
						pipe.ZAdd(b.Context(), "due", redis.Z{Score: float64(startMS), Member: id})
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			perTask(b, n)
		})
	}
	b.Run("set", func(b *testing.B) {
		s := benchStore(b)
		for b.Loop() {
			if err := s.Client().Set(b.Context(), "t", record, 0).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("empty script", func(b *testing.B) {
		s := benchStore(b)
		script := redis.NewScript("return 1")
		for b.Loop() {
			if err := script.Run(b.Context(), s.Client(), []string{"t"}, record).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, callers := range []int{8, 64, 256} {
		b.Run(fmt.Sprint("empty script/callers ", callers), func(b *testing.B) {
			s := benchStore(b)
			script := redis.NewScript("return 1")
			b.SetParallelism(callers / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := script.Run(b.Context(), s.Client(), []string{"t"}, record).Err(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
