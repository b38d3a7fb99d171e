package redisstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestEndedTasksGoByThemselves is on Redis's own clock, where it drops what is
// over.
func TestEndedTasksGoByThemselves(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t)})
	nowMS, err := s.Now(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ended := func(id string, expireMS int64) scheduler.Change {
		task := endedTask(id)
		task.ExpireMS = expireMS
		return scheduler.Change{Key: task.Key, Task: task}
	}
	changes := []scheduler.Change{ended("soon", nowMS+200), ended("later", nowMS+3_600_000), ended("past", nowMS-1), ended("at once", 0)}
	got := s.Commit(ctx, changes)
	wantDone(t, got)
	expires, err := s.Client().PExpireTime(ctx, s.TaskKey(changes[1].Key)).Result()
	if err != nil || expires.Milliseconds() != nowMS+3_600_000 {
		t.Errorf("it expires at %d, error %v, want %d", expires.Milliseconds(), err, nowMS+3_600_000)
	}
	for _, id := range []string{"past", "at once"} {
		if loaded := s.Load(ctx, []scheduler.TaskKey{{Namespace: "default", ID: id}})[0]; loaded.Task != nil || loaded.Err != nil {
			t.Errorf("%s: %+v", id, loaded)
		}
	}
	patience := time.After(10 * time.Second)
	for s.Load(ctx, []scheduler.TaskKey{changes[0].Key})[0].Task != nil {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-patience:
			t.Fatal("it does not go")
		}
	}
	// Its place is free, and what takes it stays.
	again := pendingTask("soon")
	c := s.Commit(ctx, []scheduler.Change{{Key: again.Key, Task: again}, {Key: changes[1].Key, Before: got[1].Task, Task: pendingTask("later")}})
	wantDone(t, c)
	for _, key := range []scheduler.TaskKey{again.Key, changes[1].Key} {
		if ttl := s.Client().PTTL(ctx, s.TaskKey(key)).Val(); ttl != -1 {
			t.Errorf("live task %s ends in %s", key.ID, ttl)
		}
	}
	wantSound(ctx, t, s)
}

func TestTimeOfTheDecision(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Prefix: redistest.Prefix(t)})
	nowMS, err := s.Now(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		decidedMS int64
		want      scheduler.CommitStatus
	}{{nowMS, scheduler.CommitDone}, {nowMS + 60_000, scheduler.CommitSkewed}, {nowMS - 60_000, scheduler.CommitSkewed}} {
		task := dueTask(fmt.Sprint("t", i), "q", 1)
		got := s.Commit(ctx, []scheduler.Change{{Key: task.Key, Task: task, DecidedMS: c.decidedMS}})[0]
		if got.Err != nil || got.Status != c.want || got.NowMS < nowMS {
			t.Errorf("decided %d ms off: %+v", c.decidedMS-nowMS, got)
		}
	}
}
