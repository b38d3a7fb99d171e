package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

var countTests = []exercise{
	{"counts follow a task through its life", func(t *testing.T, f *fixture) {
		want := scheduler.QueueCount{NowMS: startMS, Open: map[int64]int64{}, Stats: map[int64]scheduler.QueueStats{}}
		check := func(step string) {
			t.Helper()
			equal(t, step, f.counts("q")[0], want)
		}
		check("unknown")
		stats := func(change func(st *scheduler.QueueStats)) {
			st := want.Stats[hour]
			change(&st)
			want.Stats[hour] = st
		}

		a := scheduled("a", "q", startMS)
		a.Attempt, a.FirstFailureMS = 1, startMS-2*scheduler.HourMS
		a = reported(a, scheduler.StateScheduled, false, policy.ActionRetry)
		a.Attempt = 2
		f.decide(a, nil)
		want.Known, want.Waiting, want.Due, want.HeadMS = true, 1, 1, startMS
		want.Open[hour-2] = 1
		stats(func(st *scheduler.QueueStats) {
			st[scheduler.StatTasks], st[scheduler.StatRetried], st[scheduler.StatGrowth] = 1, 1, 1
		})
		check("reported")

		f.claimAll(1)
		want.Leased, want.Due, want.HeadMS = 1, 0, startMS+1000
		check("leased")

		f.pass(2 * time.Second)
		want.NowMS, want.Due = startMS+2000, 1
		check("lease over")

		a = f.claimAll(1)[0]
		want.Due, want.HeadMS = 0, startMS+3000
		check("leased again")

		a = reported(a, scheduler.StateScheduled, false, policy.ActionRetry)
		a.Attempt, a.DueMS = 3, startMS+9000
		a = f.decide(a, f.load("a"))
		want.Leased, want.HeadMS = 0, startMS+9000
		stats(func(st *scheduler.QueueStats) { st[scheduler.StatSecondAttempts] = 1 })
		check("failed again")

		a = reported(a, scheduler.StateHeld, false, policy.ActionHold)
		a.HoldCondition, a.HoldMS = "c", startMS+2000
		a = f.decide(a, f.load("a"))
		want.Waiting, want.HeadMS, want.Held, want.Open = 0, 0, 1, map[int64]int64{}
		stats(func(st *scheduler.QueueStats) { st[scheduler.StatGrowth] = 0 })
		check("held")

		released := *a
		released.State, released.Attempt, released.DueMS = scheduler.StateScheduled, 4, startMS+2000
		a = f.decide(&released, a)
		want.Waiting, want.Due, want.HeadMS, want.Held, want.Open[hour-2] = 1, 1, startMS+2000, 0, 1
		stats(func(st *scheduler.QueueStats) { st[scheduler.StatGrowth] = 1 })
		check("released")

		a = reported(a, scheduler.StateDead, false, policy.ActionDeadLetter)
		a.EndMS, a.ExpireMS, a.Fingerprint = startMS+2000, startMS+1e9, 7
		a = f.decide(a, f.load("a"))
		want.Waiting, want.Due, want.HeadMS, want.Dead, want.Open = 0, 0, 0, 1, map[int64]int64{}
		stats(func(st *scheduler.QueueStats) { st[scheduler.StatGrowth], st[scheduler.StatDead] = 0, 1 })
		check("dead")

		replayed := *a
		replayed.State, replayed.Attempt, replayed.Generation, replayed.DueMS, replayed.FirstFailureMS = scheduler.StateScheduled, 5, 2, startMS+5*scheduler.HourMS, 0
		a = f.decide(&replayed, a)
		want.Waiting, want.HeadMS, want.Dead, want.Open[hour+5] = 1, startMS+5*scheduler.HourMS, 0, 1
		stats(func(st *scheduler.QueueStats) { st[scheduler.StatGrowth] = 1 })
		check("replayed")

		a = reported(a, scheduler.StateSucceeded, true, policy.ActionRetry)
		a.EndMS, a.ExpireMS = startMS+2000, startMS+1e9
		a = f.decide(a, f.load("a"))
		want.Waiting, want.HeadMS, want.Open = 0, 0, map[int64]int64{}
		stats(func(st *scheduler.QueueStats) {
			st[scheduler.StatGrowth], st[scheduler.StatSuccesses], st[scheduler.StatAttempts] = 0, 1, 5
		})
		check("succeeded")

		f.commit(scheduler.Change{Key: a.Key, Before: a, DecidedMS: f.now.Load()})
		check("gone")
	}},
	{"a first success counts, in its hour", func(t *testing.T, f *fixture) {
		success := func(id string) {
			task := scheduled(id, "q", 0)
			task.Attempt, task.FirstFailureMS = 1, 0
			task = reported(task, scheduler.StateSucceeded, true, policy.ActionRetry)
			task.EndMS, task.ExpireMS = startMS, startMS+1e10
			f.decide(task, nil)
		}
		in := idsInShard(1, 3)
		success(in[0])
		f.pass(time.Hour)
		success(in[1])
		success(in[2])
		var one, two scheduler.QueueStats
		one[scheduler.StatTasks], one[scheduler.StatFirstSuccesses], one[scheduler.StatSuccesses], one[scheduler.StatAttempts] = 1, 1, 1, 1
		for i := range one {
			two[i] = 2 * one[i]
		}
		equal(t, "stats", f.counts("q")[0].Stats, map[int64]scheduler.QueueStats{hour: one, hour + 1: two})
		f.pass(23 * time.Hour)
		equal(t, "stats a day later", f.counts("q")[0].Stats, map[int64]scheduler.QueueStats{hour: one, hour + 1: two})
		f.pass(time.Hour)
		equal(t, "stats after that", f.counts("q")[0].Stats, map[int64]scheduler.QueueStats{hour + 1: two})
	}},
	{"what was decided a little ahead of the clock counts in its hour", func(t *testing.T, f *fixture) {
		f.pass(-scheduler.MaxAheadMS * time.Millisecond)
		f.commit(scheduler.Change{Key: key("a"), Task: ended("a", "q", scheduler.StateSucceeded), DecidedMS: startMS})
		var st scheduler.QueueStats
		st[scheduler.StatTasks], st[scheduler.StatSuccesses], st[scheduler.StatAttempts] = 1, 1, 2
		want := map[int64]scheduler.QueueStats{hour: st}
		equal(t, "stats", f.counts("q")[0].Stats, want)
		for shard := range shards {
			f.forgetQueues(shard)
		}
		equal(t, "stats of a queue that may not be forgotten", f.counts("q")[0].Stats, want)
	}},
	{"a removed task and a refused one count nothing", func(t *testing.T, f *fixture) {
		a := f.decide(scheduled("a", "q", startMS), nil)
		f.commit(scheduler.Change{Key: a.Key, Before: at(a, a.Version-1), Task: held("a", "q", "c", startMS), DecidedMS: startMS})
		f.commit(scheduler.Change{Key: a.Key, Before: a, DecidedMS: startMS})
		f.commit(scheduler.Change{Key: a.Key, Before: a, DecidedMS: startMS})
		var st scheduler.QueueStats
		st[scheduler.StatTasks] = 1
		want := scheduler.QueueCount{NowMS: startMS, Known: true, Open: map[int64]int64{}, Stats: map[int64]scheduler.QueueStats{hour: st}}
		equal(t, "count", f.counts("q")[0], want)
	}},
	{"growth that ends in its hour leaves nothing to tell of that hour", func(t *testing.T, f *fixture) {
		a := f.put(held("a", "q", "c", startMS))
		a = f.decide(scheduled("a", "q", startMS), a)
		f.decide(held("a", "q", "c", startMS), a)
		equal(t, "stats", f.counts("q")[0].Stats, map[int64]scheduler.QueueStats{})
	}},
	{"counts are of all shards, queue by queue", func(t *testing.T, f *fixture) {
		for shard := range shards {
			for i, id := range idsInShard(shard, 3) {
				f.put(scheduled(id, "q", startMS-1+int64(i+shard)))
			}
			f.put(held(idsInShard(shard, 4)[3], "r", "c", startMS))
			f.put(dead(idsInShard(shard, 5)[4], "q", 7, startMS))
		}
		open := map[int64]int64{hour: 12}
		none := map[int64]scheduler.QueueStats{}
		want := []scheduler.QueueCount{
			{NowMS: startMS, Known: true, Held: 4, Open: map[int64]int64{}, Stats: none},
			{NowMS: startMS, Open: map[int64]int64{}, Stats: none},
			{NowMS: startMS, Known: true, Waiting: 12, Due: 3, Dead: 4, HeadMS: startMS - 1, Open: open, Stats: none},
		}
		equal(t, "counts", f.counts("r", "none", "q"), want)
		equal(t, "counts of nothing", f.counts(), []scheduler.QueueCount{})
	}},
	{"counts are right after many changes at once", func(t *testing.T, f *fixture) {
		const n = 200
		for i := range n {
			f.put(scheduled(fmt.Sprint("t", i), "q", startMS))
		}
		var wg sync.WaitGroup
		for worker, store := range []scheduler.Store{f.store, f.peer, f.store, f.peer} {
			wg.Go(func() { settleSome(t, store, f, worker) })
		}
		wg.Wait()
		want := scheduler.QueueCount{NowMS: startMS, Known: true, Open: map[int64]int64{}, Stats: map[int64]scheduler.QueueStats{}}
		for i := range n {
			switch task := f.load(fmt.Sprint("t", i)); task.State {
			case scheduler.StateScheduled, scheduler.StateLeased:
				want.Waiting++
				if task.State == scheduler.StateLeased {
					want.Leased++
				}
				want.Open[hour]++
				ms, _ := task.LookMS()
				if want.HeadMS == 0 || ms < want.HeadMS {
					want.HeadMS = ms
				}
			case scheduler.StateHeld:
				want.Held++
			case scheduler.StateDead:
				want.Dead++
			}
		}
		if want.Leased == 0 || want.Held == 0 || want.Dead == 0 || want.Waiting == want.Leased {
			t.Fatalf("not all that should happen has happened: %+v", want)
		}
		got := f.counts("q")[0]
		var growth int64
		for _, st := range got.Stats {
			growth += st[scheduler.StatGrowth]
		}
		// Their creation was counted under no hour that is told of.
		equal(t, "growth", growth, want.Waiting-n)
		got.Stats = want.Stats
		equal(t, "count", got, want)
	}},
}
