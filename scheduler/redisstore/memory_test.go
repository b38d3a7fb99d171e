package redisstore_test

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

var memoryTasks = flag.Int("memory-tasks", 20_000, "how many tasks the test of the memory per task makes")

// TestMemoryPerTask holds a task to what docs/redis.md says that it takes, all in:
// `go test -v -run MemoryPerTask -memory-tasks=100000` itemises it.
func TestMemoryPerTask(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		task  func(id string) *scheduler.Task
		limit float64
	}{
		{"pending, payload of 200 bytes, one failure", pendingTask, 700},
		{"ended after one attempt", func(id string) *scheduler.Task {
			task := endedTask(id)
			task.ExpireMS = 1 << 42
			return task
		}, 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			s := newStore(t, redisstore.Config{URL: server.URL()})
			if err := s.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := usedMemory(t, server)
			var key scheduler.TaskKey
			var record string
			for from := 0; from < *memoryTasks; from += 1000 {
				changes := make([]scheduler.Change, 1000)
				for i := range changes {
					task := c.task(fmt.Sprintf("order-%08d", from+i))
					key, record = task.Key, encode(t, task)
					changes[i] = scheduler.Change{Key: task.Key, Task: task}
				}
				wantDone(t, s.Commit(t.Context(), changes))
			}
			each := (usedMemory(t, server) - before) / float64(*memoryTasks)
			usage, err := strconv.Atoi(server.Do(t, "MEMORY", "USAGE", s.TaskKey(key)))
			if err != nil {
				t.Fatal(err)
			}
			index := 0
			for shard := range s.Shards() {
				if n := server.Do(t, "MEMORY", "USAGE", s.DueKey(shard, pendingTask("").Queue()), "SAMPLES", "0"); n != "" {
					size, err := strconv.Atoi(n)
					if err != nil {
						t.Fatal(err)
					}
					index += size
				}
			}
			perIndex := float64(index) / float64(*memoryTasks)
			t.Logf("%.0f bytes a task: record %d, of a key of %d: %d with its allocations and entry; in the queue's index %.0f; tables and rounding %.0f",
				each, len(record), len(s.TaskKey(key)), usage, perIndex, each-float64(usage)-perIndex)
			if each > c.limit {
				t.Errorf("%.0f bytes a task, want at most %.0f", each, c.limit)
			}
		})
	}
}

func usedMemory(t *testing.T, server *redistest.Server) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(infoField(server.Do(t, "INFO", "memory"), "used_memory"), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func infoField(text, name string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return v
		}
	}
	return ""
}
