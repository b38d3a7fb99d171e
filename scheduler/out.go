package scheduler

import "container/heap"

// outLeases are the leases that this replica's subscriptions have out, and when
// each ends.
type outLeases struct {
	of   map[TaskKey]*outLease
	ends endHeap
}

type outLease struct {
	sub   *Subscription
	queue QueueKey
	key   TaskKey
	fence Fence
	endMS int64
	// taken is set when its subscription's reader has taken the delivery.
	taken bool
	// over is set when the lease has ended: it then counts against no credit, but
	// its worker may still extend it, as long as nobody has taken the attempt.
	over bool
	// index is its place in the heap, while it is not over.
	index int
}

// add counts a new lease against its subscription's credit. Nothing is kept of the task but
// its key: any other part of it may have all of its record stay.
func (o *outLeases) add(t *Task, sub *Subscription, queue QueueKey) {
	if old := o.of[t.Key]; old != nil {
		o.drop(old)
	}
	l := &outLease{sub: sub, queue: queue, key: t.Key, fence: t.Fence, endMS: t.LeaseEndMS}
	sub.out++
	o.of[t.Key] = l
	heap.Push(&o.ends, l)
}

// free gives the credit of a lease back; it is false when that was done before.
func (o *outLeases) free(key TaskKey, fence Fence) bool {
	l := o.of[key]
	if l == nil || l.fence != fence {
		return false
	}
	o.drop(l)
	return true
}

// take takes note that somebody has taken the delivery.
func (o *outLeases) take(key TaskKey, fence Fence) {
	if l := o.of[key]; l != nil && l.fence == fence {
		l.taken = true
	}
}

// drop forgets a lease that is nobody's any more. Had its delivery not been taken yet, it
// must not be now: its task may have been cancelled, or the store have lost the lease.
func (o *outLeases) drop(l *outLease) {
	delete(o.of, l.key)
	if !l.taken && !l.over {
		l.sub.withdraw(l.key, l.fence)
	}
	if !l.over {
		l.sub.out--
		heap.Remove(&o.ends, l.index)
	}
}

// extend takes note of a lease's new end, which may bring back one that was
// over.
func (o *outLeases) extend(key TaskKey, fence Fence, endMS int64) {
	l := o.of[key]
	if l == nil || l.fence != fence || l.endMS == endMS {
		return
	}
	l.endMS = endMS
	if !l.over {
		heap.Fix(&o.ends, l.index)
		return
	}
	l.over = false
	l.sub.out++
	heap.Push(&o.ends, l)
}

// expire frees the credit of leases that have ended: what their workers do with
// them no longer keeps others waiting. They are forgotten when the store says
// that they are no longer their tasks'. It returns the deliveries among them that
// nobody has taken yet.
func (o *outLeases) expire(nowMS int64) (untaken []Delivery) {
	for len(o.ends) > 0 && o.ends[0].endMS <= nowMS {
		l := heap.Pop(&o.ends).(*outLease)
		l.over = true
		l.sub.out--
		if l.taken {
			continue
		}
		if d, ok := l.sub.withdraw(l.key, l.fence); ok {
			untaken = append(untaken, d)
		}
	}
	return untaken
}

// earliestMS is when the first lease ends, or never.
func (o *outLeases) earliestMS() int64 {
	if len(o.ends) == 0 {
		return never
	}
	return o.ends[0].endMS
}

// checks lists the leases for the store to look at.
func (o *outLeases) checks() []LeaseCheck {
	out := make([]LeaseCheck, 0, len(o.of))
	for _, l := range o.of {
		out = append(out, LeaseCheck{Queue: l.queue, Key: l.key, Fence: l.fence, LeaseEndMS: l.endMS})
	}
	return out
}

// endHeap orders leases by their end, the earliest first.
type endHeap []*outLease

func (h endHeap) Len() int           { return len(h) }
func (h endHeap) Less(i, j int) bool { return h[i].endMS < h[j].endMS }
func (h endHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *endHeap) Push(x any) {
	l := x.(*outLease)
	l.index = len(*h)
	*h = append(*h, l)
}

func (h *endHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}
