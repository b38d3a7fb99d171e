package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/retryd/retryd/client"
)

// send makes the first attempt of every event, as a program does that knows
// nothing of retries, and reports how it went. That is all it has to do.
func send(ctx context.Context, c *client.Client, queue string, evs []event, tl *timeline) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, ev := range evs {
		g.Go(func() error {
			if err := sendOne(ctx, c, queue, ev, tl); err != nil {
				return fmt.Errorf("send %s: %w", ev.name, err)
			}
			if ev.then != nil {
				ev.then()
			}
			return nil
		})
	}
	return g.Wait()
}

func sendOne(ctx context.Context, c *client.Client, queue string, ev event, tl *timeline) error {
	payload, err := ev.hook.payload()
	if err != nil {
		return err
	}
	task := client.Task{ID: ev.id(), Queue: queue, Policy: policyID, Payload: payload}
	failed := call(ctx, ev.hook, task.ID)
	if failed == nil {
		done, err := c.ReportSuccess(ctx, task, client.WithAttempt(1))
		if err != nil {
			return err
		}
		tl.succeeded(task.ID, done)
		return nil
	}
	decision, err := c.ReportFailure(ctx, task, failed, client.WithAttempt(1))
	if err != nil {
		return err
	}
	tl.failed(task.ID, failed, decision)
	return nil
}
