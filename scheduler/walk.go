package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// walk goes over the places of a filter's tasks in their order: queue by queue,
// index by index, and in each over all shards at once. It reads ahead, so that
// what it costs does not depend on where it starts.
type walk struct {
	s         *Scheduler
	namespace string
	filter    TaskFilter
	// exact says that every task at these places matches, unless it has moved on.
	exact bool
	// chunk is how many places it asks of a shard at a time.
	chunk int
	// at is the place passed last.
	at Cursor
	// untilMS is the store's time after which what has come to be as it is is left
	// out, 0 for none.
	untilMS int64

	// ahead are the indexes that have been opened and not been passed, of which the
	// first is being read; pending those that come after them, as far as they are
	// known. more says that more queues follow the one named last.
	ahead   []*stretch
	pending []Index
	last    string
	more    bool
	// opened counts those opened, span is how many are opened next.
	opened, span int
}

// stretch is an index that is being read.
type stretch struct {
	index  Index
	after  Place
	shards []stretchShard
}

// stretchShard is an index in one shard: the places that have been read but not
// passed, and how many follow them.
type stretchShard struct {
	places []Place
	left   int64
}

const (
	// maxLooked is how many places one call looks at, and maxOpened how many
	// indexes, most of which may be empty: a call takes a bounded time, and whoever
	// wants more calls again.
	maxLooked = 1000
	maxOpened = 512
	// maxSpan bounds how many indexes are opened at once. It is reached step by step,
	// since the first may hold all that is wanted.
	maxSpan = 64
	// namesPage is how many queues are asked for at a time.
	namesPage = 100
	// callsAtOnce bounds how many calls to the store are under way for one of ours.
	callsAtOnce = 8
)

// newWalk starts a walk over what a filter, which has been checked, may match,
// behind a cursor. want is about how many places will be read.
func (s *Scheduler) newWalk(namespace string, f TaskFilter, after Cursor, want int) (*walk, error) {
	w := &walk{
		s: s, namespace: namespace, filter: f, exact: f.indexed(), span: 1,
		// Tasks lie evenly over the shards, more or less.
		chunk: want*3/2/s.shards + 10,
	}
	switch {
	case f.Condition != "":
		w.pending = []Index{{Kind: IndexCondition, Namespace: namespace, Name: f.Condition}}
	case f.Queue != "":
		w.pending = w.indexesOf(f.Queue)
	default:
		w.more = true
		w.last = after.Index.Name
		w.pending = w.indexesOf(w.last)
	}
	if after == (Cursor{}) {
		w.at = Cursor{Index: w.pending[0]}
		return w, nil
	}
	n := slices.Index(w.pending, after.Index)
	if n < 0 {
		return nil, Invalid(violation("page_token", "is that of another list"))
	}
	w.pending = w.pending[n:]
	w.at = after
	return w, nil
}

// indexesOf are those of a queue that the filter's tasks are in.
func (w *walk) indexesOf(queue string) []Index {
	ix := Index{Namespace: w.namespace, Name: queue}
	if w.filter.Fingerprint != 0 {
		ix.Kind, ix.Fingerprint = IndexFingerprint, w.filter.Fingerprint
		return []Index{ix}
	}
	var out []Index
	for _, kind := range kindsOf(w.filter.State) {
		ix.Kind = kind
		out = append(out, ix)
	}
	return out
}

// kindsOf are the kinds of index that the tasks of a queue in that state are in;
// StateUnknown stands for all.
func kindsOf(state State) []IndexKind {
	switch state {
	case StateScheduled, StateLeased:
		return []IndexKind{IndexDue}
	case StateHeld:
		return []IndexKind{IndexHeld}
	case StateDead:
		return []IndexKind{IndexDead}
	default:
		return []IndexKind{IndexDue, IndexHeld, IndexDead}
	}
}

