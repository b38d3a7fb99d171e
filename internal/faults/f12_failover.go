package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/retryd/retryd/internal/redisproc"
)

// replicatedLevel is that of servers that have all replicas confirm what they
// acknowledge: with fewer, one that has not may be made the primary.
const replicatedLevel = "replicated"

// failover makes a replica the primary, at a level of durability: in turn by asking a
// Sentinel for it, and by killing the primary.
func failover(level string) Fault {
	confirm := 0
	if level == replicatedLevel {
		confirm = 1
	}
	return Fault{
		ID: "F12 " + level, Name: "SENTINEL FAILOVER and kill -9 of the primary, durability " + level,
		Topologies: []Topology{Sentinel}, Short: level == replicatedLevel,
		Setup: func(s *Setup) {
			s.Redis = []string{"--appendonly", "yes", "--appendfsync", "everysec"}
			if confirm > 0 {
				s.Serve = []string{"--durability=" + level}
			}
		},
		Run: func(ctx context.Context, w *World) (Figures, error) {
			if err := w.StartLoad(ctx, Load{}); err != nil {
				return nil, err
			}
			probes, err := w.startProbes(ctx)
			if err != nil {
				return nil, err
			}
			bare := startBareProbe(ctx, w.Redis.Nodes(), confirm)
			defer bare.stop()
			if err := w.Steady(ctx); err != nil {
				return nil, err
			}
			rounds := 3
			if w.Short {
				rounds = 1
			}
			began := time.Now()
			var f Figures
			var added time.Duration
			for _, how := range []string{"asked for", "killed"} {
				var own, told, ours time.Duration
				for range rounds {
					from := time.Now()
					heir, named, err := w.failOver(ctx, how == "killed")
					if err != nil {
						return nil, err
					}
					// Sentinels take a while to tell the old primary what it is. By now it knows,
					// and from now on nothing may be lost any more, until the next round.
					one := time.Now()
					if confirm == 0 {
						w.MayLose(from.Add(-time.Second), one.Add(answering))
					}
					if _, err := w.awaitServing(ctx, probes, one); err != nil {
						return nil, err
					}
					if err := w.Steady(ctx); err != nil {
						return nil, err
					}
					if err := w.Pause(ctx, 2*time.Second); err != nil {
						return nil, err
					}
					alone, err := bare.gap(ctx, from, heir)
					if err != nil {
						return nil, err
					}
					var with time.Duration
					for _, name := range probes {
						with = max(with, w.Ledger.Gap(name, from))
					}
					// Whoever follows the Sentinels knows of a new primary by their word alone.
					word := named.Sub(from)
					own, told, ours = max(own, alone), max(told, word), max(ours, with)
					added = max(added, with-max(alone, word))
				}
				f.Add(how+": Redis took no writes for", own.Round(time.Millisecond))
				f.Add("all Sentinels named another after", told.Round(time.Millisecond))
				f.Add("no reports taken for", ours.Round(time.Millisecond))
			}
			if added > time.Second {
				w.Broken("reports were not taken for %s longer than Redis had no primary that took writes and was named by the Sentinels, want at most 1 s", added)
			}
			f.Add("added", added.Round(time.Millisecond))
			f.Add("refused", refusals(w.Ledger.Refusals()))
			w.lateness(&f, began)
			return f, nil
		},
	}
}

// failOver makes another server the primary, and returns it when all others are in step
// with it, and when all Sentinels had named it.
func (w *World) failOver(ctx context.Context, kill bool) (heir *redisproc.Server, named time.Time, err error) {
	s := w.Redis.Sentinels
	old, err := primary(ctx, w.Redis.Nodes())
	if err != nil {
		return nil, named, err
	}
	if kill {
		err = old.Kill()
	} else {
		err = s.Failover(ctx)
	}
	if err != nil {
		return nil, named, err
	}
	if heir, err = s.AwaitOther(ctx, old); err != nil {
		return nil, named, err
	}
	named = time.Now()
	if kill {
		if err := heir.AwaitMaster(ctx); err != nil {
			return nil, named, err
		}
		if err := old.Restart(ctx); err != nil {
			return nil, named, err
		}
	}
	heir, err = w.awaitOnePrimary(ctx)
	return heir, named, err
}

// awaitOnePrimary waits until one server is the primary, and all others are in step
// with it. On a busy machine it may be another than took over at first.
func (w *World) awaitOnePrimary(ctx context.Context) (*redisproc.Server, error) {
	for deadline := time.Now().Add(patience); ; {
		one, err := primary(ctx, w.Redis.Nodes())
		if err == nil {
			return one, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("within %s: %w", patience, err)
		}
		if err := w.Pause(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// primary is the one server of these of which all others are replicas, in step.
func primary(ctx context.Context, nodes []*redisproc.Server) (*redisproc.Server, error) {
	var found *redisproc.Server
	for _, node := range nodes {
		info, err := node.Command(ctx, "INFO", "replication")
		if err != nil {
			return nil, err
		}
		switch {
		case strings.Contains(info, "master_link_status:up"):
		case strings.Count(info, "state=online") == len(nodes)-1:
			found = node
		default:
			return nil, fmt.Errorf("%s is neither the primary of all nor in step with it:\n%s", node.Addr(), info)
		}
	}
	if found == nil {
		return nil, errors.New("there is no primary")
	}
	return found, nil
}

// refusals tells what reporters were told instead of a decision.
func refusals(by map[string]int) string {
	if len(by) == 0 {
		return "none"
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%d %s", by[reason], reason))
	}
	return strings.Join(parts, ", ")
}
