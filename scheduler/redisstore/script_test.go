package redisstore_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// dueTask is a task that waits to be claimed.
func dueTask(id, queue string, dueMS int64) *scheduler.Task {
	return &scheduler.Task{
		Key: scheduler.TaskKey{Namespace: "ns", ID: id}, Spec: scheduler.Spec{Queue: queue, Policy: "p", Payload: []byte("payload of " + id)},
		State: scheduler.StateScheduled, Attempt: 2, Generation: 1, FirstAttempt: 1, DueMS: dueMS,
	}
}

// creations are changes that make n due tasks of queue q.
func creations(from, n int) []scheduler.Change {
	changes := make([]scheduler.Change, n)
	for i := range changes {
		task := dueTask(fmt.Sprint("t", from+i), "q", 1)
		changes[i] = scheduler.Change{Key: task.Key, Task: task}
	}
	return changes
}

// dueClaims are claims of up to n due tasks of a queue in each shard.
func dueClaims(s *redisstore.Store, n int) []scheduler.Claim {
	claims := make([]scheduler.Claim, s.Shards())
	for shard := range claims {
		claims[shard] = scheduler.Claim{
			ID: uint64(shard + 1), Replica: fmt.Sprint("claim of ", n), Queue: scheduler.QueueKey{Namespace: "ns", Name: "q"}, Shard: shard,
			Slots: []scheduler.Slot{{Count: n, LeaseMS: 30_000, Worker: "w"}}, Nonces: make([]uint64, n),
		}
	}
	return claims
}

// claimDue claims up to n due tasks of a queue in each shard, in one call.
func claimDue(ctx context.Context, t testFataler, s *redisstore.Store, n int) []*scheduler.Task {
	t.Helper()
	var tasks []*scheduler.Task
	for _, got := range s.Claim(ctx, dueClaims(s, n)) {
		if got.Err != nil {
			t.Fatalf("claim: %v", got.Err)
		}
		tasks = append(tasks, got.Tasks...)
	}
	return tasks
}

func wantDone(t testFataler, got []scheduler.Committed) {
	t.Helper()
	for i, c := range got {
		if c.Err != nil || c.Status != scheduler.CommitDone {
			t.Fatalf("change %d of %d: status %d, error %v", i, len(got), c.Status, c.Err)
		}
	}
}

// TestEventsShareAKey shows that what one script counts of a queue's hour goes to
// one key, whatever the shards of the tasks: each further one costs commands.
func TestEventsShareAKey(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t)})
	wantDone(t, s.Commit(t.Context(), creations(0, 100)))
	dump, err := s.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]int)
	for key := range dump {
		_, rest, _ := strings.Cut(key, "}:")
		kind, _, _ := strings.Cut(rest, ":")
		kinds[kind]++
	}
	if kinds["stats"] != 1 || kinds["count"] != s.Shards() {
		t.Errorf("keys by kind: %v, want 1 of stats and %d of count", kinds, s.Shards())
	}
	wantSound(t.Context(), t, s)
}

func TestForgottenScriptsAreSentAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newStore(t, redisstore.Config{URL: server.URL(), Shards: 4})
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				server.Do(t, "SCRIPT", "FLUSH")
			}
		}
	})
	defer wg.Wait()
	defer close(done)
	for round := range 20 {
		// Three scripts in one pipeline, and then four.
		wantDone(t, s.Commit(t.Context(), creations(round*250, 250)))
		claimed := claimDue(t.Context(), t, s, 70)
		changes := make([]scheduler.Change, len(claimed))
		for i, task := range claimed {
			changes[i] = scheduler.Change{Key: task.Key, Before: task}
		}
		wantDone(t, s.Commit(t.Context(), changes))
		if _, err := s.Due(t.Context(), scheduler.QueueKey{Namespace: "ns", Name: "q"}, 0, scheduler.Place{}, 10); err != nil {
			t.Fatal(err)
		}
	}
	wantSound(t.Context(), t, s)
}

func TestScriptsRefuseWrongArguments(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	s := newStore(t, redisstore.Config{URL: server.URL(), Prefix: redistest.Prefix(t)})
	wantDone(t, s.Commit(t.Context(), creations(0, 3)))
	before, err := s.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range redisstore.ScriptTexts() {
		for _, keys := range [][]string{{}, {"x"}, {"x", "x", "x", "x"}} {
			err := s.Client().Eval(t.Context(), text, keys, "0", "1", "2", "3").Err()
			if err == nil || !strings.Contains(err.Error(), "wrong number of keys or arguments") {
				head, _, _ := strings.Cut(text, "\n--\n")
				t.Errorf("%d keys: error %v of\n%s", len(keys), err, head)
			}
		}
	}
	after, err := s.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, after) {
		t.Error("refused scripts have changed what is kept")
	}
}

// TestScriptsHaveHeads holds every script to a head with what it needs and gives.
func TestScriptsHaveHeads(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("lua/*.lua")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{`^-- [A-Z]`, `(?m)^-- KEYS `, `(?m)^-- ARGV `, `(?m)^-- Result `, `(?m)^-- Bound `} {
			if !regexp.MustCompile(part).Match(text) {
				t.Errorf("the head of %s has no %s", file, part)
			}
		}
		// Their cost grows with what is kept.
		for _, banned := range []string{"'KEYS'", "'LREM'", "'SMEMBERS'", "'HGETALL'", "'DEL'"} {
			if strings.Contains(string(text), banned) {
				t.Errorf("%s calls %s", file, banned)
			}
		}
	}
}
