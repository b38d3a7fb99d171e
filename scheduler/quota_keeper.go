package scheduler

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// quotaInterval is how often replicas tell each other what they use, and how often
	// what is kept is counted.
	quotaInterval = time.Second
	// noteKept is for how long a replica that is heard of no more has its share.
	noteKept = 5 * time.Second
	// quotaTimeout bounds what a look, or a caller who waits for one, asks of the store.
	quotaTimeout = time.Second
	// countingShare bounds the part of the time in which namespaces are counted: many
	// queues are counted less often.
	countingShare = 20
	// idleLooks is after how many looks a namespace is forgotten that nobody uses, and
	// every how many one with a quota of its own is counted that nobody uses.
	idleLooks = 60
	idleCount = 10
	// maxDefaulted bounds how many namespaces have a default quota each at a time; what
	// comes above has one together.
	maxDefaulted = 10_000
)

// quotaKeeper holds namespaces to their quotas.
type quotaKeeper struct {
	s *Scheduler
	// quotas is nil where nothing is limited.
	quotas  atomic.Pointer[Quotas]
	refused [NumQuotas]atomic.Int64
	// uses holds a *namespaceUse by namespace; mu guards what is put into it.
	uses sync.Map

	mu sync.Mutex
	// known is how many uses there are.
	known int
	// rest is that of the namespaces that there was no room for.
	rest *namespaceUse
	// unknown are those of which nothing has been counted yet, wake asks for it.
	unknown []*namespaceUse
	wake    chan struct{}
	// others are the notes of the other replicas, looked when the last look was.
	others map[string]replicaNote
	looked time.Time
	// next is the exchange of notes that has not begun yet, nil where nobody waits for one.
	next *exchange

	// sharing is held while notes are exchanged, counting while namespaces are counted,
	// first while one is of which nothing is known.
	sharing, counting, first sync.Mutex
	// Of the loop: whether it has shared a note, when it counts again, how many looks it
	// has had, and whether the last one failed.
	shared    bool
	countNext time.Time
	looks     int
	failing   bool
}

// exchange is one exchange of notes, for all who wait for it.
type exchange struct {
	done chan struct{}
	err  error
}

func newQuotaKeeper(s *Scheduler) *quotaKeeper {
	return &quotaKeeper{s: s, rest: newNamespaceUse(""), wake: make(chan struct{}, 1)}
}

// set replaces the quotas.
func (k *quotaKeeper) set(q Quotas) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if q.none() {
		k.quotas.Store(nil)
	} else {
		k.quotas.Store(&q)
	}
	k.uses.Range(func(_, v any) bool {
		k.limit(v.(*namespaceUse), &q)
		return true
	})
	k.limit(k.rest, &q)
	for name := range q.Namespaces {
		k.makeUse(name, &q)
	}
}

// limit gives a namespace its quota. Callers hold mu.
func (k *quotaKeeper) limit(u *namespaceUse, q *Quotas) {
	u.quota, u.own = q.of(u.name)
	if u == k.rest {
		// What many namespaces have together is not counted.
		u.quota, u.own = Quota{QuotaReports: q.Default[QuotaReports], QuotaStreams: q.Default[QuotaStreams]}, false
	}
	for kind, g := range map[QuotaKind]*gauge{QuotaPendingTasks: &u.pending, QuotaPendingBytes: &u.bytes, QuotaLeases: &u.leases} {
		g.limit.Store(u.quota[kind])
		g.room.Store(max(0, u.quota[kind]-g.counted.Load()))
	}
	k.deal(u)
}

// deal gives a namespace this replica's share of the reports. Callers hold mu.
func (k *quotaKeeper) deal(u *namespaceUse) {
	others := make([]float64, 0, len(k.others))
	u.rateOfAll = u.rate
	for _, note := range k.others {
		others = append(others, note[u.name].Reports)
		u.rateOfAll += note[u.name].Reports
	}
	u.setRate(rateShare(float64(u.quota[QuotaReports]), u.rate, others))
}

