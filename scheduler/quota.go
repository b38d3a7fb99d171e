package scheduler

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// QuotaKind is something that a namespace has a quota of.
type QuotaKind uint8

// The kinds of quota.
const (
	// QuotaReports is how many reports may be taken a second, one by one and in batches;
	// outcomes on streams are not among them. A second's worth may come at once.
	QuotaReports QuotaKind = iota
	// QuotaPendingTasks is how many tasks may be SCHEDULED, LEASED or HELD before no new
	// one is taken.
	QuotaPendingTasks
	// QuotaPendingBytes is how much payload and attributes live tasks may carry, dead
	// letters too, before no new one is taken.
	QuotaPendingBytes
	// QuotaStreams is how many streams may be open.
	QuotaStreams
	// QuotaLeases is how many attempts may be out before no more are handed out.
	QuotaLeases
	// NumQuotas is how many kinds there are.
	NumQuotas
)

var quotaNames = [...]string{"reports_per_second", "pending_tasks", "pending_bytes", "streams", "leases_out"}

// String returns the quota's name in files, errors and metrics.
func (k QuotaKind) String() string {
	if k < NumQuotas {
		return quotaNames[k]
	}
	return "unknown"
}

// Quota is what one namespace may use, of all replicas together, by kind; 0 is without
// limit.
type Quota [NumQuotas]int64

// MaxQuota is the largest limit there is.
const MaxQuota = int64(1e15)

// Quotas are those of all namespaces. The zero value sets none.
type Quotas struct {
	// Default is that of each namespace that is not among Namespaces.
	Default    Quota
	Namespaces map[string]Quota
}

// Validate returns everything that is wrong.
func (q Quotas) Validate() error {
	var errs []error
	check := func(of string, quota Quota) {
		for kind, limit := range quota {
			if limit < 0 || limit > MaxQuota {
				errs = append(errs, fmt.Errorf("%s: %s is %d: it must be 0 to %d", of, QuotaKind(kind), limit, MaxQuota))
			}
		}
	}
	check("default", q.Default)
	for _, name := range slices.Sorted(maps.Keys(q.Namespaces)) {
		check("namespace "+strconv.Quote(name), q.Namespaces[name])
	}
	return errors.Join(errs...)
}

// none says that nothing is limited.
func (q *Quotas) none() bool {
	for _, quota := range q.Namespaces {
		if quota != (Quota{}) {
			return false
		}
	}
	return q.Default == (Quota{})
}

// of is the quota of a namespace, and whether it is its own.
func (q *Quotas) of(namespace string) (quota Quota, own bool) {
	if quota, own = q.Namespaces[namespace]; own {
		return quota, true
	}
	return q.Default, false
}

// quotaExceeded refuses what a namespace has no quota left for.
func quotaExceeded(namespace string, kind QuotaKind, limit, use int64, delay time.Duration) *Error {
	return &Error{
		Kind:    KindQuota,
		Message: fmt.Sprintf("namespace %q has used up its quota of %s: the limit is %d, the use %d", namespace, kind, limit, use),
		Metadata: map[string]string{
			"namespace": namespace, "quota": kind.String(), "limit": strconv.FormatInt(limit, 10), "use": strconv.FormatInt(use, 10),
		},
		RetryDelay: delay,
		Quota:      kind,
	}
}

// How long to wait for what is used up. Reports are told when the next is taken, and no
// sooner than shares are dealt anew.
const (
	leastReportDelay = time.Second
	mostReportDelay  = 30 * time.Second
	pendingDelay     = 5 * time.Second
	streamDelay      = 5 * time.Second
	leaseDelay       = time.Second
)
