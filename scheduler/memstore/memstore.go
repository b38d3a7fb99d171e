package memstore

import (
	"context"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/retryd/retryd/scheduler"
)

// Store keeps tasks and policies in memory. It is a [scheduler.Store].
type Store struct {
	shards int
	nowMS  func() int64
	hub    hub

	mu       sync.Mutex
	tasks    map[scheduler.TaskKey]*scheduler.Task
	shard    []shard
	expiring *places
	// pauses holds until when a queue is paused, 0 for good.
	pauses map[scheduler.QueueKey]int64
	claims map[claimKey]lastClaim
	// claimsSweptMS is when claims were last looked through.
	claimsSweptMS int64
	policies      map[string]map[string]*scheduler.PolicyRecord
	jobs          map[string]map[string]*scheduler.JobRecord
	jobsMarks     map[string]scheduler.JobsMark
	turn          turn
	notes         map[string]note
}

// Config is what a Store needs to know. The zero value is the default.
type Config struct {
	// Shards is how many parts the queues are kept in. Default 1: in one process
	// more gain nothing.
	Shards int
	// NowMS is the clock, in Unix milliseconds. Default the system's.
	NowMS func() int64
}

// shard holds the ordered places of one shard's tasks, and what is counted of
// them.
type shard struct {
	// index has an index for as long as there is something in it.
	index  map[scheduler.Index]*places
	queues *btree.Map[queueID, *queue]
	groups map[scheduler.GroupKey]*group
}

// New returns an empty store.
func New(cfg Config) *Store {
	if cfg.Shards == 0 {
		cfg.Shards = 1
	}
	if cfg.NowMS == nil {
		cfg.NowMS = func() int64 { return time.Now().UnixMilli() }
	}
	s := &Store{
		shards:   cfg.Shards,
		nowMS:    cfg.NowMS,
		tasks:    make(map[scheduler.TaskKey]*scheduler.Task),
		expiring: newPlaces(),
		claims:   make(map[claimKey]lastClaim),
		pauses:   make(map[scheduler.QueueKey]int64),
		policies: make(map[string]map[string]*scheduler.PolicyRecord),
		jobs:     make(map[string]map[string]*scheduler.JobRecord),

		jobsMarks: make(map[string]scheduler.JobsMark),
		notes:     make(map[string]note),
	}
	for range cfg.Shards {
		s.shard = append(s.shard, shard{
			index:  make(map[scheduler.Index]*places),
			queues: &btree.Map[queueID, *queue]{},
			groups: make(map[scheduler.GroupKey]*group),
		})
	}
	return s
}

// places is an index, in the order of [scheduler.Place]; the store's mutex
// guards it.
type places = btree.BTreeG[scheduler.Place]

// newPlaces returns an empty index.
func newPlaces() *places {
	return btree.NewBTreeGOptions(placeLess, btree.Options{NoLocks: true})
}

func placeLess(a, b scheduler.Place) bool {
	switch {
	case a.MS != b.MS:
		return a.MS < b.MS
	case a.Key.Namespace != b.Key.Namespace:
		return a.Key.Namespace < b.Key.Namespace
	}
	return a.Key.ID < b.Key.ID
}

// Shards returns the number of shards.
func (s *Store) Shards() int { return s.shards }

// Now returns the store's clock.
func (s *Store) Now(context.Context) (int64, error) { return s.nowMS(), nil }

// Info tells that everything is in memory.
func (s *Store) Info() scheduler.StoreInfo {
	return scheduler.StoreInfo{Kind: "memory", Found: scheduler.DurabilityMemory, Disk: scheduler.DurabilityMemory}
}

// Load returns tasks as they are.
func (s *Store) Load(_ context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	out := make([]scheduler.Loaded, len(keys))
	for i, key := range keys {
		out[i].Task = s.task(key, nowMS)
	}
	return out
}

// Confirm is Load: what is in memory is as durable as it will ever be.
func (s *Store) Confirm(ctx context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	return s.Load(ctx, keys)
}

// Commit writes each change whose expectation holds.
func (s *Store) Commit(_ context.Context, changes []scheduler.Change) []scheduler.Committed {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	s.forget(nowMS, forgetAtOnce)
	out := make([]scheduler.Committed, len(changes))
	for i, c := range changes {
		out[i] = s.commit(c, nowMS)
	}
	return out
}

