package simulation

import (
	"context"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// operate does what an operator may do, rightly or not.
func (w *world) operate() {
	r := w.anyReplica()
	if r == nil || w.healed {
		return
	}
	b := w.books[w.rng.IntN(len(w.books))]
	queue := scheduler.QueueKey{Namespace: b.key.Namespace, Name: queues[w.rng.IntN(len(queues))]}
	nowMS := w.db.nowMS()
	switch w.rng.IntN(10) {
	case 0:
		w.operateTask(r, "cancels", b.key, func(ctx context.Context, s *scheduler.Scheduler) (*scheduler.Task, error) {
			return s.Cancel(ctx, b.key)
		})
	case 1:
		w.operateTask(r, "hurries", b.key, func(ctx context.Context, s *scheduler.Scheduler) (*scheduler.Task, error) {
			return s.RetryNow(ctx, b.key)
		})
	case 2:
		atMS := nowMS + w.between(0, time.Minute).Milliseconds() - 10_000
		w.operateTask(r, "reschedules", b.key, func(ctx context.Context, s *scheduler.Scheduler) (*scheduler.Task, error) {
			return s.Reschedule(ctx, b.key, atMS)
		})
	case 3:
		w.operateTask(r, "replays", b.key, func(ctx context.Context, s *scheduler.Scheduler) (*scheduler.Task, error) {
			return s.Replay(ctx, b.key)
		})
	case 4:
		w.operateTask(r, "discards", b.key, func(ctx context.Context, s *scheduler.Scheduler) (*scheduler.Task, error) {
			return s.Discard(ctx, b.key)
		})
	case 5:
		w.operateTask(r, "looks at", b.key, func(ctx context.Context, s *scheduler.Scheduler) (*scheduler.Task, error) {
			return s.Task(ctx, b.key)
		})
	case 6:
		w.releaseHeld(r, queue.Namespace)
	case 7:
		rate := 0.5 + 4*w.rng.Float64()
		w.moveMany(r, "replays all of "+queue.Name, func(ctx context.Context, s *scheduler.Scheduler) (scheduler.Moved, error) {
			return s.ReplayMany(ctx, scheduler.Bulk{Namespace: queue.Namespace, Filter: scheduler.TaskFilter{Queue: queue.Name}, Rate: rate})
		})
	case 8:
		untilMS := nowMS + w.between(time.Second, 40*time.Second).Milliseconds()
		if w.chance(0.4) {
			untilMS = 0
		}
		w.operateQueue(r, "pauses "+queue.Name, func(ctx context.Context, s *scheduler.Scheduler) error {
			_, err := s.PauseQueue(ctx, queue, untilMS)
			return err
		})
	default:
		w.resume(r, queue)
	}
}

func (w *world) resume(r *replica, queue scheduler.QueueKey) {
	w.operateQueue(r, "resumes "+queue.Name, func(ctx context.Context, s *scheduler.Scheduler) error {
		_, err := s.ResumeQueue(ctx, queue)
		return err
	})
}

func (w *world) releaseHeld(r *replica, namespace string) {
	w.moveMany(r, "releases what is held", func(ctx context.Context, s *scheduler.Scheduler) (scheduler.Moved, error) {
		return s.ReleaseHeld(ctx, scheduler.Bulk{Namespace: namespace, Filter: scheduler.TaskFilter{Condition: "fix"}})
	})
}

func (w *world) operateTask(r *replica, what string, key scheduler.TaskKey, do func(context.Context, *scheduler.Scheduler) (*scheduler.Task, error)) {
	var t *scheduler.Task
	var err error
	w.ask(r, 5*time.Second, func(ctx context.Context, s *scheduler.Scheduler) { t, err = do(ctx, s) }, func(lost bool) {
		if lost {
			return
		}
		w.note("operator", "%s %s/%s: %s, %v", what, key.Namespace, key.ID, stateOf(t), err)
		w.ledger.typed(err)
		if err == nil {
			w.ledger.shown(t)
		}
	})
}

func (w *world) operateQueue(r *replica, what string, do func(context.Context, *scheduler.Scheduler) error) {
	var err error
	w.ask(r, 5*time.Second, func(ctx context.Context, s *scheduler.Scheduler) { err = do(ctx, s) }, func(bool) {
		w.note("operator", "%s: %v", what, err)
		w.ledger.typed(err)
	})
}

func (w *world) moveMany(r *replica, what string, do func(context.Context, *scheduler.Scheduler) (scheduler.Moved, error)) {
	var moved scheduler.Moved
	var err error
	w.ask(r, 10*time.Second, func(ctx context.Context, s *scheduler.Scheduler) { moved, err = do(ctx, s) }, func(bool) {
		w.note("operator", "%s: %d, %v", what, moved.Moved, err)
		w.ledger.typed(err)
	})
}
