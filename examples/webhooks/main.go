// Command webhooks delivers events to a destination that fails in every way
// there is, and lets retryd see each of them to its end:
//
//	go run ./examples/webhooks
//
// It needs nothing else: the destination and, unless -addr names one, the retryd
// server run in this process. It prints what happens as it happens, then a
// summary, and exits 0 only if each event ended as it should.
//
// sender.go makes the first attempt of each event and reports how it went;
// worker.go makes the others, when retryd says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/retryd/retryd/client"
)

func main() {
	addr := flag.String("addr", "", "a running retryd, such as localhost:7600 (default: one of its own)")
	plain := flag.Bool("insecure", false, "talk to -addr without TLS also when it is another machine")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *addr, *plain)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "webhooks:", err)
		os.Exit(1)
	}
}

// patience is how long all may take; it is a few seconds as a rule.
const patience = time.Minute

// run does all that the command does, and returns an error unless each event
// ended as expected.
func run(ctx context.Context, out io.Writer, addr string, plain bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	dest, err := openDestination(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dest.close()) }()
	if addr == "" {
		own, err := startRetryd(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, own.stop()) }()
		addr = own.addr
	}
	var opts []client.Option
	if plain {
		opts = append(opts, client.WithInsecure())
	}
	c, err := client.New(addr, opts...)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := putPolicy(ctx, c); err != nil {
		return fmt.Errorf("put the policy: %w", err)
	}

	evs := events(dest)
	tl := newTimeline(out, evs)
	return errors.Join(deliver(ctx, c, evs, tl), tl.summary())
}

// deliver has a sender and a worker deliver the events until each has ended.
func deliver(ctx context.Context, c *client.Client, evs []event, tl *timeline) error {
	queue := "webhooks-" + evs[0].run
	g, ctx := errgroup.WithContext(ctx)
	working, stopWorking := context.WithCancel(ctx)
	g.Go(func() error { return work(working, c, queue, tl) })
	g.Go(func() error {
		defer stopWorking()
		if err := send(ctx, c, queue, evs, tl); err != nil {
			return err
		}
		select {
		case <-tl.ended:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("not all events have ended: %w", context.Cause(ctx))
		}
	})
	return g.Wait()
}
