package memstore_test

import (
	"testing"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/scheduler/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Exercise(t, func(_ *testing.T, shards int, nowMS func() int64) (store, peer scheduler.Store) {
		s := memstore.New(memstore.Config{Shards: shards, NowMS: nowMS})
		return s, s
	})
}
