package scheduler

import (
	"context"
	"sync"
	"time"
)

// Observe shows attempts of queues as they fall due, without a lease, until ctx
// ends or show fails: at most once each delivery, and as well as can be done
// from the side. show is called from one goroutine.
func (s *Scheduler) Observe(ctx context.Context, namespace string, queues []string, show func(Delivery) error) error {
	o := &onlooker{wake: make(chan struct{}, 1), shards: s.shards, looks: make(map[QueueKey][]observedShard)}
	for _, name := range queues {
		o.queues = append(o.queues, QueueKey{namespace, name})
	}
	s.dispatcher.joinObserver(o)
	defer s.dispatcher.leaveObserver(o)
	timer := time.NewTimer(fallbackInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-o.wake:
		}
		wakeMS, err := s.observeOnce(ctx, o, show)
		if err != nil {
			return err
		}
		pause := fallbackInterval
		if wakeMS != never {
			pause = s.clock.until(wakeMS)
		}
		if pause > 0 {
			timer.Reset(pause)
		} else {
			signal(o.wake)
		}
	}
}

// onlooker is somebody who looks on.
type onlooker struct {
	queues []QueueKey
	shards int
	wake   chan struct{}
	// isNew says that it has been told nothing of what there is in its queues. The
	// dispatcher's mutex guards it.
	isNew bool

	mu sync.Mutex
	// looks has queues in which something has been known to come, by shard.
	looks map[QueueKey][]observedShard
	// taken are tasks that this replica has claimed, and that a look at what is
	// due would miss.
	taken []*Task

	// shown is what has been shown, so that a second look or a claim does not
	// show it again.
	shown map[TaskKey]shownDelivery
}

type observedShard struct {
	// lookMS is when it must be looked at, 0 when nothing is known to come, and after the
	// place behind which the look begins.
	lookMS int64
	after  Place
}

type shownDelivery struct {
	attempt, delivery int
	atMS              int64
}

const (
	// maxTaken and maxShown bound what an observer keeps: past them it misses
	// some, or sees some twice.
	maxTaken = 10_000
	maxShown = 100_000
	// observeOverlapMS is how far a look goes back behind the one before: what
	// was due at once may have been written a moment after it.
	observeOverlapMS = 2_000
)

func (d *dispatcher) joinObserver(o *onlooker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range o.queues {
		q := d.queueOf(key)
		q.observers = append(q.observers, o)
	}
	o.isNew = true
	d.newcomers = append(d.newcomers, o)
	signal(d.wake)
}

func (d *dispatcher) leaveObserver(o *onlooker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.newcomers = remove(d.newcomers, o)
	for _, key := range o.queues {
		if q := d.queues[key]; q != nil {
			q.observers = remove(q.observers, o)
			d.dropIfIdle(q)
		}
	}
}

// note takes note that something falls due.
func (o *onlooker) note(h Hint) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.looks[h.Queue] == nil {
		o.looks[h.Queue] = make([]observedShard, o.shards)
	}
	look := &o.looks[h.Queue][h.Shard]
	if look.lookMS == 0 || h.DueMS < look.lookMS {
		look.lookMS = h.DueMS
		signal(o.wake)
	}
}

// claimed takes note of a task that this replica has claimed.
func (o *onlooker) claimed(t *Task) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.taken) < maxTaken {
		o.taken = append(o.taken, t)
		signal(o.wake)
	}
}

// observeOnce shows what is due and returns when to look again.
func (s *Scheduler) observeOnce(ctx context.Context, o *onlooker, show func(Delivery) error) (wakeMS int64, err error) {
	o.mu.Lock()
	taken := o.taken
	o.taken = nil
	o.mu.Unlock()
	nowMS := s.clock.nowMS()
	for _, t := range taken {
		if err := o.show(t, t.Delivery, nowMS, show); err != nil {
			return 0, err
		}
	}
	wakeMS = never
	for _, key := range o.queues {
		o.mu.Lock()
		looks := o.looks[key]
		o.mu.Unlock()
		for shard := range looks {
			nextMS, err := s.observeShard(ctx, o, key, shard, show)
			if err != nil {
				return 0, err
			}
			if nextMS != 0 {
				wakeMS = min(wakeMS, nextMS)
			}
		}
	}
	o.forget(nowMS)
	return wakeMS, nil
}

// observeShard shows what is due in one queue and shard, and returns when to
// look at it again, 0 when nothing is known to come.
func (s *Scheduler) observeShard(ctx context.Context, o *onlooker, key QueueKey, shard int, show func(Delivery) error) (int64, error) {
	nowMS := s.clock.nowMS()
	o.mu.Lock()
	look := &o.looks[key][shard]
	lookMS, after := look.lookMS, look.after
	if lookMS == 0 || lookMS > nowMS {
		o.mu.Unlock()
		return lookMS, nil
	}
	look.lookMS = 0
	o.mu.Unlock()
	var nextMS int64
	for {
		page, err := s.looker.due(ctx, lookAt{key, shard, after})
		if err != nil {
			s.log.WarnContext(ctx, "an observer cannot see what is due", "queue", key.Name, "error", err)
			nextMS = nowMS + fallbackInterval.Milliseconds()
			break
		}
		for _, t := range page.Tasks {
			if err := o.show(t, t.Delivery+1, nowMS, show); err != nil {
				return 0, err
			}
			lookMS, _ := t.LookMS()
			after = Place{lookMS, t.Key}
		}
		if len(page.Tasks) < lookPage {
			nextMS = page.NextMS
			break
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	// Observers who look on at the same begin at the same, and share the look.
	fromMS := min(after.MS, nowMS-observeOverlapMS)
	look.after = Place{MS: fromMS - fromMS%1000}
	look.lookMS = earlier(look.lookMS, nextMS)
	return look.lookMS, nil
}

func (o *onlooker) show(t *Task, delivery int, nowMS int64, show func(Delivery) error) error {
	if seen, ok := o.shown[t.Key]; ok && seen.attempt == t.Attempt && seen.delivery == delivery {
		return nil
	}
	if o.shown == nil {
		o.shown = make(map[TaskKey]shownDelivery)
	}
	o.shown[t.Key] = shownDelivery{t.Attempt, delivery, nowMS}
	seen := *t
	seen.Delivery = delivery
	return show(Delivery{Task: &seen})
}

// forget drops the oldest of what was shown when there is too much of it.
func (o *onlooker) forget(nowMS int64) {
	if len(o.shown) < maxShown {
		return
	}
	for key, seen := range o.shown {
		if seen.atMS < nowMS-10*observeOverlapMS {
			delete(o.shown, key)
		}
	}
}
