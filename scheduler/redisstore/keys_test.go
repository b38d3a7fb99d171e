package redisstore_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestKeysOfAShardLieInOneSlot shows that whatever names users choose, the shard
// alone decides the slot, and that no two names make the same key.
func TestKeysOfAShardLieInOneSlot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.SampledFrom([]rune("a{}:,%/2C\x00")))
		draw := func() (scheduler.QueueKey, scheduler.TaskKey, string) {
			return scheduler.QueueKey{Namespace: name.Draw(t, "namespace"), Name: name.Draw(t, "queue")},
				scheduler.TaskKey{Namespace: name.Draw(t, "namespace"), ID: name.Draw(t, "id")}, name.Draw(t, "replica")
		}
		shard := rapid.IntRange(0, 15).Draw(t, "shard")
		q1, t1, r1 := draw()
		q2, t2, r2 := draw()
		one := allKeys(shard, q1, t1, r1)
		two := allKeys(shard, q2, t2, r2)
		kinds := make(map[string]bool)
		total := 0
		for i, same := range []bool{t1 == t2, q1 == q2, r1 == r2 && q1 == q2, true} {
			for n, key := range one[i] {
				if tag, want := hashTag(key), hashTag(two[0][0]); tag != want {
					t.Fatalf("key %q has tag %q, want %q", key, tag, want)
				}
				kinds[key] = true
				total++
				if (key == two[i][n]) != same {
					t.Fatalf("%+v %+v %q and %+v %+v %q: keys %q and %q", q1, t1, r1, q2, t2, r2, key, two[i][n])
				}
			}
		}
		if len(kinds) != total {
			t.Fatalf("two kinds of key are the same: %q", one)
		}
	})
}

func allKeys(shard int, q scheduler.QueueKey, task scheduler.TaskKey, replica string) [][]string {
	ofTask, ofQueue, ofClaim, ofShard := redisstore.AllKeys("pre:fix", 16, shard, q, task, replica)
	return [][]string{ofTask, ofQueue, ofClaim, ofShard}
}

// hashTag is the part of a key that decides its slot on a Cluster.
func hashTag(key string) string {
	open := strings.IndexByte(key, '{')
	if open < 0 {
		return key
	}
	end := strings.IndexByte(key[open+1:], '}')
	if end <= 0 {
		return key
	}
	return key[open+1 : open+1+end]
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	for prefix, ok := range map[string]bool{"a": true, "team:retries": true, "{a}": false, "a{": false, "a b": false, strings.Repeat("a", 101): false} {
		s, err := redisstore.New(redisstore.Config{URL: "redis://localhost", Prefix: prefix})
		if (err == nil) != ok {
			t.Errorf("prefix %q: error %v", prefix, err)
		}
		if s != nil {
			_ = s.Close()
		}
	}
	for shards, ok := range map[int]bool{-1: false, 1: true, 4096: true, 4097: false} {
		s, err := redisstore.New(redisstore.Config{URL: "redis://localhost", Shards: shards})
		if (err == nil) != ok {
			t.Errorf("%d shards: error %v", shards, err)
		}
		if s != nil {
			_ = s.Close()
		}
	}
}
