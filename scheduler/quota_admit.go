package scheduler

import (
	"context"
	"errors"
	"math"
)

// SetQuotas replaces the quotas of namespaces, while the scheduler runs too. What is used
// up by then stays used: streams go on, and tasks are kept.
func (s *Scheduler) SetQuotas(q Quotas) error {
	if err := q.Validate(); err != nil {
		return err
	}
	s.quotas.set(q)
	return nil
}

// AdmitReports says how many of n reports of a namespace may be taken, and of those beyond
// that why they may not. It is asked before reports are given to ReportBatch, but not for
// outcomes on streams: what is out must be able to come back.
func (s *Scheduler) AdmitReports(namespace string, n int) (int, error) {
	u := s.quotas.of(namespace)
	if u == nil {
		return n, nil
	}
	admitted := u.admitReports(n)
	if admitted == n {
		return n, nil
	}
	return admitted, s.quotas.refuseReports(namespace, u, n-admitted)
}

func (k *quotaKeeper) refuseReports(namespace string, u *namespaceUse, n int) error {
	k.refused[QuotaReports].Add(int64(n))
	k.mu.Lock()
	limit, use := u.quota[QuotaReports], int64(math.Ceil(u.rateOfAll))
	k.mu.Unlock()
	// Those that are just being counted are more than the limit, or they would be taken.
	return quotaExceeded(namespace, QuotaReports, limit, max(use, limit), u.reportDelay())
}

// EnterStream makes room for a stream of a namespace, which leave gives back. The other
// replicas are asked: of two that open the last one at a time, at most one is let in.
func (s *Scheduler) EnterStream(ctx context.Context, namespace string) (leave func(), err error) {
	k := s.quotas
	k.mu.Lock()
	u := k.makeUse(namespace, k.quotas.Load())
	u.streams++
	limited := u.quota[QuotaStreams] != 0
	k.mu.Unlock()
	leave = func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		u.streams--
	}
	if !limited {
		return leave, nil
	}
	if err := k.exchange(ctx); err != nil {
		s.log.DebugContext(ctx, "a stream is let in by what is known of the other replicas' streams", "error", err)
	}
	k.mu.Lock()
	limit, open := u.quota[QuotaStreams], u.streams
	for _, note := range k.others {
		open += note[u.name].Streams
	}
	k.mu.Unlock()
	if limit != 0 && open > limit {
		leave()
		k.refused[QuotaStreams].Add(1)
		return nil, quotaExceeded(namespace, QuotaStreams, limit, open-1, streamDelay)
	}
	return leave, nil
}

// reservation is room for a task that is about to be written.
type reservation struct {
	use   *namespaceUse
	bytes int64
}

// reserve makes room for a new task, for as long as it is not known whether it will be
// written.
func (k *quotaKeeper) reserve(ctx context.Context, t *Task, to *reservation) error {
	u := k.of(t.Key.Namespace)
	if u == nil || to.use != nil || !u.pending.limited() && !u.bytes.limited() || !t.State.Live() {
		return nil
	}
	k.countFirst(ctx, u)
	bytes := t.Spec.Bytes()
	refuse := func(kind QuotaKind, g *gauge) error {
		return quotaExceeded(t.Key.Namespace, kind, g.limit.Load(), g.used(), pendingDelay)
	}
	if !u.pending.reserve(1) {
		return refuse(QuotaPendingTasks, &u.pending)
	}
	if !u.bytes.reserve(bytes) {
		u.pending.reserved.Add(-1)
		return refuse(QuotaPendingBytes, &u.bytes)
	}
	*to = reservation{u, bytes}
	return nil
}

// countFirst counts what a namespace has of which nothing is known yet. What cannot be
// counted is not refused.
func (k *quotaKeeper) countFirst(ctx context.Context, u *namespaceUse) {
	if u.leases.known.Load() {
		return
	}
	k.first.Lock()
	defer k.first.Unlock()
	if u.leases.known.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, quotaTimeout)
	defer cancel()
	if err := k.countAll(ctx, []*namespaceUse{u}); err != nil {
		k.s.log.DebugContext(ctx, "what a namespace uses cannot be counted: it is refused nothing", "namespace", u.name, "error", err)
	}
}