// read returns up to n of the places that follow, all of one index. There are
// none at the end, and none when the walk has been long enough for one call.
func (w *walk) read(ctx context.Context, n int) (Index, []Place, error) {
	for {
		if len(w.ahead) == 0 {
			if w.opened >= maxOpened {
				return Index{}, nil, nil
			}
			opened, err := w.open(ctx)
			if err != nil || !opened {
				return Index{}, nil, err
			}
		}
		st := w.ahead[0]
		if err := w.refill(ctx, st); err != nil {
			return Index{}, nil, err
		}
		places := st.take(n)
		w.at = Cursor{Index: st.index, Place: st.after}
		if len(places) > 0 {
			return st.index, places, nil
		}
		w.ahead = w.ahead[1:]
	}
}

// open opens the indexes that come next, and says whether there were any.
func (w *walk) open(ctx context.Context) (bool, error) {
	next, err := w.upcoming(ctx, w.span)
	if err != nil || len(next) == 0 {
		return false, err
	}
	w.opened += len(next)
	w.span = min(w.span*4, maxSpan)
	for _, ix := range next {
		st := &stretch{index: ix, shards: make([]stretchShard, w.s.shards)}
		if ix == w.at.Index {
			st.after = w.at.Place
		}
		for i := range st.shards {
			// So that they are all read, as those are that have run dry.
			st.shards[i].left = 1
		}
		w.ahead = append(w.ahead, st)
	}
	return true, w.refill(ctx, w.ahead...)
}

// upcoming takes up to n of the indexes that come next.
func (w *walk) upcoming(ctx context.Context, n int) ([]Index, error) {
	for len(w.pending) < n && w.more {
		names, more, err := w.s.queueNames(ctx, w.namespace, w.last, namesPage)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			w.pending = append(w.pending, w.indexesOf(name)...)
			w.last = name
		}
		w.more = more
	}
	n = min(n, len(w.pending))
	next := w.pending[:n]
	w.pending = w.pending[n:]
	return next, nil
}

// refill reads on in the shards that have run dry.
func (w *walk) refill(ctx context.Context, stretches ...*stretch) error {
	var parts []Part
	var dry []*stretchShard
	for _, st := range stretches {
		for shard := range st.shards {
			if sh := &st.shards[shard]; sh.dry() {
				parts = append(parts, Part{Index: st.index, Shard: shard, After: st.after, Limit: w.chunk})
				dry = append(dry, sh)
			}
		}
	}
	if len(parts) == 0 {
		return nil
	}
	for i, got := range w.s.store.Browse(ctx, parts) {
		if got.Err != nil {
			return fmt.Errorf("browse the tasks of namespace %s: %w", w.namespace, got.Err)
		}
		dry[i].places, dry[i].left = w.until(got.Places), got.Left
		if len(dry[i].places) < len(got.Places) || len(got.Places) == 0 {
			dry[i].left = 0
		}
	}
	return nil
}

// until cuts off what is certainly later than the walk goes: a place is of the time
// of an engine, which may be ahead of the store's. The task itself tells for certain;
// see [walk.tasks].
func (w *walk) until(places []Place) []Place {
	n := len(places)
	for w.untilMS != 0 && n > 0 && places[n-1].MS > w.untilMS+MaxAheadMS {
		n--
	}
	return places[:n]
}

// dry says whether the shard has to be read before anything can be passed.
func (sh *stretchShard) dry() bool { return len(sh.places) == 0 && sh.left > 0 }

// take passes up to n places, in order, as far as is known what comes next.
func (st *stretch) take(n int) []Place {
	var out []Place
	for len(out) < n {
		var first *stretchShard
		for i := range st.shards {
			sh := &st.shards[i]
			if sh.dry() {
				return out
			}
			if len(sh.places) > 0 && (first == nil || sh.places[0].compare(first.places[0]) < 0) {
				first = sh
			}
		}
		if first == nil {
			return out
		}
		st.after = first.places[0]
		first.places = first.places[1:]
		out = append(out, st.after)
	}
	return out
}

// compare orders the places of an index.
func (p Place) compare(o Place) int {
	return cmp.Or(cmp.Compare(p.MS, o.MS), cmp.Compare(p.Key.ID, o.Key.ID))
}

