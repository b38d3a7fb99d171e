package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/internal/ledger"
)

// staleHandler holds attempts until the process goes on after it was stopped, for
// longer than a lease lasts. Then it tries all that can be done under a lease by calls
// of its own, twice, and lets the worker report a success by its stream at last.
func staleHandler(ctx context.Context, cfg WorkerConfig, c *client.Client, sink ledger.Sink) client.Handler {
	goesOn := make(chan struct{})
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	var once sync.Once
	go func() {
		select {
		case <-resumed:
			once.Do(func() { close(goesOn) })
		case <-ctx.Done():
		}
	}()
	return func(ctx context.Context, a *client.Attempt) error {
		select {
		case <-goesOn:
			// It came after the stop, and is as good as any.
			sink.HandedOut(ledger.HandoutOf(cfg.Via, a, lease))
			if a.Number < attempts {
				return client.TimeoutFailure()
			}
			return nil
		default:
		}
		sink.HandedOut(ledger.HandoutOf(cfg.Via, a, lease))
		select {
		case <-goesOn:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		// The worker may learn that the lease is lost meanwhile, which ends ctx.
		trials(context.WithoutCancel(ctx), a, c, sink)
		return nil
	}
}

// rounds is how often each thing is tried.
const rounds = 2

// trials tries all that can be done under the lease of an attempt.
func trials(ctx context.Context, a *client.Attempt, c *client.Client, sink ledger.Sink) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for range rounds {
		for what, try := range map[string]func() error{
			"success": func() error {
				_, err := c.ReportSuccess(ctx, client.Task{}, client.WithLeaseToken(a.LeaseToken))
				return err
			},
			"failure": func() error {
				_, err := c.ReportFailure(ctx, client.Task{}, client.TimeoutFailure(), client.WithLeaseToken(a.LeaseToken))
				return err
			},
			"failure with its attempt": func() error {
				_, err := c.ReportFailure(ctx, client.Task{ID: a.TaskID}, client.HTTPFailure(500, ""),
					client.WithLeaseToken(a.LeaseToken), client.WithAttempt(a.Number))
				return err
			},
			"extension": func() error {
				_, err := c.ExtendLease(ctx, a.LeaseToken, time.Minute)
				return err
			},
			"release": func() error { return c.ReleaseLease(ctx, a.LeaseToken, 0) },
		} {
			err := try()
			trial := ledger.Trial{Token: a.LeaseToken, What: what, Taken: err == nil}
			if err != nil {
				if trial.Answer = client.ReasonOf(err); trial.Answer == "" {
					trial.Answer = err.Error()
				}
			}
			sink.Tried(trial)
		}
	}
}
