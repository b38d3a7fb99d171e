// Package teststore gives tests of the upper layers a store: one in memory, or,
// where RETRYD_TEST_STORE is "redis", one on a real Redis, so that the same tests
// hold on both. Tests in a bubble of virtual time always run in memory: Redis's
// time cannot be made up.
package teststore

import (
	"os"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// New returns an empty store for the length of a test.
func New(tb testing.TB) scheduler.Store {
	tb.Helper()
	if !OnRedis() || inBubble() {
		return memstore.New(memstore.Config{})
	}
	store, err := redisstore.New(redisstore.Config{URL: redistest.Start(tb).URL()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Errorf("close the store: %v", err)
		}
	})
	if err := store.Check(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return store
}

// OnRedis says whether the tests of this run are to be on Redis, as far as they
// can: those that cannot, and are long, need not run again.
func OnRedis() bool { return os.Getenv("RETRYD_TEST_STORE") == "redis" }

// inBubble says whether the test runs in a bubble of testing/synctest, whose
// clock starts at the beginning of the year 2000.
func inBubble() bool { return time.Now().Year() < 2020 }
