package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// Handler makes one attempt. Nil means that it succeeded. An error is reported
// as a failure, made into one by [FailureFrom] unless it is a [*Failure], and
// the policy decides what follows; [Permanent] and [Release] ask for more.
//
// The context ends with the cause [ErrLeaseLost] when the attempt is no longer
// the worker's: another may be making it, so it should stop, and its result no
// longer counts. A panic is a failure too, the outcome "panic".
//
// Work is handed out at least once, so a handler should pass the id of the task
// on, as an idempotency key of its destination.
type Handler func(ctx context.Context, a *Attempt) error

// ErrWorkerStopped is the cause with which the context of a handler is cancelled
// that still runs when the worker's shutdown timeout is over. Unless it returns
// nil or a [*Failure] of its own, its attempt is then handed back, and burns no
// retry.
var ErrWorkerStopped = errors.New("the worker was stopped")

// Settled is what the server made of one attempt that a worker made.
type Settled struct {
	Attempt *Attempt
	// Err is what the handler returned, as a failure or a release.
	Err error
	// Decision answers a failure, Completion a success; Released means that the
	// attempt was handed back.
	Decision   *Decision
	Completion *Completion
	Released   bool
	// Refused is why the server did not take the result, such as [ErrLeaseLost].
	Refused error
}

// Worker takes due attempts of some queues as they come, and makes them.
type Worker struct {
	c       *Client
	queues  []string
	cfg     workerConfig
	running atomic.Bool
}

const (
	maxQueues              = 100 // of one subscription
	defaultMaxInFlight     = 32
	defaultLease           = 30 * time.Second
	defaultShutdownTimeout = 30 * time.Second
)

// NewWorker returns a worker for 1 to 100 queues, which need not exist yet. It
// does nothing until Run.
func NewWorker(c *Client, queues []string, opts ...WorkerOption) (*Worker, error) {
	cfg := workerConfig{
		maxInFlight:     defaultMaxInFlight,
		lease:           defaultLease,
		shutdownTimeout: defaultShutdownTimeout,
	}
	for _, opt := range opts {
		opt(&cfg)
	}
	cfg.concurrency = cmp.Or(cfg.concurrency, cfg.maxInFlight)
	cfg.id = cmp.Or(cfg.id, newWorkerID())
	switch {
	case len(queues) < 1 || len(queues) > maxQueues:
		return nil, fmt.Errorf("a worker takes from 1 to %d queues, not %d", maxQueues, len(queues))
	case cfg.maxInFlight < 1 || cfg.maxInFlight > 1000:
		return nil, fmt.Errorf("a worker holds from 1 to 1,000 attempts, not %d", cfg.maxInFlight)
	case cfg.concurrency < 1 || cfg.concurrency > cfg.maxInFlight:
		return nil, fmt.Errorf("a worker runs from 1 to %d handlers, which is how many attempts it holds, not %d",
			cfg.maxInFlight, cfg.concurrency)
	case cfg.lease < time.Second || cfg.lease > 12*time.Hour:
		return nil, fmt.Errorf("a lease lasts from 1 s to 12 h, not %s", cfg.lease)
	}
	return &Worker{c: c, queues: queues, cfg: cfg}, nil
}

// Run takes attempts and makes them by handle until ctx ends. A server that
// goes away, or is away, is come back to for as long as that takes, and results
// that it did not confirm are sent again.
//
// When ctx ends, Run takes no more attempts, hands back those not yet begun, lets
// handlers finish within [WithShutdownTimeout], and returns nil once their
// results are confirmed. It returns an error when some could not be, when a
// handler did not return even though its context was cancelled, and at once when
// the server calls the subscription itself invalid.
//
// One Run at a time.
func (w *Worker) Run(ctx context.Context, handle Handler) error {
	if !w.running.CompareAndSwap(false, true) {
		return errors.New("the worker is running already")
	}
	defer w.running.Store(false)

	// What is under way outlives ctx: attempts and streams end when told.
	outlive := context.WithoutCancel(ctx)
	work, stop := context.WithCancelCause(outlive)
	defer stop(ErrWorkerStopped)
	net, hangUp := context.WithCancel(outlive)
	defer hangUp()

	s := newShift(w, work, handle)
	err := s.subscribe(ctx, net)
	s.close()
	s.lines.Go(func() { s.carryOn(net) })
	err = errors.Join(err, s.finish(stop))
	s.hangUp(hangUp)
	return err
}

// newWorkerID tells operators whose a lease is.
func newWorkerID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return cut(valid(host), 64) + "-" + strconv.Itoa(os.Getpid()) + "-" + rand.Text()[:8]
}
