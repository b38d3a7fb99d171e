package main

import (
	"context"

	"github.com/retryd/retryd/client"
)

// work delivers again what retryd says is to be delivered again, until ctx ends.
func work(ctx context.Context, c *client.Client, queue string, tl *timeline) error {
	w, err := client.NewWorker(c, []string{queue}, client.WithSettled(func(s client.Settled) {
		switch {
		case s.Completion != nil:
			tl.succeeded(s.Attempt.TaskID, s.Completion)
		case s.Decision != nil:
			tl.failed(s.Attempt.TaskID, s.Err, s.Decision)
		}
	}))
	if err != nil {
		return err
	}
	return w.Run(ctx, func(ctx context.Context, a *client.Attempt) error {
		h, err := parseHook(a.Payload)
		if err != nil {
			return client.Permanent(err) // no retry mends a payload
		}
		return call(ctx, h, a.TaskID)
	})
}
