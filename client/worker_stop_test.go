package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func TestWorkerStopsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.client(t)
		policy(t, c, time.Second, 5)
		for i := range 4 {
			fail(t, c, "q", fmt.Sprint("t", i))
		}
		results, tell := told(10)
		begun := make(chan string, 4)
		w := work(t, c, []string{"q"}, func(ctx context.Context, a *client.Attempt) error {
			begun <- a.TaskID
			time.Sleep(20 * time.Second) //nolint:forbidigo // the time of a bubble
			return ctx.Err()             // not cancelled in its time
		}, tell, client.WithConcurrency(2))
		ran := map[string]bool{<-begun: true, <-begun: true}
		synctest.Wait() // the other two wait at hand
		at := time.Now()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(at); took < 19*time.Second || took > 21*time.Second {
			t.Errorf("it took %s to stop", took)
		}
		for range 4 {
			if r := <-results; r.Released == ran[r.Attempt.TaskID] {
				t.Errorf("result of %s is %+v; begun: %t", r.Attempt.TaskID, r, ran[r.Attempt.TaskID])
			}
		}
		// Those released are due at once, with no lease to wait for.
		for range 2 {
			n, err := c.NextAttempt(t.Context(), client.Next{Queue: "q"})
			if err != nil || n.Leased == nil {
				t.Errorf("next is %+v, %v", n, err)
			}
		}
	})
}

func TestWorkerCancelsHandlersThatTakeTooLong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handle   func(context.Context) error
		released bool
	}{
		"an error says nothing": {func(ctx context.Context) error { return ctx.Err() }, true},
		"a failure counts":      {func(context.Context) error { return client.TimeoutFailure() }, false},
		"a success counts":      {func(context.Context) error { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newSite(t).client(t)
				policy(t, c, time.Second, 5)
				fail(t, c, "q", "t")
				results, tell := told(1)
				begun := make(chan struct{})
				w := work(t, c, []string{"q"}, func(ctx context.Context, _ *client.Attempt) error {
					close(begun)
					<-ctx.Done()
					if !errors.Is(context.Cause(ctx), client.ErrWorkerStopped) {
						t.Errorf("cause is %v", context.Cause(ctx))
					}
					return test.handle(ctx)
				}, tell, client.WithShutdownTimeout(7*time.Second))
				<-begun
				at := time.Now()
				if err := w.stop(); err != nil {
					t.Error(err)
				}
				if took := time.Since(at); took < 7*time.Second || took > 8*time.Second {
					t.Errorf("it took %s to stop", took)
				}
				if r := <-results; r.Released != test.released || r.Refused != nil {
					t.Errorf("result is %+v", r)
				}
			})
		})
	}
}

func TestWorkerLeavesHandlersThatDoNotReturn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newSite(t).client(t)
		policy(t, c, time.Second, 5)
		fail(t, c, "q", "t")
		begun, end := make(chan struct{}), make(chan struct{})
		w := work(t, c, []string{"q"}, func(context.Context, *client.Attempt) error {
			close(begun)
			<-end
			return nil
		}, client.WithShutdownTimeout(time.Second))
		<-begun
		if err := w.stop(); err == nil || !strings.Contains(err.Error(), "1 handlers did not return") {
			t.Errorf("error is %v", err)
		}
		close(end)
		synctest.Wait()
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
