package scheduler

import (
	"context"
	"slices"
)

const (
	// fewUnseen is how many queues are claimed from before anything is known of them.
	fewUnseen = 8
	// maxAsked is how many queues the store is asked about at once, more or less: the
	// dispatcher hands out meanwhile, and what is asked and answered takes its space.
	maxAsked = 1000
)

// startLook looks at what there is to look at, unless the last time still lasts.
func (d *dispatcher) startLook(ctx context.Context) {
	d.mu.Lock()
	nothing := len(d.unseen) == 0 && len(d.newcomers) == 0
	d.mu.Unlock()
	if !nothing {
		d.beside(ctx, d.looking, d.look)
	}
}

// look learns what there is in queues that nothing is known of, and tells newcomers of
// theirs. Of a few the claims themselves tell, soonest. Of many, which subscribers may
// name by the thousand, most are empty: a claim from each shard of each would keep the
// store for seconds, and so would the looks of observers, who claim nothing.
func (d *dispatcher) look(ctx context.Context) {
	keys, newcomers := d.toLookAt()
	if len(keys) == 0 {
		return
	}
	var heads [][]Head
	if len(keys) > fewUnseen || len(newcomers) > 0 {
		var err error
		if heads, err = d.s.store.Heads(ctx, keys); err != nil {
			d.s.log.WarnContext(ctx, "cannot read the heads of the queues", "error", err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, key := range keys {
		q := d.queues[key]
		if q == nil {
			continue
		}
		if heads != nil {
			q.tell(heads[i], func(o *onlooker) bool { return o.isNew })
		}
		if !q.unseen {
			continue
		}
		q.unseen = false
		for shard := range d.s.shards {
			headMS := int64(1)
			if heads != nil {
				headMS = heads[i][shard].OpenMS
			}
			if headMS != 0 {
				sh := d.shardOf(q, shard)
				sh.headMS = earlier(sh.headMS, headMS)
			}
		}
		d.agenda.moved(q)
	}
	// What could not be read they learn from the next recheck.
	for _, o := range newcomers {
		o.isNew = false
	}
}

// toLookAt takes the queues that are to be looked at, and the observers who wait for
// it.
func (d *dispatcher) toLookAt() (keys []QueueKey, newcomers []*onlooker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(d.unseen), maxAsked)
	keys, d.unseen = slices.Clone(d.unseen[:n]), d.unseen[n:]
	if len(d.unseen) == 0 {
		d.unseen = nil
	}
	if len(d.newcomers) == 0 {
		return keys, nil
	}
	listed := make(map[QueueKey]bool)
	for _, key := range keys {
		listed[key] = true
	}
	for _, o := range d.newcomers {
		if len(newcomers) > 0 && len(keys) >= maxAsked {
			break
		}
		newcomers = append(newcomers, o)
		for _, key := range o.queues {
			if !listed[key] {
				listed[key] = true
				keys = append(keys, key)
			}
		}
	}
	d.newcomers = slices.Delete(d.newcomers, 0, len(newcomers))
	return keys, newcomers
}

// tell tells those of a queue's observers who are to know what its heads are.
func (q *queue) tell(heads []Head, who func(*onlooker) bool) {
	for _, o := range q.observers {
		if !who(o) {
			continue
		}
		for shard, head := range heads {
			if head.LookMS != 0 {
				o.note(Hint{Queue: q.key, Shard: shard, DueMS: head.LookMS})
			}
		}
	}
}
