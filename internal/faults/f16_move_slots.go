package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/internal/redisproc"
	"github.com/retryd/retryd/scheduler"
)

// backlogQueue is where the backlog waits, by a policy that has it wait for hours.
const (
	backlogQueue  = "backlog"
	backlogPolicy = "  - {id: backlog, display_name: Backlog, max_retries: 1, fixed: {delay: 12h}, default_action: RETRY}\n"
)

// moveSlots moves slots from one master of a Cluster to another, with all that is in
// them, while their tasks are reported and attempted.
var moveSlots = Fault{
	ID: "F16", Name: "move slots of the Cluster with a backlog", Topologies: []Topology{Cluster},
	Setup: func(s *Setup) { s.Policies += backlogPolicy },
	Run: func(ctx context.Context, w *World) (Figures, error) {
		backlog, slots := 100_000, 16
		if w.Short {
			backlog, slots = 10_000, 4
		}
		if err := w.reportBacklog(ctx, backlog); err != nil {
			return nil, err
		}
		owners, err := w.mastersOfShards(ctx)
		if err != nil {
			return nil, err
		}
		moving := w.Rand.Perm(len(owners))[:slots]
		moves := func(shard int) bool { return slices.Contains(moving, shard) }
		const there, here = "shards-that-move", "shards-that-stay"
		if err := w.StartLoad(ctx, Load{}); err != nil {
			return nil, err
		}
		if err := w.startShardProbes(ctx, there, moves); err != nil {
			return nil, err
		}
		if err := w.startShardProbes(ctx, here, func(shard int) bool { return !moves(shard) }); err != nil {
			return nil, err
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		began := time.Now()
		var longest time.Duration
		keys := 0
		for _, shard := range moving {
			from := owners[shard]
			to := w.otherMaster(from)
			at := time.Now()
			n, err := w.moveSlot(ctx, shardKey(shard), from, to)
			if err != nil {
				return nil, err
			}
			keys += n
			longest = max(longest, time.Since(at))
		}
		took := time.Since(began)
		if err := w.Ledger.AwaitAckSince(ctx, there, time.Now()); err != nil {
			return nil, err
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		counts, err := w.Store.CountQueues(ctx, []scheduler.QueueKey{{Namespace: "default", Name: backlogQueue}})
		if err != nil {
			return nil, err
		}
		if got := counts[0].Waiting; got != int64(backlog) {
			w.Broken("I1: of the backlog of %d tasks %d wait", backlog, got)
		}
		stall, other := w.Ledger.Gap(there, began), w.Ledger.Gap(here, began)
		if limit := longest + time.Second; stall > limit {
			w.Broken("reports to the shards that move were not taken for %s, want at most %s", stall, limit)
		}
		if other > time.Second {
			w.Broken("reports to shards that do not move were not taken for %s", other)
		}
		var f Figures
		f.Add("backlog", backlog)
		f.Add("slots", slots)
		f.Add("keys", keys)
		f.Add("moved within", took.Round(time.Millisecond))
		f.Add("the longest", longest.Round(time.Millisecond))
		f.Add("stall of their shards", stall)
		f.Add("of others", other)
		f.Add("calls failed without repeats", refusals(w.Ledger.Refusals()))
		w.lateness(&f, began)
		return f, nil
	},
}

// reportBacklog reports so many tasks that wait for hours.
func (w *World) reportBacklog(ctx context.Context, n int) error {
	const callers, batch = 6, 500
	var wg sync.WaitGroup
	errs := make(chan error, callers)
	for caller := range callers {
		c, err := w.Dial(nil, client.WithRetryTimeout(patient))
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer func() { _ = c.Close() }()
			for from := caller * batch; from < n; from += callers * batch {
				if err := reportWaiting(ctx, c, from, min(from+batch, n)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func reportWaiting(ctx context.Context, c *client.Client, from, to int) error {
	var reports []client.Report
	for i := from; i < to; i++ {
		reports = append(reports, client.Report{
			Task: client.Task{ID: fmt.Sprintf("backlog-%d", i), Queue: backlogQueue, Policy: "backlog"}, Err: client.TimeoutFailure(), Attempt: 1,
		})
	}
	results, err := c.ReportBatch(ctx, reports)
	if err != nil {
		return fmt.Errorf("report the backlog: %w", err)
	}
	for _, r := range results {
		if r.Err != nil {
			return fmt.Errorf("report the backlog: %w", r.Err)
		}
	}
	return nil
}

// otherMaster is the master after one.
func (w *World) otherMaster(than *redisproc.Server) *redisproc.Server {
	masters := w.Redis.Cluster.Masters
	for i, m := range masters {
		if m == than {
			return masters[(i+1)%len(masters)]
		}
	}
	return masters[0]
}

// moveSlot moves a key's slot as redis-cli --cluster reshard does, and returns how many
// keys there were in it.
func (w *World) moveSlot(ctx context.Context, key string, from, to *redisproc.Server) (keys int, err error) {
	do := func(s *redisproc.Server, args ...string) string {
		if err != nil {
			return ""
		}
		var got string
		if got, err = s.Command(ctx, args...); err != nil {
			err = fmt.Errorf("move a slot: %s: %w", strings.Join(args[:min(3, len(args))], " "), err)
		}
		return got
	}
	slot := do(from, "CLUSTER", "KEYSLOT", key)
	source, target := do(from, "CLUSTER", "MYID"), do(to, "CLUSTER", "MYID")
	do(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", source)
	do(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", target)
	host, port, splitErr := net.SplitHostPort(to.Addr())
	if splitErr != nil {
		return 0, splitErr
	}
	for err == nil {
		list := do(from, "CLUSTER", "GETKEYSINSLOT", slot, "100")
		if list == "" {
			break
		}
		some := strings.Split(list, "\n")
		keys += len(some)
		do(from, append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, some...)...)
	}
	do(to, "CLUSTER", "SETSLOT", slot, "NODE", target)
	for _, m := range w.Redis.Cluster.Masters {
		do(m, "CLUSTER", "SETSLOT", slot, "NODE", target)
	}
	return keys, err
}
