package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// plan is what a seed's run is made of. Each seed leaves some kinds of fault out, so
// that one kind does not hide what another would show.
type plan struct {
	shards, replicas, workers, tasks int
	// span is how long callers and faults go on.
	span time.Duration

	// The shares of operations whose reply gets lost, that do not arrive, that arrive
	// twice, and that are late; and of hints that get lost.
	lost, refused, twice, late, hints float64

	// How many of each there are within the span.
	crashes, restarts, outages, stores, failOvers, operators, pulls, stalls, nights int
	// steps are steps of the store's clock, skews of a replica's.
	steps, skews int
	// lossy says that a fail-over loses what was acknowledged: the level promises no
	// more.
	lossy bool
}

func draw(rng *rand.Rand) plan {
	p := plan{
		shards:   1 + rng.IntN(3),
		replicas: 2 + rng.IntN(2),
		workers:  2 + rng.IntN(4),
		tasks:    8 + rng.IntN(24),
		span:     time.Duration(2+rng.IntN(4)) * time.Minute,
	}
	share := func(most float64) float64 {
		if rng.IntN(2) == 0 {
			return 0
		}
		return rng.Float64() * most
	}
	count := func(most int) int { return max(0, rng.IntN(2*most+1)-most) }
	p.lost, p.refused, p.twice, p.late = share(0.2), share(0.2), share(0.3), share(0.1)
	p.hints = share(1)
	p.crashes, p.restarts, p.outages, p.stores = count(3), count(2), count(3), count(2)
	p.failOvers, p.operators, p.stalls, p.nights = count(2), 4*count(4), count(3), count(1)
	p.pulls = 5 * count(4)
	p.steps, p.skews = count(2), count(3)
	p.lossy = rng.IntN(2) == 0
	if rng.IntN(4) == 0 {
		p.late = 0
		p.outages, p.stores, p.failOvers, p.stalls, p.steps, p.skews, p.nights = 0, 0, 0, 0, 0, 0, 0
	}
	return p
}

// calm says that nothing keeps the replicas from the store for as long as a lease, so
// that more can be said of what must happen.
func (p *plan) calm() bool {
	return p.late == 0 && p.outages+p.stores+p.failOvers+p.stalls+p.steps+p.skews+p.nights == 0
}

// steady says that all clocks go alike.
func (p *plan) steady() bool { return p.steps+p.skews == 0 }

func (p *plan) String() string {
	return fmt.Sprintf("%d shards, %d replicas, %d workers, %d tasks, %s; of operations lost %.2f, refused %.2f, twice %.2f, late %.2f; hints lost %.2f; "+
		"%d crashes, %d restarts, %d outages of a replica's, %d of the store, %d fail-overs (lossy %t), %d clock steps, %d skews, %d operations, %d pulls, %d stalls, %d nights",
		p.shards, p.replicas, p.workers, p.tasks, p.span, p.lost, p.refused, p.twice, p.late, p.hints,
		p.crashes, p.restarts, p.outages, p.stores, p.failOvers, p.lossy, p.steps, p.skews, p.operators, p.pulls, p.stalls, p.nights)
}
