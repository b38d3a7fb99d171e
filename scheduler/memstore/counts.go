package memstore

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/retryd/retryd/scheduler"
)

// queue is what one shard counts of a queue.
type queue struct {
	leased int64
	bytes  scheduler.QueueBytes
	open   map[int64]int64
	stats  map[int64]scheduler.QueueStats
}

// group is what one shard counts of a group, and when it last changed.
type group struct {
	count    scheduler.GroupCount
	changeMS int64
}

// know returns what is counted of a queue, which is known from now on.
func (sh *shard) know(key scheduler.QueueKey) *queue {
	id := idOf(key)
	q, ok := sh.queues.Get(id)
	if !ok {
		q = &queue{open: make(map[int64]int64), stats: make(map[int64]scheduler.QueueStats)}
		sh.queues.Set(id, q)
	}
	return q
}

// count adds what a change of a task at atMS means for its queue and group.
func (s *Store) count(before, after *scheduler.Task, atMS, nowMS int64) {
	tally := scheduler.TallyOf(before, after, atMS)
	if tally == (scheduler.Tally{}) {
		return
	}
	t := after
	if t == nil {
		t = before
	}
	sh := &s.shard[scheduler.ShardOf(t.Key, s.shards)]
	q := sh.know(tally.Queue)
	q.leased += tally.Leased
	q.bytes = q.bytes.Plus(tally.Bytes)
	if tally.Left != 0 {
		if q.open[tally.Left]--; q.open[tally.Left] == 0 {
			delete(q.open, tally.Left)
		}
	}
	if tally.Entered != 0 {
		q.open[tally.Entered]++
	}
	if tally.Stats != (scheduler.QueueStats{}) {
		sum := q.stats[tally.Hour]
		sum.Add(tally.Stats)
		q.stats[tally.Hour] = sum
	}
	if tally.Group != "" {
		key := scheduler.GroupKey{Namespace: t.Key.Namespace, Name: tally.Group}
		g := sh.groups[key]
		if g == nil {
			g = &group{}
			sh.groups[key] = g
		}
		g.count, g.changeMS = g.count.Plus(tally.Grouped), nowMS
	}
}

// Queues returns a page of the queues that a shard knows.
func (s *Store) Queues(_ context.Context, shard int, after scheduler.QueueKey, limit int) ([]scheduler.QueueKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queuesAfter(shard, after, limit), nil
}

func (s *Store) queuesAfter(shard int, after scheduler.QueueKey, limit int) []scheduler.QueueKey {
	var out []scheduler.QueueKey
	start := idOf(after)
	s.shard[shard].queues.Ascend(start, func(id queueID, _ *queue) bool {
		if id != start || after == (scheduler.QueueKey{}) {
			out = append(out, id.key())
		}
		return len(out) < limit
	})
	return out
}

// DueQueues returns a page of the queues in which a shard has something due.
func (s *Store) DueQueues(_ context.Context, shard, skip, limit int) ([]scheduler.QueueKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	heads := make(map[scheduler.QueueKey]int64)
	var out []scheduler.QueueKey
	// In the order of their names, which those keep that are due since the same time.
	s.shard[shard].queues.Scan(func(id queueID, _ *queue) bool {
		q := id.key()
		if head := s.head(q, shard); head != 0 && head <= nowMS {
			out, heads[q] = append(out, q), head
		}
		return true
	})
	slices.SortStableFunc(out, func(a, b scheduler.QueueKey) int { return cmp.Compare(heads[a], heads[b]) })
	out = out[min(skip, len(out)):]
	return out[:min(limit, len(out))], nil
}

// CountQueues returns what is counted of queues.
func (s *Store) CountQueues(_ context.Context, queues []scheduler.QueueKey) ([]scheduler.QueueCount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	out := make([]scheduler.QueueCount, len(queues))
	for i, q := range queues {
		out[i] = s.countQueue(q, nowMS)
	}
	return out, nil
}

