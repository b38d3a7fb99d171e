package server

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// tries has p read, which may be refused.
func (g *guest) tries(p []byte) error {
	g.next = p
	for len(g.next) > 0 {
		if _, err := g.watched.Read(g.buf[:]); err != nil {
			return err
		}
	}
	return nil
}

// again sends the same over and over until it is refused.
func again(p []byte, times int) func(g *guest) error {
	return func(g *guest) error {
		for range times {
			if err := g.tries(p); err != nil {
				return err
			}
		}
		return nil
	}
}

// spread sends as many crumbs as may come, every so often.
func spread(every time.Duration) func(g *guest) error {
	return func(g *guest) error {
		for range 10 {
			<-time.After(every)
			if err := again(frame(dataFrame, 1), maxCrumbs)(g); err != nil {
				return err
			}
		}
		return nil
	}
}

// conversation sends the smallest messages that a stream may consist of, each in
// frames with so many bytes, and has them received a thousand at a time.
func conversation(frames ...int) func(g *guest) error {
	return func(g *guest) error {
		size := -prefixBytes
		var message []byte
		for _, n := range frames {
			size += n
			message = append(message, frame(dataFrame, n)...)
		}
		stream := g.call(false, &size)
		defer stream.end(g.t.Context())
		for range 40 {
			if err := again(message, 1000)(g); err != nil {
				return err
			}
			for range 1000 {
				stream.receive(g.t)
			}
		}
		return nil
	}
}

// TestCrumbsCloseTheirConnection sends frames with next to nothing in them.
func TestCrumbsCloseTheirConnection(t *testing.T) {
	t.Parallel()
	last := frame(dataFrame, 1)
	last[4] = endStream
	for name, row := range map[string]struct {
		send   func(g *guest) error
		closed bool
	}{
		"as many as may come":        {again(frame(dataFrame, 1), maxCrumbs-1), false},
		"one more":                   {again(frame(dataFrame, 1), maxCrumbs), true},
		"with nothing in them":       {again(frame(dataFrame, 0), maxCrumbs), true},
		"as large as they may be":    {again(frame(dataFrame, crumb-1), maxCrumbs), true},
		"larger":                     {again(frame(dataFrame, crumb), 3*maxCrumbs), false},
		"ends of streams":            {again(last, 3*maxCrumbs), false},
		"frames of another type":     {again(frame(dataFrame+1, 1), 3*maxCrumbs), false},
		"a second apart":             {spread(time.Second), false},
		"less than a second apart":   {spread(999 * time.Millisecond), true},
		"with a message in each":     {conversation(7), false},
		"with prefixes on their own": {conversation(prefixBytes, 34), false},
		"with pieces of messages":    {conversation(prefixBytes, 1, 1), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var c counters
				lis := newBoundedListener(nil, 10, &c)
				g, beside := visit(t, lis, 1), visit(t, lis, 1)
				err := row.send(g)
				if g.closed != row.closed || errors.Is(err, net.ErrClosed) != row.closed {
					t.Errorf("closed %t, and what came last was answered with %v; want closed %t", g.closed, err, row.closed)
				}
				if beside.closed {
					t.Error("another connection was closed")
				}
				want := int64(0)
				if row.closed {
					want = 1
				}
				if got := c.abusedConnections.Load(); got != want {
					t.Errorf("%d abused connections were counted, want %d", got, want)
				}
			})
		})
	}
}

// TestOutcomesAreNoCrumbs keeps what a worker sends at full speed above the size at
// which frames are counted.
func TestOutcomesAreNoCrumbs(t *testing.T) {
	t.Parallel()
	token := scheduler.LeaseToken{Key: scheduler.TaskKey{Namespace: "n", ID: "i"}}.String()
	for name, msg := range map[string]*retryv1.SubscribeRequest{
		"outcome": {Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{LeaseToken: token}}},
		"extend":  {Message: &retryv1.SubscribeRequest_Extend{Extend: &retryv1.Extend{LeaseTokens: []string{token}}}},
	} {
		if got := prefixBytes + proto.Size(msg); got < crumb {
			t.Errorf("the smallest %s is %d bytes, which must not be fewer than %d", name, got, crumb)
		}
	}
}
