package scheduler

import (
	"context"
	"slices"
)

// startRecheck rechecks, unless the last time still lasts.
func (d *dispatcher) startRecheck(ctx context.Context) { d.beside(ctx, d.rechecking, d.recheck) }

// recheck asks the store what the dispatcher should know already: the heads of
// its queues, whose hints may be lost, and its leases, whose outcomes may have
// arrived at another replica.
func (d *dispatcher) recheck(ctx context.Context) {
	d.mu.Lock()
	d.hintsMissed = false
	keys := make([]QueueKey, 0, len(d.queues))
	for key := range d.queues {
		keys = append(keys, key)
	}
	checks := d.out.checks()
	d.mu.Unlock()
	for some := range slices.Chunk(keys, maxAsked) {
		heads, err := d.s.store.Heads(ctx, some)
		if err != nil {
			d.s.log.WarnContext(ctx, "cannot read the heads of the queues", "error", err)
		}
		if heads == nil {
			break
		}
		d.setHeads(some, heads)
	}
	if len(checks) > 0 {
		checked := d.s.store.CheckLeases(ctx, checks)
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, c := range checked {
			switch {
			case c.Err != nil:
			case c.Held:
				d.out.extend(checks[i].Key, checks[i].Fence, c.LeaseEndMS)
			default:
				d.out.free(checks[i].Key, checks[i].Fence)
			}
		}
	}
}

func (d *dispatcher) setHeads(keys []QueueKey, heads [][]Head) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, key := range keys {
		q := d.queues[key]
		if q == nil {
			continue
		}
		q.tell(heads[i], func(*onlooker) bool { return true })
		for shard, head := range heads[i] {
			if q.shards != nil {
				q.shards[shard].pausedMS = 0
			}
			if head.OpenMS == 0 {
				continue
			}
			sh := d.shardOf(q, shard)
			sh.headMS = earlier(sh.headMS, head.OpenMS)
			// A claim under way may have been answered before this.
			sh.notedMS = earlier(sh.notedMS, head.OpenMS)
		}
		d.agenda.moved(q)
	}
}
