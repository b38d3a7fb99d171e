package scheduler

import "container/heap"

// agenda orders queues by when they must next be looked at, the earliest first: what
// a dealing takes does not grow with the queues that have nothing due.
type agenda []*queue

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].lookMS < a[j].lookMS }
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

// Push is for package heap.
func (a *agenda) Push(x any) {
	q := x.(*queue)
	q.place = len(*a)
	*a = append(*a, q)
}

// Pop is for package heap.
func (a *agenda) Pop() any {
	old := *a
	q := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	return q
}

// moved puts a queue where it belongs after something has changed in it.
func (a *agenda) moved(q *queue) {
	if lookMS := q.earliestMS(allShards); lookMS != q.lookMS {
		q.lookMS = lookMS
		heap.Fix(a, q.place)
	}
}

func allShards(int) bool { return true }

// due returns the queues that must be looked at now, and when the first of the others
// must be, never when none must. lookMS is when each must for now, which is no earlier than
// its place says.
func (a agenda) due(nowMS int64, lookMS func(*queue) int64) (due []*queue, nextMS int64) {
	nextMS = never
	// No queue is earlier than the one above it in the heap.
	for places := []int{0}; len(places) > 0; {
		i := places[len(places)-1]
		places = places[:len(places)-1]
		if i >= len(a) || a[i].lookMS >= nextMS {
			continue
		}
		if ms := lookMS(a[i]); ms <= nowMS {
			due = append(due, a[i])
		} else {
			nextMS = min(nextMS, ms)
		}
		places = append(places, 2*i+2, 2*i+1)
	}
	return due, nextMS
}