func (s *Store) commit(c scheduler.Change, nowMS int64) scheduler.Committed {
	now := s.task(c.Key, nowMS)
	var version int64
	if now != nil {
		version = now.Version
	}
	if version != c.Expect() {
		return scheduler.Committed{Status: scheduler.CommitConflict, Task: now, NowMS: nowMS}
	}
	if c.DecidedMS != 0 && !c.Final && (c.DecidedMS-nowMS > scheduler.MaxAheadMS || nowMS-c.DecidedMS > scheduler.MaxBehindMS) {
		return scheduler.Committed{Status: scheduler.CommitSkewed, Task: now, NowMS: nowMS}
	}
	if c.Task == nil {
		s.remove(now)
		s.count(now, nil, c.DecidedMS, nowMS)
		return scheduler.Committed{NowMS: nowMS}
	}
	next := *c.Task
	next.Version = max(c.Expect()+1, nowMS*1000)
	s.replace(now, &next)
	s.count(now, &next, c.DecidedMS, nowMS)
	return scheduler.Committed{Task: &next, NowMS: nowMS}
}

// task returns the task of that key, nil when there is none or when it is past
// its retention.
func (s *Store) task(key scheduler.TaskKey, nowMS int64) *scheduler.Task {
	t := s.tasks[key]
	if t != nil && t.State.Ended() && nowMS >= t.ExpireMS {
		s.remove(t)
		return nil
	}
	return t
}

// replace puts next in the place of now, nil when there was none, and moves its
// places in the indexes.
func (s *Store) replace(now, next *scheduler.Task) {
	s.unplace(now)
	s.tasks[next.Key] = next
	number := scheduler.ShardOf(next.Key, s.shards)
	sh := &s.shard[number]
	for _, e := range next.Entries(nil) {
		index, ok := sh.index[e.Index]
		if !ok {
			index = newPlaces()
			sh.index[e.Index] = index
		}
		head, found := index.Min()
		index.Set(scheduler.Place{MS: e.MS, Key: next.Key})
		if e.Index.Kind != scheduler.IndexEnding {
			sh.know(next.Queue())
		}
		if e.Index.Kind == scheduler.IndexDue && (!found || e.MS < head.MS) {
			s.hub.send(scheduler.Hint{Queue: next.Queue(), Shard: number, DueMS: e.MS})
		}
	}
	if next.State.Ended() {
		s.expiring.Set(scheduler.Place{MS: next.ExpireMS, Key: next.Key})
	}
}

func (s *Store) remove(t *scheduler.Task) {
	if t == nil {
		return
	}
	s.unplace(t)
	delete(s.tasks, t.Key)
}

// unplace takes a task out of the indexes.
func (s *Store) unplace(t *scheduler.Task) {
	if t == nil {
		return
	}
	sh := &s.shard[scheduler.ShardOf(t.Key, s.shards)]
	for _, e := range t.Entries(nil) {
		if index, ok := sh.index[e.Index]; ok {
			index.Delete(scheduler.Place{MS: e.MS, Key: t.Key})
			if index.Len() == 0 {
				delete(sh.index, e.Index)
			}
		}
	}
	if t.State.Ended() {
		s.expiring.Delete(scheduler.Place{MS: t.ExpireMS, Key: t.Key})
	}
}

// How many ended tasks a commit forgets, so that none pays for all, and how many
// a look at what is to end, which comes also where nothing is committed.
const (
	forgetAtOnce = 100
	forgetByPage = 10_000
)

// forget drops up to n ended tasks whose retention is over.
func (s *Store) forget(nowMS int64, n int) {
	for range n {
		first, ok := s.expiring.Min()
		if !ok || first.MS > nowMS {
			return
		}
		s.remove(s.tasks[first.Key])
	}
}

// Servers returns nil: there is one.
func (s *Store) Servers(context.Context) []string { return nil }

// Hints tells of work that has come to the head of a queue until ctx ends. None is lost.
func (s *Store) Hints(ctx context.Context, hint func(scheduler.Hint), _ func()) error {
	return s.hub.listen(ctx, hint)
}
