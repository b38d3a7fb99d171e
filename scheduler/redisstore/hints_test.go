package redisstore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// listen takes hints until the test ends.
func listen(t *testing.T, s *redisstore.Store) <-chan scheduler.Hint {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	hints := make(chan scheduler.Hint, 1000)
	done := make(chan error, 1)
	go func() { done <- s.Hints(ctx, func(h scheduler.Hint) { hints <- h }, func() {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("hints: %v", err)
		}
	})
	return hints
}

// heard puts tasks into a queue, each before the last, until one is hinted at.
func heard(t *testing.T, from *redisstore.Store, queue string, hints <-chan scheduler.Hint) {
	t.Helper()
	for i := range 2000 {
		task := dueTask(fmt.Sprint(queue, i), queue, 1e12-int64(i))
		wantDone(t, from.Commit(t.Context(), []scheduler.Change{{Key: task.Key, Task: task}}))
		select {
		case h := <-hints:
			if h.Queue.Name == queue {
				return
			}
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("no hint is heard")
}

func TestOwnHintsAreNotHeard(t *testing.T) {
	t.Parallel()
	cfg := redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 1}
	own, other := newStore(t, cfg), newStore(t, cfg)
	hints := listen(t, own)
	heard(t, other, "first", hints)
	task := dueTask("own", "own", 5)
	wantDone(t, own.Commit(t.Context(), []scheduler.Change{{Key: task.Key, Task: task}}))
	task = dueTask("other", "other", 6)
	wantDone(t, other.Commit(t.Context(), []scheduler.Change{{Key: task.Key, Task: task}}))
	for h := range hints {
		if h.Queue.Name == "own" {
			t.Fatal("a hint of the store itself is heard")
		}
		if h.Queue.Name == "other" {
			if want := (scheduler.Hint{Queue: task.Queue(), Shard: 0, DueMS: 6}); h != want {
				t.Errorf("hint %+v, want %+v", h, want)
			}
			return
		}
	}
}

func TestHintsOutliveTheirConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := redisstore.Config{URL: server.URL(), Shards: 1}
	hints := listen(t, newStore(t, cfg))
	other := newStore(t, cfg)
	heard(t, other, "before", hints)
	server.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
	heard(t, other, "killed", hints)
	server.Stop(t)
	server.Restart(t)
	heard(t, other, "restarted", hints)
}

// TestHintsOutliveTheirNode has each node of a Cluster hang in turn: hints go on by another,
// and it is told that some may have been missed.
func TestHintsOutliveTheirNode(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0, "--cluster-require-full-coverage", "no")
	cfg := redisstore.Config{URL: cluster.URL()}
	listener, other := newStore(t, cfg), newStore(t, cfg)
	if err := listener.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	var missed atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	hints := make(chan scheduler.Hint, 10000)
	done := make(chan error, 1)
	go func() {
		done <- listener.Hints(ctx, func(h scheduler.Hint) { hints <- h }, func() { missed.Add(1) })
	}()
	hear := func(queue string) {
		t.Helper()
		n := 0
		await(t, "a hint of queue "+queue, func() bool {
			n++
			task := dueTask(fmt.Sprint(queue, n), queue, 1e12-int64(n))
			// What the node has that hangs is not written.
			other.Commit(t.Context(), []scheduler.Change{{Key: task.Key, Task: task}})
			for {
				select {
				case h := <-hints:
					if h.Queue.Name == queue {
						return true
					}
				default:
					return false
				}
			}
		})
	}
	hear("at first")
	for i, master := range cluster.Masters {
		thaw := freeze(t, master)
		hear(fmt.Sprint("without ", i))
		thaw()
	}
	// One of them was the one that told at first.
	if missed.Load() < 2 {
		t.Error("nobody was told that hints may have been missed")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
