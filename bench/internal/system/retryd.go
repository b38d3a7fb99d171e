package system

import (
	"context"
	"log/slog"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/bench/internal/work"
	"github.com/retryd/retryd/client"
)

// retryd reports by the generated client, and takes work by the worker of the Go
// client.
type retryd struct {
	*reporter
}

func openRetryd(ctx context.Context, job *work.Job) (work.Driver, error) {
	r, err := newRetryd(ctx, job)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func newRetryd(ctx context.Context, job *work.Job) (*retryd, error) {
	r, err := newReporter(job)
	if err != nil {
		return nil, err
	}
	if err := r.createPolicies(ctx); err != nil {
		_ = r.Close()
		return nil, err
	}
	return &retryd{r}, nil
}

func exists(err error) bool { return status.Code(err) == codes.AlreadyExists }

// TakesFirstAttempts implements [work.FirstAttempter].
func (*retryd) TakesFirstAttempts() bool { return true }

// errFailed is what handlers return for an attempt that is to fail.
var errFailed = client.HTTPFailure(503, "")

// Consume implements [work.Driver].
func (r *retryd) Consume(ctx context.Context, inFlight int, handle work.Handler, settled func()) error {
	c, err := client.New("", client.WithConn(r.conn), client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	worker, err := client.NewWorker(c, []string{queue},
		client.WithMaxInFlight(inFlight), client.WithConcurrency(inFlight), client.WithShutdownTimeout(0),
		client.WithSettled(func(s client.Settled) {
			if s.Completion != nil {
				settled()
			}
		}))
	if err != nil {
		return err
	}
	return worker.Run(ctx, func(_ context.Context, a *client.Attempt) error {
		d, err := work.ParseDelivery(string(a.Payload))
		if err != nil {
			return client.Permanent(err)
		}
		d.Due = a.DueTime
		if handle(d) {
			return errFailed
		}
		return nil
	})
}
