package redisstore

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestSentinelsAreAskedNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		e := elected{dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			asked++
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("they have all the time that there is")
			}
			if asked%2 == 0 {
				return nil, errors.New("no Sentinel answers")
			}
			return deadConn{}, nil
		}}
		for range 100 {
			e.ask(t.Context())
			<-time.After(askPause / 5)
		}
		if asked != 20 {
			t.Errorf("they were asked %d times in %s, want 20", asked, 20*askPause)
		}
	})
}

func TestWithoutSentinelsNobodyIsAsked(t *testing.T) {
	t.Parallel()
	new(elected).ask(t.Context())
}

// TestCallerThatLeavesWhileSentinelsAreAsked leaves in the middle of the dial: others are
// not told, as if the server were away, that they had left.
func TestCallerThatLeavesWhileSentinelsAreAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer func() { _, _ = ours.Close(), theirs.Close() }()
		d := &dialer{failed: make(map[string]*failedDial), dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(10 * time.Millisecond):
				return ours, nil
			}
		}}
		e := elected{dial: d.connect}
		ctx, leave := context.WithTimeout(t.Context(), time.Hour)
		time.AfterFunc(5*time.Millisecond, leave)
		e.ask(ctx)
		conn, err := d.connect(t.Context(), "tcp", "")
		if dead, ok := conn.(deadConn); ok || err != nil {
			t.Errorf("another's dial right after: %v, %v, want a connection", dead.err, err)
		}
	})
}
