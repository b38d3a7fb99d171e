package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// again has the same frame read over and over.
func again(p []byte, times int) func(g *guest) {
	return func(g *guest) {
		for range times {
			g.reads(p)
		}
	}
}

// conversation sends the smallest messages that a stream may consist of, each in
// frames with so many bytes, and has them received a thousand at a time.
func conversation(frames ...int) func(g *guest) {
	return func(g *guest) {
		size := -prefixBytes
		var message []byte
		for _, n := range frames {
			size += n
			message = append(message, frame(dataFrame, n)...)
		}
		stream := g.call(false, &size)
		defer stream.end(g.t.Context())
		for range 40 {
			again(message, 1000)(g)
			for range 1000 {
				stream.receive(g.t)
			}
		}
	}
}

// ends begins calls that end with a code when their clients have gone, or not.
func ends(code codes.Code, gone bool, times int) func(g *guest) {
	return endsWith(nil, code, gone, times)
}

// endsWith is ends when a message of so many bytes has come.
func endsWith(body *int, code codes.Code, gone bool, times int) func(g *guest) {
	return func(g *guest) {
		ctx, cancel := context.WithCancel(g.t.Context())
		defer cancel()
		if gone {
			cancel()
		}
		for range times {
			call := begin(&bodies{
				ctx: peer.NewContext(g.t.Context(), &peer.Peer{Addr: g.bounded.RemoteAddr()}),
				err: status.Error(code, ""), body: body,
			}, true)
			if err := call.RecvMsg(nil); status.Code(err) != code {
				g.t.Fatal(err)
			}
			call.end(ctx)
			g.sends(headersFrame, 100)
		}
	}
}

// answered has messages sent to it and sends so many frames for each.
func answered(frames, times int) func(g *guest) {
	return func(g *guest) {
		stream := g.call(false, new(int))
		for range times {
			if err := stream.SendMsg(nil); err != nil {
				g.t.Fatal(err)
			}
			again(frame(8, 4), frames)(g)
		}
	}
}

// asks makes a call over and over, by the service itself.
func asks(times int, call func(ctx context.Context, h *retryService) (any, error)) func(g *guest) {
	return func(g *guest) {
		sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			g.t.Fatal(err)
		}
		s, err := New(Config{Log: slog.New(slog.DiscardHandler)}, sched)
		if err != nil {
			g.t.Fatal(err)
		}
		defer s.grpc.Stop()
		for range times {
			stream := g.call(true, new(int))
			stream.receive(g.t)
			answer, err := call(stream.Context(), &retryService{s: s})
			if err != nil {
				g.t.Fatal(err)
			}
			if err := stream.SendMsg(answer); err != nil {
				g.t.Fatal(err)
			}
			stream.end(g.t.Context())
			g.sends(headersFrame, 100)
		}
	}
}

// refusedReports sends batches with so many empty reports among others.
func refusedReports(each, times int) func(g *guest) {
	batch := &retryv1.BatchReportRequest{}
	for range each {
		batch.Reports = append(batch.Reports, &retryv1.Report{})
	}
	for _, id := range []string{"a", "b", "c"} {
		ok := &retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: id}}
		batch.Reports = append(batch.Reports, &retryv1.Report{Report: &retryv1.Report_Success{Success: ok}})
	}
	return asks(times, func(ctx context.Context, h *retryService) (any, error) { return h.BatchReport(ctx, batch) })
}

// refusedTokens has the leases of so many tokens extended that nobody has issued.
func refusedTokens(each, times int) func(g *guest) {
	r := &retryv1.ExtendLeaseRequest{LeaseTokens: make([]string, each)}
	return asks(times, func(ctx context.Context, h *retryService) (any, error) { return h.ExtendLease(ctx, r) })
}

// paced is a listener in a bubble and what it has counted and logged.
func paced() (lis *boundedListener, c *counters, log *bytes.Buffer) {
	c, log = new(counters), new(bytes.Buffer)
	return newBoundedListener(nil, 5000, c, slog.New(slog.NewTextHandler(log, nil))), c, log
}

