package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/retryd/retryd/internal/redisproc"
)

// killMaster kills masters of a Cluster, and wants the shards of the others to go on
// as if nothing had happened.
var killMaster = Fault{
	ID: "F15", Name: "kill -9 a primary of the Cluster", Topologies: []Topology{Cluster},
	Run: loseMasters(time.Second, (*redisproc.Server).Kill, func(ctx context.Context, _ *World, victim *redisproc.Server) error {
		return victim.Restart(ctx)
	}),
}

// hangMaster stops them instead: their connections stay open, and nothing is answered
// until they go on, as replicas.
var hangMaster = Fault{
	ID: "F15 hang", Name: "SIGSTOP a primary of the Cluster, SIGCONT once another is in its place", Topologies: []Topology{Cluster},
	// Of one that has ended all is refused at once. Of this one nothing comes, and who has
	// asked, perhaps for what is due in other shards too, has to wait to know that.
	Run: loseMasters(
		2*time.Second,
		func(victim *redisproc.Server) error { return victim.Signal(syscall.SIGSTOP) },
		func(ctx context.Context, w *World, victim *redisproc.Server) error {
			resumed := time.Now()
			if err := victim.Signal(syscall.SIGCONT); err != nil {
				return err
			}
			if err := victim.Await(ctx, "role:slave", "INFO", "replication"); err != nil {
				return err
			}
			// Until it knows of the other, it may answer what it was sent before.
			w.MayLose(resumed, time.Now())
			return nil
		},
	),
}

// loseMasters takes away one after the other, and gives it back. What is due in the shards
// of others may be late by the given time.
func loseMasters(late time.Duration, lose func(victim *redisproc.Server) error, restore func(ctx context.Context, w *World, victim *redisproc.Server) error) func(context.Context, *World) (Figures, error) {
	return func(ctx context.Context, w *World) (Figures, error) {
		c := w.Redis.Cluster
		owners, err := w.mastersOfShards(ctx)
		if err != nil {
			return nil, err
		}
		if err := w.StartLoad(ctx, Load{}); err != nil {
			return nil, err
		}
		var probes []string
		for i, m := range c.Masters {
			probes = append(probes, fmt.Sprintf("shards-of-%d", i))
			if err := w.startShardProbes(ctx, probes[i], func(shard int) bool { return owners[shard] == m }); err != nil {
				return nil, err
			}
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		rounds := len(c.Masters)
		if w.Short {
			rounds = 1
		}
		var away, paused, added, others, handouts time.Duration
		for i := range rounds {
			victim, heir := c.Masters[i], c.Replicas[i][0]
			lost := time.Now()
			if err := lose(victim); err != nil {
				return nil, err
			}
			if err := heir.AwaitMaster(ctx); err != nil {
				return nil, err
			}
			took := time.Now()
			without := took.Sub(lost)
			away = max(away, without)
			// Replicas have what they are told a moment later.
			w.MayLose(lost.Add(-time.Second), took)
			if err := w.Ledger.AwaitAckSince(ctx, probes[i], took); err != nil {
				return nil, err
			}
			if err := w.Steady(ctx); err != nil {
				return nil, err
			}
			if err := restore(ctx, w, victim); err != nil {
				return nil, err
			}
			if err := victim.Await(ctx, "master_link_status:up", "INFO", "replication"); err != nil {
				return nil, err
			}
			if err := w.Steady(ctx); err != nil {
				return nil, err
			}
			for j, name := range probes {
				gap := w.Ledger.Gap(name, lost)
				if j == i {
					paused, added = max(paused, gap), max(added, gap-without)
					continue
				}
				others, handouts = max(others, gap), max(handouts, w.Ledger.Pause(name, lost))
			}
		}
		if others > time.Second {
			w.Broken("reports to shards of other primaries were not taken for %s", others)
		}
		if handouts > late {
			w.Broken("attempts of shards of other primaries were not handed out for %s", handouts)
		}
		if added > time.Second {
			w.Broken("reports to shards of a lost primary were not taken for %s longer than there was none", added)
		}
		var f Figures
		f.Add("primaries lost", rounds)
		f.Add("no primary for", away.Round(time.Millisecond))
		f.Add("its shards took no reports for", paused)
		f.Add("added", added.Round(time.Millisecond))
		f.Add("other shards", others)
		f.Add("hand-outs of those paused for", handouts)
		f.Add("refused", refusals(w.Ledger.Refusals()))
		return f, nil
	}
}
