package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/retryd/retryd/internal/ledger"
)

// Topology is how Redis stands.
type Topology string

// The topologies: one server; a primary and two replicas under three Sentinels; three
// primaries with a replica each.
const (
	Standalone Topology = "standalone"
	Sentinel   Topology = "sentinel"
	Cluster    Topology = "cluster"
)

// everywhere is for faults that are run on all of them.
var everywhere = []Topology{Standalone, Sentinel, Cluster}

// Fault is one row of the table.
type Fault struct {
	// ID is that of the table in the design, such as "F1", with a word behind it
	// where a fault has variants: "F5 always".
	ID string
	// Name says in a few words what is done.
	Name       string
	Topologies []Topology
	// Short says that it is also run by -short, on the first of its topologies.
	Short bool
	// Setup changes what the world is made of before it is started; nil leaves it.
	Setup func(*Setup)
	// Run injects the fault under the load that it starts, and returns its own
	// figures. What the ledger and the store tell is checked after it by the frame,
	// which stops the load and waits until all has drained. An error, or a call of
	// World.Broken, is a failure.
	Run func(ctx context.Context, w *World) (Figures, error)
	// Audited are figures of its own that come of the audit; nil for none.
	Audited func(*ledger.Figures) Figures
}

// Figures are what a fault has measured, in the order in which they are shown.
type Figures []Figure

// Figure is one of them.
type Figure struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Add adds one; value is shown as %v shows it.
func (f *Figures) Add(name string, value any) {
	*f = append(*f, Figure{name, fmt.Sprint(value)})
}

// registry lists the faults in the order in which they are run.
func registry() []Fault {
	return []Fault{
		killServer,
		killWorker,
		stopWorker,
		killRedis("everysec"),
		killRedis("always"),
		losePower("everysec"),
		losePower("always"),
		stopRedis,
		loseReplies,
		flushScripts,
		fillRedis,
		dueAtOnce("100k", 100_000, 20_000),
		dueAtOnce("1M", 1_000_000, 50_000),
		repeatReports,
		badInput,
		destinationFails,
		partition("memory"),
		partition("everysec"),
		partition("always"),
		partition(replicatedLevel),
		failover("everysec"),
		failover(replicatedLevel),
		killMaster,
		hangMaster,
		moveSlots,
		rollingRestart,
	}
}

// job is one fault on one topology.
type job struct {
	Fault
	on Topology
}

// plan says what is run: the faults of these ids, or all when none is given, on those
// of these topologies that they are for.
func plan(all []Fault, only []string, topologies []Topology, short bool) ([]job, error) {
	for _, id := range only {
		if !slices.ContainsFunc(all, func(f Fault) bool { return f.is(id) }) {
			var ids []string
			for _, f := range all {
				ids = append(ids, f.ID)
			}
			return nil, fmt.Errorf("-only names %q: there are %s", id, strings.Join(ids, ", "))
		}
	}
	var jobs []job
	for _, f := range all {
		if len(only) > 0 && !slices.ContainsFunc(only, f.is) {
			continue
		}
		if short && len(only) == 0 && !f.Short {
			continue
		}
		for _, t := range f.Topologies {
			if slices.Contains(topologies, t) {
				jobs = append(jobs, job{f, t})
				if short {
					break
				}
			}
		}
	}
	return jobs, nil
}

// is says whether a fault is meant by an id, with or without its variant.
func (f Fault) is(id string) bool {
	number, _, _ := strings.Cut(f.ID, " ")
	return strings.EqualFold(f.ID, id) || strings.EqualFold(number, id)
}