// count counts a report that was refused for lack of quota.
func (k *quotaKeeper) count(err error) {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == KindQuota {
		k.refused[e.Quota].Add(1)
	}
}

// free ends the reservation: what was written is counted by itself.
func (r *reservation) free() {
	if r.use != nil {
		r.use.pending.reserved.Add(-1)
		r.use.bytes.reserved.Add(-r.bytes)
		*r = reservation{}
	}
}

// moved counts a change that this replica has written.
func (k *quotaKeeper) moved(before, after *Task) {
	if k.quotas.Load() == nil {
		return
	}
	u := k.of(after.keyOr(before).Namespace)
	if u == nil || !u.counts() {
		return
	}
	if n := one(after.pending()) - one(before.pending()); n != 0 {
		u.pending.added.Add(n)
	}
	if n := bytesMoved(before, after).Sum(); n != 0 {
		u.bytes.added.Add(n)
	}
	if n := one(after.in(StateLeased)) - one(before.in(StateLeased)); n != 0 {
		u.leases.added.Add(n)
	}
}

// pending says whether the task still waits for something.
func (t *Task) pending() bool {
	return t.in(StateScheduled) || t.in(StateLeased) || t.in(StateHeld)
}

// refuseLease refuses an attempt that may not be handed out; it is nil where there is
// room.
func (k *quotaKeeper) refuseLease(ctx context.Context, namespace string) error {
	u := k.of(namespace)
	if u == nil || !u.leases.limited() {
		return nil
	}
	k.countFirst(ctx, u)
	if u.leases.left() > 0 || !u.leases.known.Load() {
		return nil
	}
	k.refused[QuotaLeases].Add(1)
	return quotaExceeded(namespace, QuotaLeases, u.leases.limit.Load(), u.leases.used(), leaseDelay)
}

// leased counts attempts that were handed out.
func (k *quotaKeeper) leased(namespace string, n int) {
	if u := k.of(namespace); u != nil {
		u.leases.added.Add(int64(n))
	}
}

// QuotaRefusals counts what this replica has refused for lack of quota, by kind. What the
// dispatcher keeps back is not among it.
func (s *Scheduler) QuotaRefusals() [NumQuotas]int64 {
	var out [NumQuotas]int64
	for kind := range out {
		out[kind] = s.quotas.refused[kind].Load()
	}
	return out
}

// QuotaUse is what a namespace uses of its quota, as far as is known here.
type QuotaUse struct {
	Namespace string
	// Limit is 0 where there is none; of what has none, Used may not be known.
	Limit, Used Quota
}

// QuotaUses returns what namespaces with quotas of their own use, over all replicas, in
// no order.
func (s *Scheduler) QuotaUses() []QuotaUse {
	k := s.quotas
	if k.quotas.Load() == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []QuotaUse
	for _, u := range k.all() {
		if u.own {
			out = append(out, k.used(u))
		}
	}
	return out
}

// QuotaUse returns what a namespace uses, over all replicas. The zero value is of one
// without a quota, or of which it is not known because too many have the default one.
func (s *Scheduler) QuotaUse(ctx context.Context, namespace string) QuotaUse {
	k := s.quotas
	u := k.of(namespace)
	if u == nil || u.name != namespace {
		return QuotaUse{}
	}
	if u.counts() {
		k.countFirst(ctx, u)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.used(u)
}

// used is what a namespace uses. Callers hold mu.
func (k *quotaKeeper) used(u *namespaceUse) QuotaUse {
	streams := u.streams
	for _, note := range k.others {
		streams += note[u.name].Streams
	}
	return QuotaUse{Namespace: u.name, Limit: u.quota, Used: Quota{
		QuotaReports: int64(math.Ceil(u.rateOfAll)), QuotaPendingTasks: u.pending.used(), QuotaPendingBytes: u.bytes.used(),
		QuotaStreams: streams, QuotaLeases: u.leases.used(),
	}}
}