// TestWhatBringsNothingIsReadSlowly sends much of one kind, which takes either no time
// or as long as its pace says.
func TestWhatBringsNothingIsReadSlowly(t *testing.T) {
	t.Parallel()
	last := frame(dataFrame, 1)
	last[4] = endStream
	const many = 5 * paceRate
	for name, row := range map[string]struct {
		send func(g *guest)
		// cost is what it comes to, 0 where nothing is held against it.
		cost int
	}{
		"a burst":                     {again(frame(dataFrame, 1), paceBurst-2*freeOfCall), 0},
		"crumbs":                      {again(frame(dataFrame, 1), many), many},
		"crumbs with nothing in them": {again(frame(dataFrame, 0), many), many},
		"the largest crumbs":          {again(frame(dataFrame, crumb-1), many/100), many / 100},
		"larger frames":               {again(frame(dataFrame, crumb), many/100), 0},
		"ends of streams":             {again(last, many), 0},
		"settings":                    {again(frame(4, 0), many), many},
		"window updates":              {again(frame(8, 4), many), many},
		"headers":                     {again(frame(headersFrame, 10), many), 0},
		"messages of a frame":         {conversation(7), 0},
		"messages of two frames":      {conversation(prefixBytes, 34), 40_000},
		"messages in pieces":          {conversation(prefixBytes, 1, 1), 80_000},
		"answers to messages":         {answered(answersToMessage, many/answersToMessage), 0},
		"more answers than messages":  {answered(answersToMessage+1, many), many},
		"calls that end":              {ends(codes.DeadlineExceeded, false, many/freeOfCall), 0},
		"messages without an end":     {ends(codes.Internal, false, 1000), 1000 * windowBytes / bytesToFrame},
		"messages too long":           {ends(codes.ResourceExhausted, true, 1000), 1000 * windowBytes / bytesToFrame},
		"messages of another kind":    {endsWith(new(100<<10-prefixBytes), codes.Internal, false, 1000), 1000 * 100},
		"calls that last too long":    {ends(codes.DeadlineExceeded, true, 1000), 0},
		"refused reports":             {refusedReports(900, 200), 200 * 900},
		"a few refused reports":       {refusedReports(1+answersToMessage, 2000), 0},
		"refused tokens":              {refusedTokens(maxTokens, 200), 200 * maxTokens},
		"calls taken back":            {ends(codes.Canceled, true, many/freeOfCall), many},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				lis, c, log := paced()
				beside := visit(t, lis, 2)
				g := visit(t, lis, 1)
				start := time.Now()
				row.send(g)
				took := time.Since(start)
				least, most := time.Duration(0), time.Duration(0)
				if row.cost > paceBurst {
					least = time.Duration(row.cost-2*paceBurst) * time.Second / paceRate
					most = time.Duration(row.cost) * time.Second / paceRate
				}
				if took < least || took > most {
					t.Errorf("it was read in %s, want %s to %s", took, least, most)
				}
				if slowed := c.slowedReads.Load() > 0; slowed != (most > 0) {
					t.Errorf("slowed reads were counted: %t, want %t", slowed, most > 0)
				}
				if told := strings.Contains(log.String(), "host=127.0.0.1"); told != (most > 0) {
					t.Errorf("it was told: %t, want %t: %s", told, most > 0, log)
				}
				start = time.Now()
				beside.sends(dataFrame, 1)
				if took := time.Since(start); took != 0 {
					t.Errorf("another host waited %s", took)
				}
				if g.closed || c.abusedConnections.Load() != 0 {
					t.Error("the connection was closed")
				}
			})
		})
	}
}

// TestPaceIsOfAHost has the connections of a host share what it may send, also those
// that it opens anew.
func TestPaceIsOfAHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lis, _, log := paced()
		start := time.Now()
		const connections, each = 1000, 1000
		for range connections {
			g := visit(t, lis, 1)
			again(frame(4, 0), each)(g)
			if err := g.bounded.Close(); err != nil {
				t.Fatal(err)
			}
		}
		want := time.Duration(connections*(each+freeOfCall)) * time.Second / paceRate
		if took := time.Since(start); took < want-time.Second || took > want {
			t.Errorf("it took %s, want about %s", took, want)
		}
		if got := strings.Count(log.String(), "more slowly"); got != 1 {
			t.Errorf("it was told %d times within a minute, want once: %s", got, log)
		}
		<-time.After(mostOwed * time.Second / paceRate)
		lis.mu.Lock()
		defer lis.mu.Unlock()
		if len(lis.hosts) != 0 {
			t.Error("the host is remembered though it owes nothing")
		}
	})
}

// TestClosedConnectionsDoNotWait closes one whose host owes much.
func TestClosedConnectionsDoNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lis, _, _ := paced()
		g := visit(t, lis, 1)
		again(frame(4, 0), firstReads)(g)
		g.bounded.charge(1000 * paceRate)
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			g.next = frame(dataFrame, 1)
			if _, err := g.watched.Read(g.buf[:]); !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading from it ended with %v", err)
			}
		}()
		<-time.After(time.Second)
		if err := g.bounded.Close(); err != nil {
			t.Fatal(err)
		}
		<-done
		if took := time.Since(start); took != time.Second {
			t.Errorf("it was read from after %s, want %s", took, time.Second)
		}
	})
}

// TestNewConnectionsHaveTurns opens connections when their host owes as much as is taken
// at once, and closes every other of them.
func TestNewConnectionsHaveTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lis, _, _ := paced()
		g := visit(t, lis, 1)
		g.bounded.charge(paceBurst)
		start := time.Now()
		const connections = 1000
		var last time.Duration
		var mu sync.Mutex
		var wg sync.WaitGroup
		for n := range connections {
			c := lis.admit(&scripted{addr: g.addr})
			if c == nil {
				t.Fatal("there was no room for a connection")
			}
			leave := n%2 == 1
			wg.Go(func() {
				_, _, err := watchingCredentials{insecure.NewCredentials()}.ServerHandshake(c)
				if leave != errors.Is(err, net.ErrClosed) {
					t.Errorf("it was set up with %v, and closed before: %t", err, leave)
				}
				mu.Lock()
				defer mu.Unlock()
				last = max(last, time.Since(start))
			})
			synctest.Wait()
			if leave {
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		wg.Wait()
		want := connections * freeOfCall * time.Second / paceRate
		if last < want-10*time.Millisecond || last > want+10*time.Millisecond {
			t.Errorf("the last was set up after %s, want %s", last, want)
		}
	})
}

// TestWhoComesOverNoNetworkIsNotPaced charges one that comes over no network.
func TestWhoComesOverNoNetworkIsNotPaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lis, _, _ := paced()
		near, far := net.Pipe()
		defer func() { _ = far.Close() }()
		c := lis.admit(near)
		c.charge(1000 * paceRate)
		start := time.Now()
		if open := c.keepPace(); !open || time.Since(start) != 0 {
			t.Errorf("it waited %s, and was open: %t", time.Since(start), open)
		}
	})
}
