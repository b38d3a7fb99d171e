package client_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
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

// A stream that ends while the worker stops is not replaced, since another would
// bring new work: the rest is said by calls.
func TestLastResultsGoByCallsWithoutAStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		var mu sync.Mutex
		var settled []string
		settle := func(what, token string) error {
			mu.Lock()
			defer mu.Unlock()
			settled = append(settled, what+" "+token)
			if len(settled) == 1 {
				return errAway
			}
			return nil
		}
		f := (&fake{
			streams: []func(*fakeStream) error{func(st *fakeStream) error {
				st.attempt("ok", "1")
				st.attempt("bad", "2")
				<-leave
				return errAway
			}},
			batch: func(r *retryv1.BatchReportRequest) (*retryv1.BatchReportResponse, error) {
				resp := &retryv1.BatchReportResponse{}
				for _, rep := range r.GetReports() {
					res := &retryv1.ReportResult{}
					if s := rep.GetSuccess(); s != nil {
						if err := settle("success", s.GetLeaseToken()); err != nil {
							return nil, err
						}
						res.Result = &retryv1.ReportResult_Success{Success: &retryv1.ReportSuccessResponse{Attempts: 2}}
					} else {
						if err := settle("failure", rep.GetFailure().GetLeaseToken()); err != nil {
							return nil, err
						}
						res.Result = &retryv1.ReportResult_Failure{Failure: &retryv1.ReportFailureResponse{
							Decision: &retryv1.Decision{Action: retryv1.Action_ACTION_HOLD},
						}}
					}
					resp.Results = append(resp.Results, res)
				}
				return resp, nil
			},
			release: func(r *retryv1.ReleaseLeaseRequest) (*retryv1.ReleaseLeaseResponse, error) {
				return &retryv1.ReleaseLeaseResponse{}, settle("release", r.GetLeaseToken())
			},
		}).serve(t)
		begun := make(chan struct{}, 2)
		results, tell := told(2)
		w := work(t, f.client(t), []string{"q"}, func(ctx context.Context, a *client.Attempt) error {
			begun <- struct{}{}
			if a.TaskID == "ok" {
				time.Sleep(time.Second) //nolint:forbidigo // the time of a bubble
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}, tell, client.WithShutdownTimeout(5*time.Second))
		<-begun
		<-begun
		w.cancel()
		synctest.Wait()
		close(leave)
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if ok, bad := <-results, <-results; ok.Completion == nil || !bad.Released {
			t.Errorf("results are %+v and %+v", ok, bad)
		}
		if want := []string{"success 1", "success 1", "release 2"}; !slices.Equal(settled, want) {
			t.Errorf("settled %q, want %q", settled, want)
		}
		if f.opened != 1 {
			t.Errorf("%d streams were opened", f.opened)
		}
	})
}

// An attempt that is on its way when the worker stops is handed back, not left
// to its lease.
func TestAttemptOnItsWayIsHandedBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		released := false
		f := (&fake{streams: []func(*fakeStream) error{func(st *fakeStream) error {
			if m, err := st.Recv(); err != nil || m.GetFlow() == nil || m.GetFlow().GetMaxInFlight() != 0 {
				t.Errorf("got %v, %v, want credit 0", m, err)
			}
			st.attempt("t", "token")
			for {
				m, err := st.Recv()
				if err != nil {
					return err
				}
				if o := m.GetOutcome(); o != nil {
					released = o.GetRelease() != nil
					st.confirm(o)
				}
				if e := m.GetExtend(); e != nil {
					st.lost(e)
				}
			}
		}}}).serve(t)
		w := work(t, f.client(t), []string{"q"}, func(context.Context, *client.Attempt) error {
			t.Error("it was begun")
			return nil
		})
		synctest.Wait()
		began := time.Now()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !released {
			t.Error("it was not released")
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("it took %s to stop", took)
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

func TestWorkerStopsWhileThereIsNoServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var nowhere wire
		w := work(t, nowhere.client(t), []string{"q"}, nil)
		time.Sleep(time.Minute) //nolint:forbidigo // the time of a bubble
		began := time.Now()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s to stop", took)
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
