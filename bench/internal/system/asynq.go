package system

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/bench/internal/work"
)

// asynqDriver is asynq: its client and its server, both in the load process, as
// its users run them.
type asynqDriver struct {
	job    *work.Job
	redis  *redis.Client
	client *asynq.Client
	best   bool
}

const (
	asynqType = "bench"
	// bestCheck is how often asynq at its best looks for tasks: more often only
	// took more of Redis.
	bestCheck = 10 * time.Millisecond
)

func openAsynq(_ context.Context, job *work.Job) (work.Driver, error) {
	return newAsynq(job, false), nil
}

func openAsynqBest(_ context.Context, job *work.Job) (work.Driver, error) {
	return newAsynq(job, true), nil
}

func newAsynq(job *work.Job, best bool) *asynqDriver {
	opts := &redis.Options{Addr: job.Addr[AddrRedis]}
	if best {
		opts.PoolSize = max(job.Callers, job.InFlight)
	}
	r := redis.NewClient(opts)
	return &asynqDriver{job: job, redis: r, client: asynq.NewClientFromRedisClient(r), best: best}
}

// Close closes the connections; neither asynq's client nor its server does so for
// a client that it was given.
func (d *asynqDriver) Close() error { return d.redis.Close() }

// Put implements [work.Driver].
func (d *asynqDriver) Put(ctx context.Context, tasks []work.Task) error {
	for i := range tasks {
		if err := enqueue(ctx, d.client, tasks[i].ID(), []byte(tasks[i].Payload), tasks[i].Due); err != nil {
			return err
		}
	}
	return nil
}

func enqueue(ctx context.Context, client *asynq.Client, id string, payload []byte, due time.Time) error {
	opts := []asynq.Option{asynq.TaskID(id)}
	if !due.IsZero() {
		opts = append(opts, asynq.ProcessAt(due))
	}
	if _, err := client.EnqueueContext(ctx, asynq.NewTask(asynqType, payload), opts...); err != nil {
		return fmt.Errorf("enqueue %s: %w", id, err)
	}
	return nil
}

var errAsynqFailed = errors.New("503 Service Unavailable")

// Consume implements [work.Driver]. With its defaults, asynq has as many attempts
// in flight as there are CPUs, whatever it is asked for.
func (d *asynqDriver) Consume(ctx context.Context, inFlight int, handle work.Handler, settled func()) error {
	cfg := asynq.Config{
		LogLevel: asynq.FatalLevel, ShutdownTimeout: time.Second,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return work.RetryDelay },
	}
	if d.best {
		cfg.Concurrency, cfg.TaskCheckInterval, cfg.DelayedTaskCheckInterval = inFlight, bestCheck, bestCheck
	}
	server := asynq.NewServerFromRedisClient(d.redis, cfg)
	err := server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		got, err := work.ParseDelivery(string(t.Payload()))
		if err != nil {
			return err
		}
		if handle(got) {
			return errAsynqFailed
		}
		settled()
		return nil
	}))
	if err != nil {
		return fmt.Errorf("start the asynq server: %w", err)
	}
	<-ctx.Done()
	server.Shutdown()
	return nil
}
