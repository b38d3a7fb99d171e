package storetest

import (
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
)

func (f *fixture) pause(queue string, untilMS int64) {
	f.t.Helper()
	if err := f.store.PauseQueue(f.t.Context(), queueKey(queue), untilMS); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) resume(queue string) {
	f.t.Helper()
	if err := f.store.ResumeQueue(f.t.Context(), queueKey(queue)); err != nil {
		f.t.Fatal(err)
	}
}

// heads returns the heads of a queue, as other replicas see them.
func (f *fixture) heads(queue string) []scheduler.Head {
	f.t.Helper()
	got, err := f.peer.Heads(f.t.Context(), []scheduler.QueueKey{queueKey(queue)})
	if err != nil {
		f.t.Fatal(err)
	}
	return got[0]
}

// openHeads are those of a queue that is not paused.
func openHeads(looksMS ...int64) []scheduler.Head {
	heads := make([]scheduler.Head, len(looksMS))
	for i, ms := range looksMS {
		heads[i] = scheduler.Head{LookMS: ms, OpenMS: ms}
	}
	return heads
}

var pauseTests = []exercise{
	{"nothing is claimed from a paused queue, at any replica", func(t *testing.T, f *fixture) {
		in := idsInShard(1, 2)
		f.put(scheduled(in[0], "q", startMS-5))
		f.put(scheduled(in[1], "other", startMS-5))
		f.pause("q", 0)
		count := f.counts("q")[0]
		equal(t, "paused", count.Paused, true)
		equal(t, "until", count.PausedUntilMS, int64(0))
		equal(t, "head", count.HeadMS, startMS-5)
		equal(t, "heads", f.heads("q"), []scheduler.Head{{}, {LookMS: startMS - 5}, {}, {}})
		equal(t, "heads of another queue", f.heads("other"), openHeads(0, startMS-5, 0, 0))
		for _, store := range []scheduler.Store{f.store, f.peer} {
			got := store.Claim(t.Context(), []scheduler.Claim{f.newClaim("q", 1, 5, time.Second)})[0]
			equal(t, "claimed", got, scheduler.Claimed{NowMS: startMS, Paused: true})
		}
		got := f.claim(f.newClaim("other", 1, 5, time.Second))
		equal(t, "claimed from another queue", ids(got.Tasks), []string{in[1]})
		equal(t, "paused is the other", got.Paused, false)
		equal(t, "count of the other", f.counts("other")[0].Paused, false)

		f.resume("q")
		equal(t, "paused", f.counts("q")[0].Paused, false)
		equal(t, "heads", f.heads("q"), openHeads(0, startMS-5, 0, 0))
		equal(t, "claimed", ids(f.claim(f.newClaim("q", 1, 5, time.Second)).Tasks), []string{in[0]})
		f.resume("q")
	}},
	{"a pause until a time ends by itself", func(t *testing.T, f *fixture) {
		early, late := idsInShard(1, 1)[0], idsInShard(2, 1)[0]
		f.put(scheduled(early, "q", startMS-5))
		f.put(scheduled(late, "q", startMS+5000))
		f.pause("q", 0)
		f.pause("q", startMS+2000)
		count := f.counts("q")[0]
		equal(t, "paused", count.Paused, true)
		equal(t, "until", count.PausedUntilMS, startMS+2000)
		equal(t, "heads", f.heads("q"), []scheduler.Head{
			{}, {LookMS: startMS - 5, OpenMS: startMS + 2000}, {LookMS: startMS + 5000, OpenMS: startMS + 5000}, {},
		})
		equal(t, "claimed", f.claim(f.newClaim("q", 1, 5, time.Second)), scheduler.Claimed{NowMS: startMS, NextMS: startMS + 2000, Paused: true})
		f.pass(1999 * time.Millisecond)
		equal(t, "claimed", len(f.claimAll(5)), 0)
		f.pass(time.Millisecond)
		count = f.counts("q")[0]
		equal(t, "paused", count.Paused, false)
		equal(t, "until", count.PausedUntilMS, int64(0))
		equal(t, "heads", f.heads("q"), openHeads(0, startMS-5, startMS+5000, 0))
		equal(t, "claimed", ids(f.claimAll(5)), []string{early})
	}},
	{"what is counted goes on while a queue is paused", func(t *testing.T, f *fixture) {
		f.put(scheduled("a", "q", startMS))
		a := f.claimAll(1)[0]
		f.pause("q", 0)
		f.put(scheduled("b", "q", startMS))
		equal(t, "leased", f.counts("q")[0].Leased, int64(1))
		f.write(dead("a", "q", 7, startMS), a)
		count := f.counts("q")[0]
		equal(t, "waiting, leased, due, dead", []int64{count.Waiting, count.Leased, count.Due, count.Dead}, []int64{1, 0, 1, 1})
	}},
	{"a queue may be paused before it is known", func(t *testing.T, f *fixture) {
		f.pause("q", 0)
		want := scheduler.QueueCount{NowMS: startMS, Known: true, Paused: true, Open: map[int64]int64{}, Stats: map[int64]scheduler.QueueStats{}}
		equal(t, "count", f.counts("q")[0], want)
		for shard := range shards {
			equal(t, "queues", f.known(shard), []string{"ns/q"})
		}
		f.put(scheduled("a", "q", startMS))
		equal(t, "claimed", len(f.claimAll(1)), 0)
	}},
}
