// Package plan says which work is measured on which systems, and runs it round by
// round. It draws no conclusions: package report does.
package plan

import (
	"slices"
	"strings"
	"time"

	"github.com/retryd/retryd/bench/internal/stage"
	"github.com/retryd/retryd/bench/internal/system"
	"github.com/retryd/retryd/bench/internal/work"
)

// Case is some work on one stage, done by several systems in turn.
type Case struct {
	ID      string
	Systems []string
	Stage   stage.Options
	// Pending is how many other tasks, due in a day, are put before.
	Pending int
	Steps   []Step
	// Full marks what is left out of a short run.
	Full bool
}

// Step is one measurement.
type Step struct {
	// ID names it; those of one case have names of their own.
	ID string
	// Title says in a line what is done.
	Title string
	Job   work.Job
	// Bytes says that the memory before and after is the point, and is waited for
	// to come to rest.
	Bytes bool
}

// Sizes of the works.
const (
	// PayloadBytes is the payload of every task.
	PayloadBytes = 200
	drainTasks   = 50_000
	timingTasks  = 5_000
	timingSpan   = 10 * time.Second
	loopTasks    = 20_000
	memoryTasks  = 50_000
	// peerTimingTasks and peerTimingSpan are what a short run asks of the peers: as
	// many a second, for a shorter time.
	peerTimingTasks = 1000
	peerTimingSpan  = 2 * time.Second
	batch           = 100
	batchCallers    = 8
	// reportTime is how long a system reports: as many as it can, so that none has
	// to be given a size of its own.
	reportTime = 2 * time.Second
	// watchedTime is how long two of which one may be a tenth slower report.
	watchedTime = 5 * time.Second
	// limit ends the measured part of a run. Those of asynq's defaults come near it,
	// who look only every 5 s for what has fallen due.
	limit = 20 * time.Second
)

func report(callers, batch int) work.Job {
	return work.Job{Kind: work.Report, Callers: callers, Batch: batch, Time: reportTime}
}

// reportFor is report of one a call, for a time of its own.
func reportFor(callers int, d time.Duration) work.Job {
	job := report(callers, 1)
	job.Time = d
	return job
}

func drain(inFlight int) work.Job {
	return work.Job{Kind: work.Drain, Tasks: drainTasks, InFlight: inFlight}
}

func timing() work.Job {
	return work.Job{Kind: work.Timing, Tasks: timingTasks, InFlight: 256, Time: timingSpan}
}

func loop(kind work.Kind) work.Job {
	return work.Job{Kind: kind, Tasks: loopTasks, InFlight: 256}
}

func bytesOf(kind work.Kind) work.Job {
	return work.Job{Kind: kind, Tasks: memoryTasks, Callers: batchCallers, Batch: batch}
}

