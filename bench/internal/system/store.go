package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/retryd/retryd/bench/internal/work"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// store calls the product's store as its engine would, with records as full as
// the engine's: what is left of the product without gRPC, checks and decisions.
type store struct {
	*redisstore.Store
}

const (
	namespace = "default"
	// storeLeaseMS is the lease of the raw loops.
	storeLeaseMS = 30_000
	// storeRetentionMS is how long an ended task is kept: the default.
	storeRetentionMS = 86_400_000
	storeWorker      = "worker"
)

func openStore(_ context.Context, job *work.Job) (work.Driver, error) {
	s, err := redisstore.New(redisstore.Config{
		URL: "redis://" + job.Addr[AddrRedis], Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return &store{s}, nil
}

// Put implements [work.Driver].
func (d *store) Put(ctx context.Context, tasks []work.Task) error {
	nowMS := time.Now().UnixMilli()
	changes := make([]scheduler.Change, len(tasks))
	for i := range tasks {
		t := pendingTask(&tasks[i], nowMS)
		changes[i] = scheduler.Change{Key: t.Key, Task: t}
	}
	return d.commit(ctx, changes)
}

func (d *store) commit(ctx context.Context, changes []scheduler.Change) error {
	for i, done := range d.Commit(ctx, changes) {
		if done.Err != nil {
			return fmt.Errorf("commit %s: %w", changes[i].Key.ID, done.Err)
		}
		if done.Status != scheduler.CommitDone {
			return fmt.Errorf("commit %s: status %d", changes[i].Key.ID, done.Status)
		}
	}
	return nil
}

// pendingTask is a task whose first attempt has failed, as the engine makes it of
// a report.
func pendingTask(t *work.Task, nowMS int64) *scheduler.Task {
	dueMS := t.Due.UnixMilli()
	delayMS := dueMS - nowMS
	decision := policy.Decision{
		Action: policy.ActionRetry, Reason: policy.ReasonRetryScheduled, Attempt: 1, NextAttempt: 2,
		NextMS: dueMS, DelayMS: delayMS, RetriesLeft: 2, LastDelayMS: delayMS,
		Steps: []policy.Step{
			{Code: policy.StepFixed, Args: []int64{delayMS}},
			{Code: policy.StepScheduled, Args: []int64{2, dueMS, delayMS}},
		},
	}
	return &scheduler.Task{
		Key:   scheduler.TaskKey{Namespace: namespace, ID: t.ID()},
		Spec:  scheduler.Spec{Queue: queue, Policy: policySoon, Payload: []byte(t.Payload)},
		State: scheduler.StateScheduled, Attempt: 2, Generation: 1, FirstAttempt: 1, Trigger: scheduler.TriggerRetry,
		DueMS: dueMS, RetriesLeft: 2, FirstFailureMS: nowMS, LastDelayMS: delayMS,
		History: []scheduler.AttemptRecord{{
			Attempt: 1, Generation: 1, TimeMS: nowMS,
			Failure:  policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 503, Message: "503 Service Unavailable"},
			Decision: decision, Policy: policySoon, PolicyRevision: 1,
			Key: scheduler.Digest(rand.Uint64()), Content: scheduler.Digest(rand.Uint64()), Op: scheduler.OpID(rand.Uint64()),
		}},
	}
}

// succeeded is a claimed task whose attempt has succeeded, as the engine makes it
// of an outcome.
func succeeded(t *scheduler.Task, nowMS int64) *scheduler.Task {
	next := *t
	next.State, next.EndMS, next.ExpireMS = scheduler.StateSucceeded, nowMS, nowMS+storeRetentionMS
	next.Spec.Payload, next.LeaseEndMS, next.LeaseMS, next.Worker = nil, 0, 0, ""
	next.History = append([]scheduler.AttemptRecord{}, t.History...)
	for i := range next.History {
		next.History[i].Failure.Message = ""
	}
	next.History = append(next.History, scheduler.AttemptRecord{
		Attempt: t.Attempt, Generation: t.Generation, Trigger: t.Trigger, TimeMS: nowMS, Success: true,
		Policy: policySoon, PolicyRevision: 1, Worker: storeWorker, Deliveries: t.Delivery,
		Content: scheduler.Digest(rand.Uint64()), Fence: t.Fence, Op: scheduler.OpID(rand.Uint64()),
	})
	return &next
}

// Consume implements [work.Driver]: loops of claim and commit, as many as fill
// inFlight, each with shards of its own.
func (d *store) Consume(ctx context.Context, inFlight int, handle work.Handler, settled func()) error {
	loops := max(1, inFlight/claimBatch)
	g, ctx := errgroup.WithContext(ctx)
	for first := range loops {
		g.Go(func() error {
			for shard := first; ctx.Err() == nil; {
				n, err := d.pass(ctx, shard, handle, settled)
				if err != nil && ctx.Err() == nil {
					return err
				}
				// A shard that gave a full batch has more.
				if n < claimBatch {
					shard = (shard + loops) % d.Shards()
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (d *store) pass(ctx context.Context, shard int, handle work.Handler, settled func()) (int, error) {
	nonces := make([]uint64, claimBatch)
	for i := range nonces {
		nonces[i] = rand.Uint64()
	}
	claimed := d.Claim(ctx, []scheduler.Claim{{
		ID: rand.Uint64(), Replica: "bench", Queue: scheduler.QueueKey{Namespace: namespace, Name: queue}, Shard: shard,
		Slots: []scheduler.Slot{{Count: claimBatch, LeaseMS: storeLeaseMS, Worker: storeWorker}}, Nonces: nonces,
	}})
	if len(claimed) != 1 {
		return 0, errors.New("a claim has no answer")
	}
	got := claimed[0]
	if got.Err != nil {
		return 0, fmt.Errorf("claim: %w", got.Err)
	}
	if len(got.Tasks) == 0 {
		return 0, nil
	}
	changes := make([]scheduler.Change, len(got.Tasks))
	for i, t := range got.Tasks {
		delivery, err := work.ParseDelivery(string(t.Spec.Payload))
		if err != nil {
			return 0, err
		}
		handle(delivery)
		changes[i] = scheduler.Change{Key: t.Key, Before: t, Task: succeeded(t, got.NowMS)}
	}
	if err := d.commit(ctx, changes); err != nil {
		return 0, err
	}
	for range changes {
		settled()
	}
	return len(changes), nil
}
