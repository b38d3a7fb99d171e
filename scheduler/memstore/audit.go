package memstore

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// turn is whose turn it is to audit, until endMS.
type turn struct {
	replica string
	endMS   int64
}

// AuditTurn gives a replica the auditor's turn.
func (s *Store) AuditTurn(_ context.Context, replica string, hold time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	if s.turn.replica != replica && nowMS < s.turn.endMS {
		return false, nil
	}
	s.turn = turn{replica, nowMS + hold.Milliseconds()}
	return hold > 0, nil
}

// Audit begins a walk: first over all tasks, then over all that each shard has. Only a
// bug of this package could make a difference, so that it is there to tell, not for the
// sake of what is kept.
func (s *Store) Audit() scheduler.AuditWalk { return &auditWalk{s: s} }

type auditWalk struct {
	s     *Store
	begun bool
	tasks []scheduler.TaskKey
	shard int
	pass  scheduler.AuditPass
}

// auditPage is how many tasks one pass looks at.
const auditPage = 100

// Pass looks at the next part.
func (w *auditWalk) Pass(context.Context) (scheduler.AuditPass, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.pass = scheduler.AuditPass{}
	switch {
	case !w.begun:
		w.begun = true
		for key := range w.s.tasks {
			w.tasks = append(w.tasks, key)
		}
	case len(w.tasks) > 0:
		n := min(auditPage, len(w.tasks))
		for _, key := range w.tasks[:n] {
			w.checkTask(w.s.tasks[key])
		}
		w.tasks = w.tasks[n:]
		w.pass.Looked = n
	default:
		w.checkPlaces()
		w.checkCounts()
		w.shard++
		w.pass.Done = w.shard == w.s.shards
	}
	return w.pass, nil
}

func (w *auditWalk) found(kind scheduler.FindingKind, shard int, namespace, name, detail string) {
	w.pass.Findings = append(w.pass.Findings, scheduler.Finding{Kind: kind, Shard: shard, Namespace: namespace, Name: name, Detail: detail})
}

// checkTask puts a task into the indexes that it belongs in.
func (w *auditWalk) checkTask(t *scheduler.Task) {
	if t == nil {
		return
	}
	shard := scheduler.ShardOf(t.Key, w.s.shards)
	sh := &w.s.shard[shard]
	for _, e := range t.Entries(nil) {
		index, ok := sh.index[e.Index]
		if !ok {
			index = newPlaces()
			sh.index[e.Index] = index
		}
		place := scheduler.Place{MS: e.MS, Key: t.Key}
		if _, ok := index.Get(place); !ok {
			index.Set(place)
			w.found(scheduler.FindingMissing, shard, t.Key.Namespace, t.Key.ID, indexDetail(e.Index))
		}
	}
}

// checkPlaces takes out of a shard's indexes what does not belong there.
func (w *auditWalk) checkPlaces() {
	sh := &w.s.shard[w.shard]
	for ix, index := range sh.index {
		for _, place := range index.Items() {
			w.pass.Looked++
			t := w.s.tasks[place.Key]
			kind := scheduler.FindingOrphan
			if t != nil {
				kind = scheduler.FindingForeign
				belongs := false
				for _, e := range t.Entries(nil) {
					if e.Index == ix {
						kind = scheduler.FindingMisplaced
						belongs = belongs || e.MS == place.MS
					}
				}
				if belongs {
					continue
				}
			}
			index.Delete(place)
			w.found(kind, w.shard, place.Key.Namespace, place.Key.ID, indexDetail(ix))
		}
		if index.Len() == 0 {
			delete(sh.index, ix)
		}
	}
}

func indexDetail(ix scheduler.Index) string {
	return fmt.Sprintf("index %d of %s %s", ix.Kind, ix.Name, ix.Fingerprint)
}

// checkCounts counts a shard's tasks anew.
func (w *auditWalk) checkCounts() {
	sh := &w.s.shard[w.shard]
	leased := make(map[scheduler.QueueKey]int64)
	open := make(map[scheduler.QueueKey]map[int64]int64)
	bytes := make(map[scheduler.QueueKey]scheduler.QueueBytes)
	groups := make(map[scheduler.GroupKey]scheduler.GroupCount)
	for key, t := range w.s.tasks {
		if !t.State.Live() || scheduler.ShardOf(key, w.s.shards) != w.shard {
			continue
		}
		tally := scheduler.TallyOf(nil, t, 0)
		q := t.Queue()
		leased[q] += tally.Leased
		bytes[q] = bytes[q].Plus(tally.Bytes)
		if open[q] == nil {
			open[q] = make(map[int64]int64)
			if _, known := sh.queues.Get(idOf(q)); !known {
				sh.know(q)
				w.found(scheduler.FindingUnknownQueue, w.shard, q.Namespace, q.Name, "")
			}
		}
		if tally.Entered != 0 {
			open[q][tally.Entered]++
		}
		if t.Spec.Group != "" {
			g := scheduler.GroupKey{Namespace: key.Namespace, Name: t.Spec.Group}
			groups[g] = groups[g].Plus(tally.Grouped)
		}
	}
	sh.queues.Scan(func(id queueID, q *queue) bool {
		key := id.key()
		w.pass.Looked++
		if q.leased != leased[key] || q.bytes != bytes[key] || !maps.Equal(q.open, open[key]) {
			w.found(scheduler.FindingQueueCount, w.shard, key.Namespace, key.Name,
				fmt.Sprintf("%d leased, there are %d; bytes %+v, there are %+v", q.leased, leased[key], q.bytes, bytes[key]))
			q.leased, q.bytes, q.open = leased[key], bytes[key], make(map[int64]int64)
			maps.Copy(q.open, open[key])
		}
		return true
	})
	for key, g := range sh.groups {
		n := groups[key]
		if g.count.InProgress == n.InProgress && g.count.Pending() == n.Pending() {
			continue
		}
		w.found(scheduler.FindingGroupCount, w.shard, key.Namespace, key.Name, fmt.Sprintf("%+v, there are %+v", g.count, n))
		g.count.InProgress = n.InProgress
		g.count.Total = g.count.Completed + g.count.Failed + n.InProgress + n.Pending()
	}
}
