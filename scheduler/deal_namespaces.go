package scheduler

import (
	"cmp"
	"math"
	"slices"
)

const (
	// maxHands and maxPerRound bound what is claimed at once while there are several
	// namespaces, and so how long one waits for what the store does for another: with half
	// of it a namespace with a backlog gets less, and no other its own sooner.
	maxHands    = 32
	maxPerRound = maxPerTurn / 2
	// maxHandsAlone is how many claims a round has at the most of the only namespace. Each
	// brings a task at least, however large it is.
	maxHandsAlone = 256
)

// namespaceTurn is what the dispatcher knows of a namespace that somebody has subscribed
// to.
type namespaceTurn struct {
	name string
	// queues is how many of its queues the dispatcher knows.
	queues int
	// dealtAt is the number of the dealing that was the last for it.
	dealtAt uint64
	// round is the last in which it was asked about. room is how many more attempts its
	// quota lets out in that one, part how many more it is given before the others have
	// had theirs.
	round uint64
	room  int64
	part  int
	// passed is how many attempts have been dealt to hands without a backlog and not yet
	// been made up for by those dealt to backlogs.
	passed int
	// use is what is known of its use of its quota, nil where it has none.
	use *namespaceUse
	// flying are the servers that claims are on their way to for it.
	flying map[string]bool
}

func (d *dispatcher) namespaceOf(name string) *namespaceTurn {
	n := d.namespaces[name]
	if n == nil {
		n = &namespaceTurn{name: name}
		d.namespaces[name] = n
	}
	return n
}

// beginRound finds out how much may be dealt in a round.
func (d *dispatcher) beginRound() {
	d.round++
	d.roundLeft = math.MaxInt
	if len(d.namespaces) > 1 {
		d.roundLeft = maxPerRound
	}
}

// hasRoom says whether a namespace may be given anything in the round under way.
func (d *dispatcher) hasRoom(n *namespaceTurn) bool {
	if n.round != d.round {
		n.round, n.room, n.use = d.round, math.MaxInt64, d.s.quotas.of(n.name)
		if n.use != nil {
			n.room = n.use.leases.left()
		}
	}
	return n.room > 0
}

// gave counts what was dealt to a namespace.
func (d *dispatcher) gave(n *namespaceTurn) {
	n.room--
	n.dealtAt = d.dealings
	n.part--
	d.roundLeft--
	if n.use != nil {
		n.use.leases.reserved.Add(1)
	}
}

// passes notes that one was dealt to a hand: past the backlogs, or to one.
func (n *namespaceTurn) passes(h *hand) {
	if h.isBacklog() {
		n.passed = max(0, n.passed-maxPassedBy/backlogShare)
		return
	}
	// What has gone by while there was no backlog is not to be made up for.
	n.passed = min(n.passed+1, maxPassedBy+1)
}

// handsOf are the hands of queues that have something due. Of a namespace that has it in
// more queues and shards than a round has hands, those are left out that were dealt to
// last: there is no hand for them, and to put thousands in order takes longer than to
// claim.
func (d *dispatcher) handsOf(due []*queue, nowMS int64) []*hand {
	bounded := len(d.namespaces) > 1
	queues := make(map[*namespaceTurn]int)
	if bounded {
		due = longestWaiting(due)
		for _, q := range due {
			queues[q.namespace]++
		}
	}
	var hands []*hand
	var shards []int
	for _, q := range due {
		shards = shards[:0]
		for shard := range q.shards {
			if sh := &q.shards[shard]; sh.headMS != 0 && sh.headMS <= nowMS && d.mayDeal(q, shard) {
				shards = append(shards, shard)
			}
		}
		if bounded {
			// A queue's second hand comes after the first of all others.
			if most := (maxHands + queues[q.namespace] - 1) / queues[q.namespace]; len(shards) > most {
				slices.SortFunc(shards, func(a, b int) int { return cmp.Compare(q.shards[a].dealtAt, q.shards[b].dealtAt) })
				shards = shards[:most]
			}
		}
		for _, shard := range shards {
			hands = append(hands, &hand{q: q, shard: shard, dealtAt: q.shards[shard].dealtAt})
		}
	}
	return hands
}

// longestWaiting leaves each namespace as many queues as a round has hands.
func longestWaiting(due []*queue) []*queue {
	if len(due) <= maxHands {
		return due
	}
	type waiting struct {
		q    *queue
		last uint64
	}
	of := make(map[*namespaceTurn][]waiting)
	var namespaces []*namespaceTurn
	for _, q := range due {
		if of[q.namespace] == nil {
			namespaces = append(namespaces, q.namespace)
		}
		of[q.namespace] = append(of[q.namespace], waiting{q, q.lastDealt()})
	}
	kept := make([]*queue, 0, min(len(due), len(of)*maxHands))
	for _, n := range namespaces {
		queues := of[n]
		if len(queues) > maxHands {
			slices.SortFunc(queues, func(a, b waiting) int { return cmp.Compare(a.last, b.last) })
			queues = queues[:maxHands]
		}
		for _, w := range queues {
			kept = append(kept, w.q)
		}
	}
	return kept
}

// takeNamespaceTurns puts hands that are in their order within each namespace in the order
// of all: each namespace's first, then each one's second, and so on; and whoever was dealt
// to longest ago comes first. So a namespace with something due in one queue does not wait
// behind one that has it in a thousand.
func takeNamespaceTurns(hands []*hand) {
	turns := make(map[*namespaceTurn]int)
	for _, h := range hands {
		h.namespaceTurn = turns[h.q.namespace]
		turns[h.q.namespace]++
	}
	if len(turns) == 1 {
		return
	}
	slices.SortStableFunc(hands, func(a, b *hand) int {
		return cmp.Or(cmp.Compare(a.namespaceTurn, b.namespaceTurn), cmp.Compare(a.q.namespace.dealtAt, b.q.namespace.dealtAt))
	})
}

// partition gives each namespace that has hands an equal part of the round, and then what
// is left to all: whatever number of hands one has, it gets no more before others have
// what they want.
func (d *dispatcher) partition(hands []*hand, dealOut func()) {
	if len(d.namespaces) > 1 {
		playing := make(map[*namespaceTurn]bool)
		for _, h := range hands {
			playing[h.q.namespace] = true
		}
		for n := range playing {
			n.part = max(1, maxPerRound/len(playing))
		}
		dealOut()
	}
	for _, h := range hands {
		h.q.namespace.part = math.MaxInt
	}
	dealOut()
}

// bound leaves as many hands as a round has. The others are the first in the next.
func (d *dispatcher) bound(hands []*hand) []*hand {
	most := maxHands
	if len(d.namespaces) == 1 {
		most = maxHandsAlone
	}
	return hands[:min(len(hands), most)]
}