// Cases are all of them, as a short or a full run has them.
func Cases(full bool) []Case {
	workers := []string{system.AsynqBest, system.BullMQ, system.River, system.Beanstalkd, system.Faktory}
	asynqDefaults := []string{system.Asynq}
	floors := []string{system.Echo, system.GRPCAsynq, system.GRPCScript}
	raw := []string{system.Scripts, system.Store}
	peers := []string{system.Asynq, system.BullMQ, system.River, system.Beanstalkd, system.Faktory}
	only := []string{system.Retryd}
	stream := []string{system.RetrydStream}
	watched := []string{system.RetrydBare, system.RetrydWatched}
	one := func(id, title string, job work.Job, systems ...[]string) Case {
		return Case{ID: id, Systems: join(systems...), Steps: []Step{{ID: id, Title: title, Job: job}}}
	}
	const w3Title = "hand out 5,000 attempts due at random moments in 10 s"
	w3 := []Case{one("W3", w3Title, timing(), only, asynqDefaults, workers)}
	if !full {
		shorter := timing()
		shorter.Tasks, shorter.Time = peerTimingTasks, peerTimingSpan
		w3 = []Case{
			one("W3", w3Title, timing(), only),
			one("W3-peers", "hand out 1,000 attempts due at random moments in 2 s", shorter, only, asynqDefaults, workers),
		}
	}
	cases := slices.Concat([]Case{
		one("W1-64", "report failures due in 60 s, one a call, 64 callers", report(64, 1), only, floors, peers),
		one("W1-256", "report failures due in 60 s, one a call, 256 callers", report(256, 1), only, floors),
		one("W1-batch", "report failures due in 60 s, 100 a call, 8 callers", report(batchCallers, batch), only, raw, []string{system.BullMQ, system.River}),
		one("W2-64", "drain 50,000 due attempts, 64 in flight", drain(64), only, raw, asynqDefaults, workers),
		// asynq's defaults know no in-flight: they would do the same again.
		one("W2-256", "drain 50,000 due attempts, 256 in flight", drain(256), only, raw, workers),
	}, w3, []Case{
		one("W4", "20,000 tasks that fail once, wait 1 s and succeed", loop(work.Loop), only, asynqDefaults, workers),
		growth("10k", 10_000, false, false),
		growth("100k", 100_000, false, false),
		// Past the 2^20 keys at which Redis doubles its table of keys: while it moves
		// them, which takes minutes when it has little else to do, every command pays for
		// the move. What that costs is measured by itself.
		growth("1M", 1_200_000, true, false),
		growth("doubling", 1_000_000, false, true),
		growth("3M", 3_000_000, true, true),
		{ID: "W6", Systems: join(only, []string{system.Asynq, system.BullMQ, system.River, system.Beanstalkd}), Steps: []Step{
			{ID: "W6-pending", Title: "bytes per pending task after one failure, 200-byte payload", Job: bytesOf(work.Report), Bytes: true},
		}},
		{ID: "W6-ended", Systems: only, Steps: []Step{
			{ID: "W6-first", Title: "bytes per task that succeeded at its first attempt", Job: bytesOf(work.Finish), Bytes: true},
			{ID: "W6-ended", Title: "bytes per task that succeeded at its second attempt", Job: drain(64), Bytes: true},
		}},
		one("W10-unary", "W1-256 for longer, with nothing that looks on, and with metrics, logs and access control", reportFor(256, watchedTime), watched),
		one("W10-stream", "W2-256, with nothing that looks on, and with metrics, logs and access control", drain(256), watched),
		long(one("W2-stream", "W2-256 by a bare stream, without the Go client's worker", drain(256), stream)),
		long(one("W4-handed", "W4 with the first attempt handed out by retryd too", loop(work.HandedLoop), only)),
		on("W7", "3 replicas", stage.Options{Replicas: 3}, report(256, 1), drain(256)),
		on("W8-everysec", "AOF everysec", stage.Options{AppendFsync: "everysec"}, report(batchCallers, batch), drain(256)),
		on("W8-always", "AOF always", stage.Options{AppendFsync: "always"}, report(batchCallers, batch), drain(256)),
		on("W9-1", "1 shard", stage.Options{Shards: 1}, report(batchCallers, batch), drain(256)),
		on("W9-16", "16 shards", stage.Options{Shards: 16}, report(batchCallers, batch), drain(256)),
		on("W9-64", "64 shards", stage.Options{Shards: 64}, report(batchCallers, batch), drain(256)),
	})
	for i := range cases {
		cases[i].complete()
	}
	return cases
}

// growth is W5: the product beside many pending tasks.
func growth(name string, pending int, withTiming, full bool) Case {
	id := "W5-" + name
	c := Case{ID: id, Systems: []string{system.Retryd}, Pending: pending, Full: full, Steps: []Step{
		{ID: id + "-W2", Title: "W2, 64 in flight, with " + name + " others pending", Job: drain(64)},
	}}
	if withTiming {
		c.Steps = append(c.Steps, Step{ID: id + "-W3", Title: "W3 with " + name + " others pending", Job: timing()})
	}
	// Last, since its tasks would fall due beside others.
	c.Steps = append(c.Steps, Step{ID: id + "-W1", Title: "W1, batches of 100, with " + name + " others pending", Job: report(batchCallers, batch)})
	return c
}

// on is W1 and W2 on another stage.
func on(id, where string, opts stage.Options, w1, w2 work.Job) Case {
	return Case{ID: id, Systems: []string{system.Retryd}, Stage: opts, Full: true, Steps: []Step{
		{ID: id + "-W2", Title: "W2, 256 in flight, " + where, Job: w2},
		{ID: id + "-W1", Title: "W1, " + where, Job: w1},
	}}
}

// long marks a case as one of a full run.
func long(c Case) Case {
	c.Full = true
	return c
}

// complete sets what all jobs have in common.
func (c *Case) complete() {
	for i := range c.Steps {
		c.Steps[i].Job.Payload, c.Steps[i].Job.Limit = PayloadBytes, limit
	}
}

func join(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// Selection is what part of the cases is run.
type Selection struct {
	// Works are beginnings of the ids of cases or steps, such as "W1" or "W5-1M";
	// none means all.
	Works []string
	// Systems are names of systems; none means all.
	Systems []string
	Full    bool
}

// Select returns the cases selected, with the systems selected.
func Select(cases []Case, sel Selection) []Case {
	var out []Case
	for _, c := range cases {
		named := len(sel.Works) == 0
		for _, w := range sel.Works {
			named = named || strings.HasPrefix(c.ID, w)
		}
		// Who names a long case wants it.
		if !named || c.Full && !sel.Full && len(sel.Works) == 0 {
			continue
		}
		if len(sel.Systems) > 0 {
			c.Systems = both(c.Systems, sel.Systems)
		}
		if len(c.Systems) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// both returns what is in both lists, in the order of the first.
func both(a, b []string) []string {
	var out []string
	for _, x := range a {
		if slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// Systems returns all that the cases need, each once.
func Systems(cases []Case) []string {
	var out []string
	for _, c := range cases {
		for _, s := range c.Systems {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}
