package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/retryd/retryd/bench/internal/work"
)

// riverDriver is River: its inserting client and its working client, both in the
// load process, as its users run them.
type riverDriver struct {
	pool   *pgxpool.Pool
	insert *river.Client[pgx.Tx]
}

// The best settings found for River, as its own benchmark has them.
const (
	riverFetchCooldown = 2 * time.Millisecond
	riverFetchPoll     = 20 * time.Millisecond
	riverConnections   = 16
)

type riverArgs struct {
	Payload string `json:"payload"`
}

// Kind implements [river.JobArgs].
func (riverArgs) Kind() string { return "bench" }

func openRiver(ctx context.Context, job *work.Job) (work.Driver, error) {
	pool, err := riverPool(ctx, job.Addr[AddrPostgres])
	if err != nil {
		return nil, err
	}
	insert, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("make a client of river: %w", err)
	}
	return &riverDriver{pool: pool, insert: insert}, nil
}

func riverPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres url: %w", err)
	}
	cfg.MaxConns = riverConnections
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	return pool, nil
}

// MigrateRiver makes River's tables.
func MigrateRiver(ctx context.Context, url string) error {
	pool, err := riverPool(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return fmt.Errorf("prepare river's tables: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("make river's tables: %w", err)
	}
	return nil
}

// PingPostgres says whether a Postgres answers.
func PingPostgres(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	return conn.Close(ctx)
}

// RiverBytes is what River's jobs take on disk and in Postgres's buffers, indexes
// included.
func RiverBytes(ctx context.Context, url string) (int64, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("connect to postgres: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var n int64
	if err := conn.QueryRow(ctx, "SELECT pg_total_relation_size('river_job')").Scan(&n); err != nil {
		return 0, fmt.Errorf("size of river's jobs: %w", err)
	}
	return n, nil
}

// Close implements [work.Driver].
func (d *riverDriver) Close() error {
	d.pool.Close()
	return nil
}

// Put implements [work.Driver].
func (d *riverDriver) Put(ctx context.Context, tasks []work.Task) error {
	opts := func(t *work.Task) *river.InsertOpts { return &river.InsertOpts{ScheduledAt: t.Due} }
	if len(tasks) == 1 {
		if _, err := d.insert.Insert(ctx, riverArgs{Payload: tasks[0].Payload}, opts(&tasks[0])); err != nil {
			return fmt.Errorf("insert %s: %w", tasks[0].ID(), err)
		}
		return nil
	}
	params := make([]river.InsertManyParams, len(tasks))
	for i := range tasks {
		params[i] = river.InsertManyParams{Args: riverArgs{Payload: tasks[i].Payload}, InsertOpts: opts(&tasks[i])}
	}
	if _, err := d.insert.InsertManyFast(ctx, params); err != nil {
		return fmt.Errorf("insert %d jobs from %s on: %w", len(tasks), tasks[0].ID(), err)
	}
	return nil
}

// riverSecond retries a second later.
type riverSecond struct{}

// NextRetry implements [river.ClientRetryPolicy].
func (riverSecond) NextRetry(*rivertype.JobRow) time.Time { return time.Now().Add(work.RetryDelay) }

var errRiverFailed = errors.New("503 Service Unavailable")

// Consume implements [work.Driver]. River writes outcomes in batches after their
// handlers have returned, and they are counted when it says so.
func (d *riverDriver) Consume(ctx context.Context, inFlight int, handle work.Handler, settled func()) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, j *river.Job[riverArgs]) error {
		got, err := work.ParseDelivery(j.Args.Payload)
		if err != nil {
			return err
		}
		if handle(got) {
			return errRiverFailed
		}
		return nil
	}))
	client, err := river.NewClient(riverpgxv5.New(d.pool), &river.Config{
		Logger: slog.New(slog.DiscardHandler), Workers: workers, RetryPolicy: riverSecond{},
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: inFlight}},
		FetchCooldown: riverFetchCooldown, FetchPollInterval: riverFetchPoll,
	})
	if err != nil {
		return fmt.Errorf("make a worker of river: %w", err)
	}
	events, cancel := client.SubscribeConfig(&river.SubscribeConfig{Kinds: []river.EventKind{river.EventKindJobCompleted}, ChanSize: 100_000})
	defer cancel()
	if err := client.Start(ctx); err != nil {
		return fmt.Errorf("start river: %w", err)
	}
	for {
		select {
		case <-events:
			settled()
		case <-ctx.Done():
			return stopRiver(ctx, client)
		}
	}
}

// riverStop is how long River may take to let go of what it has.
const riverStop = 5 * time.Second

func stopRiver(ctx context.Context, client *river.Client[pgx.Tx]) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), riverStop)
	defer cancel()
	if err := client.StopAndCancel(ctx); err != nil {
		return fmt.Errorf("stop river: %w", err)
	}
	return nil
}
