package memstore

import (
	"context"
	"strings"

	"github.com/retryd/retryd/scheduler"
)

func idOf(q scheduler.QueueKey) queueID { return queueID(q.Namespace + "\x00" + q.Name) }

func (id queueID) key() scheduler.QueueKey {
	namespace, name, _ := strings.Cut(string(id), "\x00")
	return scheduler.QueueKey{Namespace: namespace, Name: name}
}

// head is the earliest LookMS of a queue and shard, 0 when there is none.
func (s *Store) head(q scheduler.QueueKey, shard int) int64 {
	due, ok := s.index[shard].due.Get(idOf(q))
	if !ok {
		return 0
	}
	first, _ := due.Min()
	return first.MS
}

// Heads returns the earliest LookMS of each queue, by shard.
func (s *Store) Heads(_ context.Context, queues []scheduler.QueueKey) ([][]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([][]int64, len(queues))
	for i, q := range queues {
		out[i] = make([]int64, s.shards)
		for shard := range s.shards {
			out[i][shard] = s.head(q, shard)
		}
	}
	return out, nil
}

// Queues returns the queues in which a shard has something to look at.
func (s *Store) Queues(_ context.Context, shard int, after scheduler.QueueKey, limit int) ([]scheduler.QueueKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []scheduler.QueueKey
	start := idOf(after)
	s.index[shard].due.Ascend(start, func(id queueID, _ *places) bool {
		if id != start || after == (scheduler.QueueKey{}) {
			out = append(out, id.key())
		}
		return len(out) < limit
	})
	return out, nil
}

// Due returns a page of what is due.
func (s *Store) Due(_ context.Context, queue scheduler.QueueKey, shard int, after scheduler.Place, limit int) (scheduler.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	var page scheduler.Page
	due, ok := s.index[shard].due.Get(idOf(queue))
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
	return s.page(s.index[shard].ending, after, nowMS, limit), nil
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