// of returns what is known of the use of a namespace, nil where it has no quota.
func (k *quotaKeeper) of(namespace string) *namespaceUse {
	q := k.quotas.Load()
	if q == nil {
		return nil
	}
	if u, ok := k.uses.Load(namespace); ok {
		return u.(*namespaceUse)
	}
	if quota, _ := q.of(namespace); quota == (Quota{}) {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.makeUse(namespace, k.quotas.Load())
}

// makeUse returns what is known of the use of a namespace, made where there is nothing.
// Callers hold mu.
func (k *quotaKeeper) makeUse(namespace string, q *Quotas) *namespaceUse {
	if u, ok := k.uses.Load(namespace); ok {
		return u.(*namespaceUse)
	}
	if q == nil {
		q = &Quotas{}
	}
	u := newNamespaceUse(namespace)
	if _, own := q.of(namespace); !own && k.known >= maxDefaulted {
		return k.rest
	}
	k.known++
	k.limit(u, q)
	k.uses.Store(namespace, u)
	if u.counts() {
		k.unknown = append(k.unknown, u)
		signal(k.wake)
	}
	return u
}

// run looks after the quotas until ctx ends.
func (k *quotaKeeper) run(ctx context.Context) error {
	defer k.leave(ctx)
	for {
		err := k.runOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !k.failing:
			k.s.log.WarnContext(ctx, "what namespaces use cannot be told or counted; their quotas are kept by what was known last", "error", err)
		case err == nil && k.failing:
			k.s.log.InfoContext(ctx, "what namespaces use can be told and counted again")
		}
		k.failing = err != nil
		k.countUntil(ctx, time.After(quotaInterval))
	}
}

// countUntil counts what namespaces use of which that is not known yet, as it is asked for,
// until the next turn.
func (k *quotaKeeper) countUntil(ctx context.Context, turn <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn:
			return
		case <-k.wake:
			if err := k.countUnknown(ctx); err != nil && ctx.Err() == nil {
				k.s.log.DebugContext(ctx, "what a namespace uses cannot be counted yet", "error", err)
			}
		}
	}
}

// leave gives this replica's shares to the others.
func (k *quotaKeeper) leave(ctx context.Context) {
	if !k.shared {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quotaTimeout)
	defer cancel()
	if _, err := k.s.store.ShareNote(ctx, k.s.replica, nil, 0); err != nil {
		k.s.log.DebugContext(ctx, "this replica's shares of quotas are free only when they have ended", "error", err)
	}
	k.shared = false
}

// runOnce has one look: it tells the other replicas what this one uses, deals the shares
// anew, and counts what is kept.
func (k *quotaKeeper) runOnce(ctx context.Context) error {
	active := k.look()
	if k.quotas.Load() == nil {
		k.leave(ctx)
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, quotaTimeout)
	defer cancel()
	if err := k.exchange(limited); err != nil {
		return err
	}
	k.shared = true
	k.mu.Lock()
	for _, u := range k.all() {
		k.deal(u)
	}
	k.mu.Unlock()
	if time.Now().Before(k.countNext) {
		return nil
	}
	began := time.Now()
	err := k.countAll(limited, active)
	k.countNext = began.Add(countingShare * time.Since(began))
	// There may be room for attempts that were kept back.
	signal(k.s.dispatcher.wake)
	return err
}

// countUnknown counts namespaces that have come to be used since the last look, and that
// nothing is handed out in until they are counted.
func (k *quotaKeeper) countUnknown(ctx context.Context) error {
	k.mu.Lock()
	unknown := slices.DeleteFunc(k.unknown, func(u *namespaceUse) bool { return u.leases.known.Load() })
	k.unknown = nil
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, quotaTimeout)
	defer cancel()
	if err := k.countAll(ctx, unknown); err != nil {
		return err
	}
	signal(k.s.dispatcher.wake)
	return nil
}

