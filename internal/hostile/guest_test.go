package hostile_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/retryd/retryd/client"
)

// guestRate is how many failures the guest reports in a second.
const guestRate = 200

// guest is a well-behaved client: it reports at a rate, whatever the answers take,
// and makes the attempts that come of it. It repeats nothing, so that nothing is
// hidden.
type guest struct {
	mu sync.Mutex
	// reports are how long answers took since the last look, lateness how long
	// after they were due attempts came.
	reports, lateness []time.Duration
	failed            map[string]int
	reported, done    int
}

// visit lets a guest work until the test ends.
func visit(t *testing.T, addr string) *guest {
	t.Helper()
	g := &guest{failed: make(map[string]int)}
	c, err := client.New(addr, client.WithInsecure(), client.WithLogger(slog.New(slog.DiscardHandler)), client.WithRetryTimeout(0),
		client.WithDialOptions(grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return from(1, 0).DialContext(ctx, "tcp", addr)
		})))
	if err != nil {
		t.Fatal(err)
	}
	w, err := client.NewWorker(c, []string{"guest"}, client.WithMaxInFlight(256))
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.report(ctx, c) })
	wg.Go(func() {
		if err := w.Run(ctx, g.attempt); err != nil {
			t.Errorf("the guest's worker: %v", err)
		}
	})
	t.Cleanup(func() {
		leave()
		wg.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// report reports until ctx ends.
func (g *guest) report(ctx context.Context, c *client.Client) {
	tick := time.NewTicker(time.Second / guestRate)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case due := <-tick.C:
			wg.Go(func() {
				// What has been begun is ended also when the guest is to leave.
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
				defer cancel()
				_, err := c.ReportFailure(ctx, client.Task{ID: fmt.Sprint("guest-", n), Queue: "guest", Policy: "soon"}, client.HTTPFailure(503, ""))
				g.mu.Lock()
				defer g.mu.Unlock()
				g.reported++
				g.reports = append(g.reports, time.Since(due))
				if err != nil {
					g.failed[err.Error()]++
				}
			})
		}
	}
}

// attempt is the handler of its attempts.
func (g *guest) attempt(_ context.Context, a *client.Attempt) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done++
	g.lateness = append(g.lateness, time.Since(a.DueTime))
	return nil
}

// figures are what a guest has met with for a while.
type figures struct {
	reports, lateness quantiles
}

// look returns the figures since the last look.
func (g *guest) look() figures {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := figures{reports: quantilesOf(g.reports), lateness: quantilesOf(g.lateness)}
	g.reports, g.lateness = nil, nil
	return f
}

// quantiles are those of durations.
type quantiles struct{ p50, p99, most time.Duration }

func quantilesOf(ds []time.Duration) quantiles {
	if len(ds) == 0 {
		return quantiles{}
	}
	slices.Sort(ds)
	return quantiles{p50: ds[len(ds)/2], p99: ds[len(ds)*99/100], most: ds[len(ds)-1]}
}

func (q quantiles) String() string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }
	return ms(q.p50) + " / " + ms(q.p99) + " / " + ms(q.most)
}
