package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/client"
)

// observe looks on until the test ends, or stop is called, which gives back what
// Observe returned.
func observe(t *testing.T, c *client.Client, queues ...string) (shown chan *client.Attempt, stop func() error) {
	t.Helper()
	shown = make(chan *client.Attempt, 10)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- c.Observe(ctx, queues, func(a *client.Attempt) { shown <- a }) }()
	t.Cleanup(cancel)
	return shown, func() error {
		cancel()
		return <-ended
	}
}

// TestObserveShowsWhatFallsDue looks on over restarts of the server, and takes
// nothing from the workers. What still waits then is not shown again, and what a
// worker hands back, or lets go, is.
func TestObserveShowsWhatFallsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.client(t)
		policy(t, c, time.Hour, 3)
		shown, stop := observe(t, c, "other", "q")
		see := func(id string, state client.State) {
			t.Helper()
			var a *client.Attempt
			select {
			case a = <-shown:
			case <-time.After(24 * time.Hour):
				t.Fatalf("%s is not shown within a day", id)
			}
			if a.TaskID != id || a.Queue != "q" || a.Number != 2 || a.Delivery != 0 || a.LeaseToken != "" || string(a.Payload) != "payload of "+id {
				t.Errorf("shown is %+v, want %s", a, id)
			}
			if n := stateOf(t, c, id); n.State != state {
				t.Errorf("%s is %s", id, n.State)
			}
		}
		for _, id := range []string{"a", "b"} {
			fail(t, c, "q", id)
			see(id, client.StateScheduled)
			s.stop()
			s.serve()
		}
		fail(t, c, "q", "c")
		see("c", client.StateScheduled)
		n, err := c.NextAttempt(t.Context(), client.Next{TaskID: "a", Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ReleaseLease(t.Context(), n.Leased.LeaseToken, time.Hour); err != nil {
			t.Fatal(err)
		}
		see("a", client.StateScheduled)
		s.stop()
		s.serve()
		if _, err := c.NextAttempt(t.Context(), client.Next{TaskID: "b", Lease: time.Minute}); err != nil {
			t.Fatal(err)
		}
		see("b", client.StateLeased) // once its lease is over
		if err := stop(); err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestObserveGivesUpOnlyWhereNothingHelps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newSite(t).client(t)
		if err := c.Observe(t.Context(), []string{"not a name"}, nil); !errors.Is(err, client.ErrInvalidRequest) {
			t.Errorf("of a bad name: %v", err)
		}
		for _, queues := range [][]string{nil, make([]string, 101)} {
			if err := c.Observe(t.Context(), queues, nil); err == nil {
				t.Errorf("of %d queues: no error", len(queues))
			}
		}
		tries := 0
		ends := func(err error) func(*fakeStream) error {
			return func(*fakeStream) error { tries++; return err }
		}
		f := (&fake{streams: []func(*fakeStream) error{
			ends(errAway), ends(nil),
			func(st *fakeStream) error {
				tries++
				st.drain()
				return st.mute()
			},
			ends(status.Error(codes.PermissionDenied, "not yours")),
		}}).serve(t)
		err := f.client(t).Observe(t.Context(), []string{"q"}, nil)
		if e := new(client.Error); !errors.As(err, &e) || e.Code != codes.PermissionDenied || tries != 4 {
			t.Errorf("after %d tries: %v", tries, err)
		}
	})
}
