package redisstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestManyCallers has many callers change few tasks, each on what it was told
// last: every change but one of each version is told what there is.
func TestManyCallers(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t)})
	const callers, rounds, tasks = 100, 20, 7
	var mu sync.Mutex
	done := make(map[string]int)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			id := fmt.Sprint("t", caller%tasks)
			var known *scheduler.Task
			for range rounds {
				task := dueTask(id, "q", int64(caller+1))
				got := s.Commit(t.Context(), []scheduler.Change{{Key: task.Key, Before: known, Task: task}})[0]
				if got.Err != nil || got.Task == nil || got.Task.Key != task.Key || (known != nil && got.Task.Version == known.Version) {
					t.Errorf("commit of %s over %+v: %+v", id, known, got)
					return
				}
				known = got.Task
				if got.Status == scheduler.CommitDone {
					mu.Lock()
					done[id+fmt.Sprint(known.Version)]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for version, n := range done {
		if n != 1 {
			t.Errorf("version %s was written %d times", version, n)
		}
	}
	if len(done) < tasks*2 {
		t.Errorf("only %d changes were written", len(done))
	}
	wantSound(t.Context(), t, s)
}

// TestCallersKeepTheirDeadlines shows that no caller waits for others' longer
// than it wants to.
func TestCallersKeepTheirDeadlines(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := redisstore.Config{URL: server.URL()}
	s := openStore(t, cfg)
	wantDone(t, s.Commit(t.Context(), creations(0, 1)))
	server.Do(t, "CLIENT", "PAUSE", "2000", "ALL")
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			got := s.Commit(ctx, creations(1+i, 1))[0]
			wantKind(t, got.Err, scheduler.KindUnavailable)
		})
	}
	wg.Wait()
	if took := time.Since(began); took > time.Second {
		t.Errorf("callers with 100 ms waited for %s", took)
	}
	// A caller with time gets its answer when the pause is over.
	wantDone(t, s.Commit(t.Context(), creations(100, 1)))
	// What callers have left behind is on its way until then.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantSound(t.Context(), t, newStore(t, cfg))
}