func (s *Store) countQueue(key scheduler.QueueKey, nowMS int64) scheduler.QueueCount {
	c := scheduler.QueueCount{NowMS: nowMS, Open: make(map[int64]int64), Stats: make(map[int64]scheduler.QueueStats)}
	c.PausedUntilMS, c.Paused = s.pause(key, nowMS)
	for number := range s.shard {
		sh := &s.shard[number]
		q, known := sh.queues.Get(idOf(key))
		if !known {
			continue
		}
		c.Known = true
		c.Leased += q.leased
		for hour, n := range q.open {
			c.Open[hour] += n
		}
		for hour, n := range q.stats {
			if keptHour(hour, nowMS) {
				sum := c.Stats[hour]
				sum.Add(n)
				c.Stats[hour] = sum
			}
		}
		if due, ok := sh.index[dueIndex(key)]; ok {
			c.Waiting += int64(due.Len())
			c.Due += int64(upTo(due, func(p scheduler.Place) bool { return p.MS <= nowMS }))
			if head := s.head(key, number); c.HeadMS == 0 || head < c.HeadMS {
				c.HeadMS = head
			}
		}
		c.Held += sh.sizeOf(scheduler.IndexHeld, key)
		c.Dead += sh.sizeOf(scheduler.IndexDead, key)
	}
	// Growth and its end in one hour leave nothing to tell.
	maps.DeleteFunc(c.Stats, func(_ int64, st scheduler.QueueStats) bool { return st == scheduler.QueueStats{} })
	return c
}

func (sh *shard) sizeOf(kind scheduler.IndexKind, q scheduler.QueueKey) int64 {
	if index, ok := sh.index[scheduler.Index{Kind: kind, Namespace: q.Namespace, Name: q.Name}]; ok {
		return int64(index.Len())
	}
	return 0
}

// keptHour says whether an hour's counts are told.
func keptHour(hour, nowMS int64) bool { return hour > nowMS/scheduler.HourMS-scheduler.StatHours }

// pause says whether a queue is paused, and until when.
func (s *Store) pause(q scheduler.QueueKey, nowMS int64) (untilMS int64, paused bool) {
	untilMS, paused = s.pauses[q]
	if paused && untilMS != 0 && untilMS <= nowMS {
		return 0, false
	}
	return untilMS, paused
}

// PauseQueue stops claims from a queue.
func (s *Store) PauseQueue(_ context.Context, q scheduler.QueueKey, untilMS int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauses[q] = untilMS
	for i := range s.shard {
		s.shard[i].know(q)
	}
	return nil
}

// ResumeQueue ends a queue's pause.
func (s *Store) ResumeQueue(_ context.Context, q scheduler.QueueKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pauses, q)
	return nil
}

// ForgetQueues forgets what is of no use any more.
func (s *Store) ForgetQueues(_ context.Context, shard int, after scheduler.QueueKey, limit int) (scheduler.QueueKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	sh := &s.shard[shard]
	page := s.queuesAfter(shard, after, limit)
	for _, key := range page {
		q, _ := sh.queues.Get(idOf(key))
		for hour := range q.stats {
			if !keptHour(hour, nowMS) {
				delete(q.stats, hour)
			}
		}
		_, paused := s.pause(key, nowMS)
		live := sh.sizeOf(scheduler.IndexDue, key) + sh.sizeOf(scheduler.IndexHeld, key) + sh.sizeOf(scheduler.IndexDead, key)
		if !paused && live == 0 && len(q.stats) == 0 {
			sh.queues.Delete(idOf(key))
		}
	}
	if len(page) < limit || len(page) == 0 {
		return scheduler.QueueKey{}, nil
	}
	return page[len(page)-1], nil
}

// Group returns a group's counts.
func (s *Store) Group(_ context.Context, key scheduler.GroupKey) (scheduler.GroupCount, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum scheduler.GroupCount
	found := false
	for _, sh := range s.shard {
		if g := sh.groups[key]; g != nil {
			found = true
			sum.Total += g.count.Total
			sum.Completed += g.count.Completed
			sum.Failed += g.count.Failed
			sum.InProgress += g.count.InProgress
		}
	}
	return sum, found, nil
}

// DeleteGroup forgets a group's counts.
func (s *Store) DeleteGroup(_ context.Context, key scheduler.GroupKey) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for _, sh := range s.shard {
		found = found || sh.groups[key] != nil
		delete(sh.groups, key)
	}
	return found, nil
}

// ForgetGroups forgets groups in which nothing changes any more.
func (s *Store) ForgetGroups(_ context.Context, shard int, beforeMS int64, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var old []scheduler.GroupKey
	for key := range s.shard[shard].groups {
		if len(old) < limit && s.groupChangedMS(key) < beforeMS {
			old = append(old, key)
		}
	}
	for _, key := range old {
		for _, sh := range s.shard {
			delete(sh.groups, key)
		}
	}
	return len(old), nil
}

func (s *Store) groupChangedMS(key scheduler.GroupKey) int64 {
	var ms int64
	for _, sh := range s.shard {
		if g := sh.groups[key]; g != nil {
			ms = max(ms, g.changeMS)
		}
	}
	return ms
}