// look finds out what has come since the last look, and forgets the namespaces that
// nobody uses. It returns those whose use is to be counted.
func (k *quotaKeeper) look() []*namespaceUse {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	seconds := now.Sub(k.looked).Seconds()
	if k.looked.IsZero() || seconds <= 0 {
		seconds = quotaInterval.Seconds()
	}
	k.looked = now
	k.looks++
	var active []*namespaceUse
	for _, u := range k.all() {
		offered := float64(u.offered.Swap(0))
		// What comes in batches comes not every second.
		u.rate = max(offered/seconds, u.rate/2)
		if u.rate < 0.01 {
			u.rate = 0
		}
		u.idle++
		if offered > 0 || u.streams > 0 || u.leases.added.Load() != 0 {
			u.idle = 0
		}
		if u.idle > idleLooks && !u.own && u != k.rest {
			k.uses.Delete(u.name)
			k.known--
			continue
		}
		if u.counts() && (u.idle < idleLooks || k.looks%idleCount == 0) {
			active = append(active, u)
		}
	}
	return active
}

// counts says whether there is a limit of what is counted in the store.
func (u *namespaceUse) counts() bool {
	return u.pending.limited() || u.bytes.limited() || u.leases.limited()
}

// all are all namespaces that something is known of. Callers hold mu.
func (k *quotaKeeper) all() []*namespaceUse {
	out := make([]*namespaceUse, 0, k.known+1)
	k.uses.Range(func(_, v any) bool {
		out = append(out, v.(*namespaceUse))
		return true
	})
	return append(out, k.rest)
}

// exchange tells the other replicas what this one uses, and learns what they do: what
// has been told after it was called. Callers who come at a time share one.
func (k *quotaKeeper) exchange(ctx context.Context) error {
	k.mu.Lock()
	e := k.next
	first := e == nil
	if first {
		e = &exchange{done: make(chan struct{})}
		k.next = e
	}
	k.mu.Unlock()
	if !first {
		select {
		case <-e.done:
			return e.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	k.sharing.Lock()
	defer k.sharing.Unlock()
	defer close(e.done)
	// Others wait for it too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quotaTimeout)
	defer cancel()
	e.err = k.share(ctx)
	return e.err
}

func (k *quotaKeeper) share(ctx context.Context) error {
	k.mu.Lock()
	k.next = nil
	note := make(replicaNote)
	for _, u := range k.all() {
		if use := (noteUse{Reports: math.Round(u.rate*100) / 100, Streams: u.streams}); use != (noteUse{}) {
			note[u.name] = use
		}
	}
	k.mu.Unlock()
	text, err := note.encode()
	if err != nil {
		return err
	}
	notes, err := k.s.store.ShareNote(ctx, k.s.replica, text, noteKept)
	if err != nil {
		return err
	}
	others := make(map[string]replicaNote)
	for replica, text := range notes {
		if replica == k.s.replica {
			continue
		}
		if others[replica], err = decodeNote(text); err != nil {
			k.s.log.DebugContext(ctx, "the note of another replica cannot be read: it counts as using nothing", "replica", replica, "error", err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.others = others
	return nil
}

// countAll counts what the store has of namespaces.
func (k *quotaKeeper) countAll(ctx context.Context, uses []*namespaceUse) error {
	uses = slices.DeleteFunc(uses, func(u *namespaceUse) bool { return u == k.rest })
	if len(uses) == 0 {
		return nil
	}
	type before struct{ pending, bytes, leases int64 }
	names, added := make([]string, len(uses)), make([]before, len(uses))
	for i, u := range uses {
		names[i], added[i] = u.name, before{u.pending.added.Load(), u.bytes.added.Load(), u.leases.added.Load()}
	}
	k.counting.Lock()
	defer k.counting.Unlock()
	counts, err := k.s.store.CountNamespaces(ctx, names)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, u := range uses {
		reports := make([]float64, 0, len(k.others))
		for _, note := range k.others {
			reports = append(reports, note[u.name].Reports)
		}
		u.pending.count(counts[i].Pending, added[i].pending, u.rate, reports)
		u.bytes.count(max(0, counts[i].Bytes.Sum()), added[i].bytes, u.rate, reports)
		// What was handed out too much stays out for long, so nobody has more than an even
		// part of what is left.
		u.leases.count(counts[i].Leased, added[i].leases, 0, make([]float64, len(k.others)))
	}
	return nil
}