// next is where the walk goes on, zero when nothing follows.
func (w *walk) next() Cursor {
	if len(w.pending) == 0 && !w.more && w.known() == 0 {
		return Cursor{}
	}
	return w.at
}

// known is how many places follow in the indexes that are open.
func (w *walk) known() int64 {
	var n int64
	for _, st := range w.ahead {
		for _, sh := range st.shards {
			n += int64(len(sh.places)) + sh.left
		}
	}
	return n
}

// count returns how many places follow, in up to so many more indexes than are
// open; with an error, those that it knows of. It ends the walk.
func (w *walk) count(ctx context.Context, indexes int) (n int64, err error) {
	n = w.known()
	for indexes > 0 {
		next, err := w.upcoming(ctx, min(maxSpan, indexes))
		if err != nil || len(next) == 0 {
			return n, err
		}
		indexes -= len(next)
		var parts []Part
		for _, ix := range next {
			var after Place
			if ix == w.at.Index {
				after = w.at.Place
			}
			for shard := range w.s.shards {
				parts = append(parts, Part{Index: ix, Shard: shard, After: after})
			}
		}
		for _, got := range w.s.store.Browse(ctx, parts) {
			if got.Err != nil {
				return n, fmt.Errorf("count the tasks of namespace %s: %w", w.namespace, got.Err)
			}
			n += got.Left
		}
	}
	return n, nil
}

// tasks loads the tasks at places of an index: for each place the task, or nil
// where it does not match, is later than the walk goes, or has moved on, and is then
// found elsewhere if at all.
func (w *walk) tasks(ctx context.Context, ix Index, places []Place) ([]*Task, error) {
	keys := make([]TaskKey, len(places))
	for i, p := range places {
		keys[i] = p.Key
	}
	out := make([]*Task, len(places))
	for i, got := range w.s.store.Load(ctx, keys) {
		if got.Err != nil {
			return nil, fmt.Errorf("load task %s: %w", keys[i].ID, got.Err)
		}
		if t := got.Task; t.isAt(Entry{ix, places[i].MS}) && w.filter.matches(t) && (w.untilMS == 0 || !t.writtenAfter(w.untilMS)) {
			out[i] = t
		}
	}
	return out, nil
}

// writtenAfter says whether the task was written last in a later millisecond of the
// store's clock, whatever the time of the engine that decided on it.
func (t *Task) writtenAfter(ms int64) bool { return t.Version/1000 > ms }

// isAt says whether the task, nil where there is none, has that place in an index.
func (t *Task) isAt(e Entry) bool {
	return t != nil && slices.Contains(t.Entries(nil), e)
}

// queueNames returns a page of the names of a namespace's queues, in order, after
// the one given, and whether more follow.
func (s *Scheduler) queueNames(ctx context.Context, namespace, after string, limit int) (names []string, more bool, err error) {
	keys, _, err := s.queueKeys(ctx, QueueKey{namespace, after}, limit+1)
	if err != nil {
		return nil, false, fmt.Errorf("list the queues of namespace %s: %w", namespace, err)
	}
	for _, key := range keys {
		if key.Namespace == namespace {
			names = append(names, key.Name)
		}
	}
	n := min(len(names), limit)
	return names[:n], n < len(names), nil
}

// queueKeys returns a page of the keys of all queues, by namespace and name, after the
// one given, and whether more follow.
func (s *Scheduler) queueKeys(ctx context.Context, after QueueKey, limit int) (keys []QueueKey, more bool, err error) {
	pages := make([][]QueueKey, s.shards)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(callsAtOnce)
	for shard := range pages {
		g.Go(func() (err error) {
			pages[shard], err = s.store.Queues(ctx, shard, after, limit+1)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, false, err
	}
	for _, page := range pages {
		keys = append(keys, page...)
	}
	slices.SortFunc(keys, func(a, b QueueKey) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	keys = slices.Compact(keys)
	n := min(len(keys), limit)
	return keys[:n], n < len(keys), nil
}
