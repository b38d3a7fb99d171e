package memstore

import (
	"context"
	"sort"
	"strings"

	"github.com/retryd/retryd/scheduler"
)

// queueID orders queues.
type queueID string

func idOf(q scheduler.QueueKey) queueID { return queueID(q.Namespace + "\x00" + q.Name) }

func (id queueID) key() scheduler.QueueKey {
	namespace, name, _ := strings.Cut(string(id), "\x00")
	return scheduler.QueueKey{Namespace: namespace, Name: name}
}

func dueIndex(q scheduler.QueueKey) scheduler.Index {
	return scheduler.Index{Kind: scheduler.IndexDue, Namespace: q.Namespace, Name: q.Name}
}

// head is the earliest LookMS of a queue and shard, 0 when there is none.
func (s *Store) head(q scheduler.QueueKey, shard int) int64 {
	due, ok := s.shard[shard].index[dueIndex(q)]
	if !ok {
		return 0
	}
	first, _ := due.Min()
	return first.MS
}

// openHead is head, but while the queue is paused no earlier than the pause's
// end, and 0 where that has none.
func (s *Store) openHead(q scheduler.QueueKey, shard int, nowMS int64) int64 {
	head := s.head(q, shard)
	switch untilMS, paused := s.pause(q, nowMS); {
	case head == 0 || !paused:
		return head
	case untilMS == 0:
		return 0
	default:
		return max(head, untilMS)
	}
}

// Heads returns the heads of each queue, by shard.
func (s *Store) Heads(_ context.Context, queues []scheduler.QueueKey) ([][]scheduler.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	out := make([][]scheduler.Head, len(queues))
	for i, q := range queues {
		out[i] = make([]scheduler.Head, s.shards)
		for shard := range s.shards {
			out[i][shard] = scheduler.Head{LookMS: s.head(q, shard), OpenMS: s.openHead(q, shard, nowMS)}
		}
	}
	return out, nil
}

// Due returns a page of what is due.
func (s *Store) Due(_ context.Context, queue scheduler.QueueKey, shard int, after scheduler.Place, limit int) (scheduler.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	var page scheduler.Page
	due, ok := s.shard[shard].index[dueIndex(queue)]
	if !ok {
		return page, nil
	}
	page.Tasks = s.page(due, after, nowMS, limit)
	due.Ascend(scheduler.Place{MS: nowMS + 1}, func(p scheduler.Place) bool {
		page.NextMS = p.MS
		return false
	})
	return page, nil
}

// Ending returns a page of what is to end.
func (s *Store) Ending(_ context.Context, shard int, after scheduler.Place, limit int) ([]*scheduler.Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	s.forget(nowMS, forgetByPage)
	ending, ok := s.shard[shard].index[scheduler.Index{Kind: scheduler.IndexEnding}]
	if !ok {
		return nil, nil
	}
	return s.page(ending, after, nowMS, limit), nil
}

// page returns the tasks at the places after the one given and not after nowMS.
func (s *Store) page(index *places, after scheduler.Place, nowMS int64, limit int) []*scheduler.Task {
	var out []*scheduler.Task
	index.Ascend(after, func(p scheduler.Place) bool {
		if p.MS > nowMS || len(out) == limit {
			return false
		}
		if p != after {
			out = append(out, s.tasks[p.Key])
		}
		return true
	})
	return out
}

// Browse reads parts of indexes.
func (s *Store) Browse(_ context.Context, parts []scheduler.Part) []scheduler.Browsed {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]scheduler.Browsed, len(parts))
	for i, p := range parts {
		out[i] = s.browse(p)
	}
	return out
}

func (s *Store) browse(p scheduler.Part) scheduler.Browsed {
	var got scheduler.Browsed
	index, ok := s.shard[p.Shard].index[p.Index]
	if !ok {
		return got
	}
	index.Ascend(p.After, func(place scheduler.Place) bool {
		if len(got.Places) == min(p.Limit, maxBrowsed) {
			return false
		}
		if place != p.After {
			got.Places = append(got.Places, place)
		}
		return true
	})
	last := p.After
	if n := len(got.Places); n > 0 {
		last = got.Places[n-1]
	}
	got.Left = int64(index.Len() - upTo(index, func(place scheduler.Place) bool { return !placeLess(last, place) }))
	return got
}

// upTo returns how many places from the first on are in, where none is behind one
// that is not.
func upTo(index *places, in func(scheduler.Place) bool) int {
	return sort.Search(index.Len(), func(i int) bool {
		place, _ := index.GetAt(i)
		return !in(place)
	})
}

// maxBrowsed is how many places one part has at the most.
const maxBrowsed = 1000

// DeadLetterGroups returns the fingerprints of a queue's dead letters.
func (s *Store) DeadLetterGroups(_ context.Context, queue scheduler.QueueKey) ([]scheduler.DeadLetterGroup, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	byPrint := make(map[scheduler.Fingerprint]*scheduler.DeadLetterGroup)
	for _, sh := range s.shard {
		for ix, index := range sh.index {
			if ix.Kind != scheduler.IndexFingerprint || ix.Namespace != queue.Namespace || ix.Name != queue.Name {
				continue
			}
			first, _ := index.Min()
			last, _ := index.Max()
			g := byPrint[ix.Fingerprint]
			if g == nil {
				g = &scheduler.DeadLetterGroup{Queue: queue, Fingerprint: ix.Fingerprint, FirstMS: first.MS}
				byPrint[ix.Fingerprint] = g
			}
			g.Count += int64(index.Len())
			g.FirstMS = min(g.FirstMS, first.MS)
			if last.MS > g.LastMS || (last.MS == g.LastMS && last.Key.ID > g.Sample.ID) {
				g.LastMS, g.Sample = last.MS, last.Key
			}
		}
	}
	out := make([]scheduler.DeadLetterGroup, 0, len(byPrint))
	for _, g := range byPrint {
		out = append(out, *g)
	}
	return out, nil
}
