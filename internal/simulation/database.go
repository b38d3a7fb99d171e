package simulation

import (
	"sync/atomic"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// database is the store behind all replicas: one in memory, and the journal of what
// was written to it, from which an older state of it is made when it fails over.
type database struct {
	shards  int
	now     atomic.Pointer[memstore.Store]
	stepMS  atomic.Int64
	journal []entry
}

// entry is a write and when the store's clock showed it.
type entry struct {
	atMS  int64
	write func(*memstore.Store)
	// keys are the tasks that it is of.
	keys []scheduler.TaskKey
}

func newDatabase(shards int) *database {
	db := &database{shards: shards}
	db.now.Store(memstore.New(memstore.Config{Shards: shards, NowMS: db.nowMS}))
	return db
}

// nowMS is the store's clock, which alone says what is due.
func (db *database) nowMS() int64 { return time.Now().UnixMilli() + db.stepMS.Load() }

// write carries a write out and enters it.
func (db *database) write(keys []scheduler.TaskKey, write func(*memstore.Store)) {
	db.journal = append(db.journal, entry{db.nowMS(), write, keys})
	write(db.now.Load())
}

// failOver loses the last n writes: what took over had not got them yet. It returns
// the tasks that they were of.
func (db *database) failOver(n int) []scheduler.TaskKey {
	lost := db.journal[len(db.journal)-n:]
	db.journal = db.journal[:len(db.journal)-n]
	var atMS atomic.Int64
	replaying := true
	store := memstore.New(memstore.Config{Shards: db.shards, NowMS: func() int64 {
		if replaying {
			return atMS.Load()
		}
		return db.nowMS()
	}})
	for _, e := range db.journal {
		atMS.Store(e.atMS)
		e.write(store)
	}
	replaying = false
	db.now.Store(store)
	var keys []scheduler.TaskKey
	for _, e := range lost {
		keys = append(keys, e.keys...)
	}
	return keys
}
