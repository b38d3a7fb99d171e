package memstore_test

import (
	"testing"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/scheduler/storetest"
)

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(*testing.B) (scheduler.Store, func() float64) {
		return memstore.New(memstore.Config{Shards: 1}), nil
	})
}
