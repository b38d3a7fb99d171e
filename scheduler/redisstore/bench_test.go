package redisstore_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/scheduler/storetest"
)

// benchStore is a store on a server of its own.
func benchStore(b *testing.B) *redisstore.Store {
	b.Helper()
	return newStore(b, redisstore.Config{URL: redistest.Start(b).URL()})
}

// redisSeconds is how much processor time a store's Redis has used.
func redisSeconds(b *testing.B, s *redisstore.Store) float64 {
	b.Helper()
	text, err := s.Client().Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	var sum float64
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		v, err := strconv.ParseFloat(infoField(text, field), 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += v
	}
	return sum
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) (scheduler.Store, func() float64) {
		b.Helper()
		s := newStore(b, redisstore.Config{URL: redistest.Start(b).URL(), Shards: 1})
		return s, func() float64 { return redisSeconds(b, s) }
	})
}

// perTask reports the time per task of calls that take many.
func perTask(b *testing.B, n int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/task")
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
					for i := range n {
						id := fmt.Sprintf("order-%010d-%d", b.N, i)
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
