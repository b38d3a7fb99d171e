package redisstore_test

import (
	"fmt"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestLargeTasksAreClaimedFewAtATime claims tasks with large payloads: what the claims of
// one round take must be told within the time that a node has for it, or it would never
// be, however often they are repeated.
func TestLargeTasksAreClaimedFewAtATime(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	const payload = 100_000
	for shards, most := range map[int]int{1: 1 << 20, 16: 256 << 10, 128: payload} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			t.Parallel()
			s := newStore(t, redisstore.Config{URL: server.URL(), Prefix: redistest.Prefix(t), Shards: shards})
			changes := creations(0, 200)
			for i, c := range changes {
				// The largest come last.
				c.Task.DueMS, c.Task.Spec.Payload = int64(1+i), nil
				if i >= 100 {
					c.Task.Spec.Payload = make([]byte, payload)
				}
			}
			wantDone(t, s.Commit(t.Context(), changes))
			left, large := len(changes), 0
			for round := 0; left > 0; round++ {
				if round == len(changes) {
					t.Fatalf("%d tasks are left after as many rounds", left)
				}
				took := 0
				for i, c := range dueClaims(s, 100) {
					c.ID += uint64(1000 * (round + 1))
					claims := make([]scheduler.Claim, s.Shards())
					for n := range claims {
						// The others find nothing.
						claims[n] = c
						claims[n].Queue.Name, claims[n].Shard = "empty", n
					}
					claims[i] = c
					got := s.Claim(t.Context(), claims)[i]
					if got.Err != nil {
						t.Fatal(got.Err)
					}
					bytes := 0
					for _, task := range got.Tasks {
						bytes += len(task.Spec.Payload)
						large += min(1, len(task.Spec.Payload))
					}
					if bytes > most {
						t.Errorf("a claim took %d bytes of payload, want %d at the most", bytes, most)
					}
					if len(got.Tasks) == 0 && got.NextMS != 0 && got.NextMS <= got.NowMS {
						t.Error("a claim took nothing of what is due")
					}
					took += len(got.Tasks)
				}
				left -= took
			}
			if large != 100 {
				t.Errorf("%d large tasks were claimed, want 100", large)
			}
			wantSound(t.Context(), t, s)
		})
	}
}

// TestSmallTasksAreClaimedManyAtATime has small tasks behind a large one taken with it.
func TestSmallTasksAreClaimedManyAtATime(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t), Shards: 1})
	changes := creations(0, 100)
	for i, c := range changes {
		c.Task.DueMS = int64(1 + i)
	}
	changes[1].Task.Spec.Payload = make([]byte, 100_000)
	wantDone(t, s.Commit(t.Context(), changes))
	got := claimDue(t.Context(), t, s, 100)
	for i, task := range got {
		if task.DueMS != int64(1+i) {
			t.Fatalf("the task that was due at %d is taken at place %d", task.DueMS, i)
		}
	}
	if len(got) != 100 {
		t.Errorf("%d tasks were claimed, want all 100", len(got))
	}
}
