package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/retryd/retryd/scheduler"
)

// queueLister is what the gauges of queues are gathered from.
type queueLister interface {
	AllQueues(ctx context.Context, after scheduler.QueueKey, limit int) (page []scheduler.QueueView, last scheduler.QueueKey, more bool, err error)
}

const (
	// gatherInterval is how often queues are counted while somebody scrapes.
	gatherInterval = 15 * time.Second
	// gatherShare bounds the time that goes into it: after a pass there is a pause of
	// so many times what it took.
	gatherShare = 50
	// gatherTimeout bounds a pass.
	gatherTimeout = 10 * time.Second
	// othersAtOnce is how many of the queues that are not told apart are counted in a
	// pass.
	othersAtOnce = 200
	// staleAfter is how old counts may be that a scrape is answered with. Older ones are
	// counted anew, for which a scrape waits no longer than gatherPatience.
	staleAfter     = time.Minute
	gatherPatience = 2 * time.Second
)

// Queues are the gauges of queues. They are counted in the background and only while
// somebody scrapes: a pass counts those that are told apart and a part of the others, of
// which there may be any number.
type Queues struct {
	from  queueLister
	log   *slog.Logger
	limit int

	tasks, oldest, paused, health, state *prometheus.Desc

	// asked wakes Run.
	asked chan struct{}

	mu sync.Mutex
	// views are the queues that are told apart, as counted at countedAt.
	views     []scheduler.QueueView
	countedAt time.Time
	// others is the sum of the rest, nil while there is none, or it is not known.
	others *others
	// fresh is closed when the next pass is through.
	fresh chan struct{}

	// sum is the one under way, up to the queue at place.
	sum   others
	place scheduler.QueueKey
	// failing is whether the last pass failed.
	failing bool
}

// others is what is told of all queues that are not told apart.
type others struct {
	scheduled, due, leased, held, dead int64
	oldestMS                           int64
	paused                             bool
}

// WatchQueues adds the gauges of queues. They stay empty unless Queues.Run runs.
func (m *Metrics) WatchQueues(from queueLister) *Queues {
	q := newQueues(from, m.cfg.Queues, m.cfg.Log)
	m.registry.MustRegister(q)
	return q
}

func newQueues(from queueLister, limit int, log *slog.Logger) *Queues {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help, append([]string{"namespace", "queue"}, more...), nil)
	}
	return &Queues{
		from: from, log: log, limit: limit,
		tasks:  desc("queue_tasks", "Tasks of a queue by state; those that are due are counted among the scheduled or the leased as well.", "state"),
		oldest: desc("queue_oldest_overdue_seconds", "For how long the queue's oldest due attempt has waited for a worker; 0 where none does."),
		paused: desc("queue_paused", "1 while nothing of the queue is handed out, else 0."),
		health: desc("queue_health", "The metrics of a queue's health, of the last 24 hours; absent while there is nothing to tell.", "metric"),
		state:  desc("queue_health_state", "How well a metric of a queue's health is: 0 is well, 1 warns, 2 alerts.", "metric"),
		asked:  make(chan struct{}, 1),
		fresh:  make(chan struct{}),
	}
}

// Run counts queues until ctx ends.
func (q *Queues) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.asked:
		}
		began := time.Now()
		q.gather(ctx)
		pause := time.NewTimer(max(gatherInterval, gatherShare*time.Since(began)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
	}
}

// gather counts once.
func (q *Queues) gather(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, gatherTimeout)
	defer cancel()
	err := q.gatherOnce(limited)
	if failing := err != nil && ctx.Err() == nil; failing != q.failing {
		q.failing = failing
		if failing {
			q.log.WarnContext(ctx, "the queues cannot be counted: their metrics are left out", "error", err)
		} else {
			q.log.InfoContext(ctx, "the queues can be counted again")
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		// What is not known is not told: an old figure would look like a new one.
		q.views, q.others, q.sum, q.place = nil, nil, others{}, scheduler.QueueKey{}
	}
	q.countedAt = time.Now()
	close(q.fresh)
	q.fresh = make(chan struct{})
}

func (q *Queues) gatherOnce(ctx context.Context) error {
	var views []scheduler.QueueView
	var last scheduler.QueueKey
	more := true
	if q.limit > 0 {
		var err error
		if views, last, more, err = q.from.AllQueues(ctx, scheduler.QueueKey{}, q.limit); err != nil {
			return err
		}
	}
	rest := q.others
	switch {
	case !more:
		rest, q.sum, q.place = nil, others{}, scheduler.QueueKey{}
	default:
		if q.place == (scheduler.QueueKey{}) {
			q.sum, q.place = others{}, last
		}
		page, place, more, err := q.from.AllQueues(ctx, q.place, othersAtOnce)
		if err != nil {
			return err
		}
		for i := range page {
			q.sum.add(&page[i])
		}
		q.place = place
		if !more {
			sum := q.sum
			rest, q.place = &sum, scheduler.QueueKey{}
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.views, q.others = views, rest
	return nil
}

func (o *others) add(v *scheduler.QueueView) {
	o.scheduled += v.Scheduled
	o.due += v.Due
	o.leased += v.Leased
	o.held += v.Held
	o.dead += v.Dead
	// What waits in a paused queue is meant to, and must not hide what waits in another, nor
	// be taken for it.
	if !v.Paused {
		o.oldestMS = max(o.oldestMS, v.OldestDueAgeMS)
	}
}

// Describe implements [prometheus.Collector].
func (q *Queues) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{q.tasks, q.oldest, q.paused, q.health, q.state} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (q *Queues) Collect(ch chan<- prometheus.Metric) {
	q.ask()
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.views {
		v := &q.views[i]
		q.tell(ch, v.Key.Namespace, v.Key.Name, &others{v.Scheduled, v.Due, v.Leased, v.Held, v.Dead, v.OldestDueAgeMS, v.Paused})
		for _, h := range v.Health {
			if h.State == scheduler.HealthNoData || h.State == scheduler.HealthUnspecified {
				continue
			}
			metric(ch, q.health, h.Value, v.Key.Namespace, v.Key.Name, h.Name)
			metric(ch, q.state, float64(h.State-scheduler.HealthOK), v.Key.Namespace, v.Key.Name, h.Name)
		}
	}
	if q.others != nil {
		q.tell(ch, "", "other", q.others)
	}
}

// ask has queues counted, and waits a while for it where what is known is old.
func (q *Queues) ask() {
	select {
	case q.asked <- struct{}{}:
	default:
	}
	q.mu.Lock()
	fresh, old := q.fresh, time.Since(q.countedAt) > staleAfter
	q.mu.Unlock()
	if !old {
		return
	}
	patience := time.NewTimer(gatherPatience)
	defer patience.Stop()
	select {
	case <-fresh:
	case <-patience.C:
	}
}

func (q *Queues) tell(ch chan<- prometheus.Metric, ns, queue string, o *others) {
	for _, s := range []struct {
		state string
		n     int64
	}{{"scheduled", o.scheduled}, {"due", o.due}, {"leased", o.leased}, {"held", o.held}, {"dead", o.dead}} {
		metric(ch, q.tasks, float64(s.n), ns, queue, s.state)
	}
	metric(ch, q.oldest, float64(o.oldestMS)/1000, ns, queue)
	metric(ch, q.paused, one(o.paused), ns, queue)
}

func metric(ch chan<- prometheus.Metric, desc *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
}
