package system

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/beanstalkd/go-beanstalk"
	"golang.org/x/sync/errgroup"

	"github.com/retryd/retryd/bench/internal/work"
)

// beanstalkd has a connection for each caller and for each attempt in flight: its
// protocol has one answer out at a time.
type beanstalkd struct {
	addr string
	idle chan *beanstalk.Conn
}

const (
	beanstalkPriority = 1024
	beanstalkTTR      = 30 * time.Second
	// reserveWait is how long a worker waits for work before it looks whether it
	// should stop.
	reserveWait = time.Second
)

func openBeanstalkd(_ context.Context, job *work.Job) (work.Driver, error) {
	d := &beanstalkd{addr: job.Addr[AddrBeanstalkd]}
	// Preloads have up to 8 callers, whatever the job says.
	n := max(job.Callers, 8)
	d.idle = make(chan *beanstalk.Conn, n)
	for range n {
		c, err := beanstalk.Dial("tcp", d.addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("connect to beanstalkd: %w", err), d.Close())
		}
		d.idle <- c
	}
	return d, nil
}

// Close implements [work.Driver].
func (d *beanstalkd) Close() error {
	var errs []error
	for len(d.idle) > 0 {
		errs = append(errs, (<-d.idle).Close())
	}
	return errors.Join(errs...)
}

// Grain implements [work.Coarse].
func (*beanstalkd) Grain() time.Duration { return time.Second }

// Put implements [work.Driver]. Delays are whole seconds, here rounded up, so that
// nothing comes before its time.
func (d *beanstalkd) Put(_ context.Context, tasks []work.Task) error {
	c := <-d.idle
	defer func() { d.idle <- c }()
	for i := range tasks {
		var delay time.Duration
		if !tasks[i].Due.IsZero() {
			delay = max(0, time.Until(tasks[i].Due)+time.Second-1).Truncate(time.Second)
		}
		if _, err := c.Put([]byte(tasks[i].Payload), beanstalkPriority, delay, beanstalkTTR); err != nil {
			return fmt.Errorf("put %s: %w", tasks[i].ID(), err)
		}
	}
	return nil
}

// Consume implements [work.Driver].
func (d *beanstalkd) Consume(ctx context.Context, inFlight int, handle work.Handler, settled func()) error {
	g, ctx := errgroup.WithContext(ctx)
	for range inFlight {
		c, err := beanstalk.Dial("tcp", d.addr)
		if err != nil {
			return fmt.Errorf("connect to beanstalkd: %w", err)
		}
		// A worker that waits for work is told to stop by its connection's end.
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		g.Go(func() error {
			defer stop()
			defer func() { _ = c.Close() }()
			for ctx.Err() == nil {
				if err := workOnce(c, handle, settled); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// workOnce makes one attempt, if there is one.
func workOnce(c *beanstalk.Conn, handle work.Handler, settled func()) error {
	id, body, err := c.Reserve(reserveWait)
	if errors.Is(err, beanstalk.ErrTimeout) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	got, err := work.ParseDelivery(string(body))
	if err != nil {
		return err
	}
	if handle(got) {
		if err := c.Release(id, beanstalkPriority, work.RetryDelay); err != nil {
			return fmt.Errorf("release: %w", err)
		}
		return nil
	}
	if err := c.Delete(id); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	settled()
	return nil
}
