package main

import (
	"context"
	"fmt"
	"time"
)

// killMaster kills masters of a Cluster, and wants the shards of the others to go on
// as if nothing had happened.
var killMaster = Fault{
	ID: "F15", Name: "kill -9 a primary of the Cluster", Topologies: []Topology{Cluster},
	Run: func(ctx context.Context, w *World) (Figures, error) {
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
			killed := time.Now()
			if err := victim.Kill(); err != nil {
				return nil, err
			}
			if err := heir.AwaitMaster(ctx); err != nil {
				return nil, err
			}
			took := time.Now()
			without := took.Sub(killed)
			away = max(away, without)
			// Replicas have what they are told a moment later.
			w.MayLose(killed.Add(-time.Second), took)
			if err := w.Ledger.AwaitAckSince(ctx, probes[i], took); err != nil {
				return nil, err
			}
			if err := w.Steady(ctx); err != nil {
				return nil, err
			}
			if err := victim.Restart(ctx); err != nil {
				return nil, err
			}
			if err := victim.Await(ctx, "master_link_status:up", "INFO", "replication"); err != nil {
				return nil, err
			}
			if err := w.Steady(ctx); err != nil {
				return nil, err
			}
			for j, name := range probes {
				gap := w.Ledger.Gap(name, killed)
				if j == i {
					paused, added = max(paused, gap), max(added, gap-without)
					continue
				}
				others, handouts = max(others, gap), max(handouts, w.Ledger.Pause(name, killed))
			}
		}
		if others > time.Second {
			w.Broken("reports to shards of other primaries were not taken for %s", others)
		}
		if handouts > time.Second {
			w.Broken("attempts of shards of other primaries were not handed out for %s", handouts)
		}
		if added > time.Second {
			w.Broken("reports to shards of a killed primary were not taken for %s longer than there was none", added)
		}
		var f Figures
		f.Add("kills", rounds)
		f.Add("no primary for", away.Round(time.Millisecond))
		f.Add("its shards took no reports for", paused)
		f.Add("added", added.Round(time.Millisecond))
		f.Add("other shards", others)
		f.Add("hand-outs of those paused for", handouts)
		f.Add("refused", refusals(w.Ledger.Refusals()))
		return f, nil
	},
}
