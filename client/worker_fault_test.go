package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/client"
)

// A stream that breaks between an outcome and its result leaves open whether it
// was taken. The outcome is sent again, and the handler not run again.
func TestOutcomeIsSentAgainOnTheNextStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		grown := make(chan struct{})
		f := (&fake{streams: []func(*fakeStream) error{
			func(st *fakeStream) error {
				st.attempt("t", "token")
				if o, err := st.outcome(); err != nil || o.GetSuccess() == nil {
					t.Errorf("outcome is %v, %v", o, err)
				}
				return errAway
			},
			func(*fakeStream) error { return errAway },
			func(st *fakeStream) error {
				if got := st.open.GetMaxInFlight(); got != 31 {
					t.Errorf("credit is %d while one of 32 is held", got)
				}
				o, err := st.outcome()
				if err != nil || o.GetLeaseToken() != "token" || o.GetSuccess() == nil {
					t.Errorf("outcome is %v, %v", o, err)
				}
				st.confirm(o)
				if m, err := st.Recv(); err != nil || m.GetFlow().GetMaxInFlight() != 32 {
					t.Errorf("credit is %v, %v; want 32 again", m, err)
				}
				close(grown)
				return st.mute()
			},
		}}).serve(t)
		runs := make(chan struct{}, 2)
		results, tell := told(2)
		w := work(t, f.client(t), []string{"q"}, func(context.Context, *client.Attempt) error {
			runs <- struct{}{}
			return nil
		}, tell)
		if r := <-results; r.Completion == nil {
			t.Errorf("result is %+v", r)
		}
		<-grown
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if len(runs) != 1 || len(results) != 0 {
			t.Errorf("%d runs, %d further results", len(runs), len(results))
		}
	})
}

func TestOutcomeIsSentAgainWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := (&fake{streams: []func(*fakeStream) error{func(st *fakeStream) error {
			st.attempt("t", "token")
			for range 3 {
				at := time.Now()
				o, err := st.outcome()
				if err != nil {
					return err
				}
				st.refuse(o, storeAway(5*time.Second))
				if took := time.Since(at); took > 0 && took < 5*time.Second {
					t.Errorf("it was sent again after %s", took)
				}
			}
			o, err := st.outcome()
			if err != nil {
				return err
			}
			st.confirm(o)
			return st.mute()
		}}}).serve(t)
		results, tell := told(1)
		work(t, f.client(t), []string{"q"}, func(context.Context, *client.Attempt) error { return nil }, tell)
		if r := <-results; r.Completion == nil || r.Refused != nil {
			t.Errorf("result is %+v", r)
		}
	})
}

func TestOutcomeOfALostLeaseIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := (&fake{streams: []func(*fakeStream) error{func(st *fakeStream) error {
			st.attempt("t", "token")
			o, err := st.outcome()
			if err != nil {
				return err
			}
			st.refuse(o, leaseLost())
			if o, err := st.outcome(); err == nil {
				t.Errorf("another outcome: %v", o)
			}
			return nil
		}}}).serve(t)
		results, tell := told(1)
		w := work(t, f.client(t), []string{"q"}, func(context.Context, *client.Attempt) error { return nil }, tell)
		if r := <-results; !errors.Is(r.Refused, client.ErrLeaseLost) {
			t.Errorf("result is %+v", r)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestLostLeaseCancelsTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := (&fake{streams: []func(*fakeStream) error{func(st *fakeStream) error {
			st.attempt("t", "token")
			st.attempt("at hand", "another")
			m, err := st.Recv()
			if err != nil {
				return err
			}
			tokens := m.GetExtend().GetLeaseTokens()
			slices.Sort(tokens)
			if !slices.Equal(tokens, []string{"another", "token"}) {
				t.Errorf("got %v, want the extension of both", m)
			}
			st.lost(m.GetExtend())
			if o, err := st.outcome(); err == nil {
				t.Errorf("there is an outcome: %v", o)
			}
			return nil
		}}}).serve(t)
		began := time.Now()
		results, tell := told(2)
		w := work(t, f.client(t), []string{"q"}, func(ctx context.Context, a *client.Attempt) error {
			if a.TaskID != "t" {
				t.Errorf("%s was begun", a.TaskID)
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), client.ErrLeaseLost) {
				t.Errorf("cause is %v", context.Cause(ctx))
			}
			return ctx.Err()
		}, tell, client.WithConcurrency(1), client.WithLeaseDuration(30*time.Second))
		for range 2 {
			if r := <-results; !errors.Is(r.Refused, client.ErrLeaseLost) {
				t.Errorf("result is %+v", r)
			}
		}
		if took := time.Since(began); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("the lease of 30 s was renewed after %s", took)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// While a server drains, the next stream is opened at once, and what is under
// way is settled on the old one.
func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		second := make(chan struct{})
		gone := make(chan struct{})
		f := (&fake{streams: []func(*fakeStream) error{
			func(st *fakeStream) error {
				defer close(gone)
				st.attempt("t", "token")
				st.drain()
				o, err := st.outcome()
				if err != nil {
					t.Errorf("the stream was left too early: %v", err)
					return err
				}
				st.confirm(o)
				if _, err := st.Recv(); status.Code(err) != codes.Canceled {
					t.Errorf("the stream was not left: %v", err)
				}
				return nil
			},
			func(st *fakeStream) error {
				close(second)
				return st.mute()
			},
		}}).serve(t)
		results, tell := told(1)
		w := work(t, f.client(t), []string{"q"}, func(context.Context, *client.Attempt) error {
			<-second
			return nil
		}, tell)
		if r := <-results; r.Completion == nil {
			t.Errorf("result is %+v", r)
		}
		<-gone
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A server that is away for a day is not asked more often than needed, and is
// come back to.
func TestWorkerWaitsLongForAServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{streams: make([]func(*fakeStream) error, 1000)}
		for i := range f.streams {
			f.streams[i] = func(*fakeStream) error { return errAway }
		}
		f.serve(t)
		w := work(t, f.client(t), []string{"q"}, nil)
		time.Sleep(time.Hour) //nolint:forbidigo // the time of a bubble
		synctest.Wait()
		f.mu.Lock()
		n := f.opened
		f.mu.Unlock()
		// From 5 to 10 s apart.
		if n < 360 || n > 730 {
			t.Errorf("%d streams were opened in an hour", n)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// Streams that end now and then, after having brought something, are replaced
// without a growing pause.
func TestStreamThatWorkedIsReplacedSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{streams: make([]func(*fakeStream) error, 20)}
		for i := range f.streams {
			f.streams[i] = func(st *fakeStream) error {
				st.attempt("t", string(rune('a'+i)))
				o, err := st.outcome()
				if err != nil {
					return err
				}
				st.confirm(o)
				return errAway
			}
		}
		f.serve(t)
		began := time.Now()
		results, tell := told(len(f.streams))
		work(t, f.client(t), []string{"q"}, func(context.Context, *client.Attempt) error { return nil }, tell)
		for range f.streams {
			<-results
		}
		if took := time.Since(began); took > time.Duration(len(f.streams))*100*time.Millisecond {
			t.Errorf("%d streams took %s", len(f.streams), took)
		}
	})
}
