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
	// index is its place in the heap.
	index int
}

// add counts a new lease against its subscription's credit.
func (o *outLeases) add(t *Task, sub *Subscription) {
	if old := o.of[t.Key]; old != nil {
		o.drop(old)
	}
	l := &outLease{sub: sub, queue: t.Queue(), key: t.Key, fence: t.Fence, endMS: t.LeaseEndMS}
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

func (o *outLeases) drop(l *outLease) {
	l.sub.out--
	delete(o.of, l.key)
	heap.Remove(&o.ends, l.index)
}

// extend takes note of a lease's new end.
func (o *outLeases) extend(key TaskKey, fence Fence, endMS int64) {
	if l := o.of[key]; l != nil && l.fence == fence && l.endMS != endMS {
		l.endMS = endMS
		heap.Fix(&o.ends, l.index)
	}
}

// expire frees the credit of leases that have ended: what their workers do with
// them no longer keeps others waiting.
func (o *outLeases) expire(nowMS int64) {
	for len(o.ends) > 0 && o.ends[0].endMS <= nowMS {
		o.drop(o.ends[0])
	}
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
