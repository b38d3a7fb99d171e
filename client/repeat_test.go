package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

var errAway = status.Error(codes.Unavailable, "away")

// failing answers with the errors, one after the other, and then with nil.
func failing(errs ...error) func() error {
	return func() error {
		if len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
}

func TestRepeatsKeepOneKey(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		opts []client.ReportOption
		// want is the key; * is any.
		want string
	}{
		"made up":        {want: "*"},
		"the caller's":   {opts: []client.ReportOption{client.WithIdempotencyKey("mine")}, want: "mine"},
		"with attempt":   {opts: []client.ReportOption{client.WithAttempt(2)}, want: "*"},
		"beside a token": {opts: []client.ReportOption{client.WithLeaseToken("token")}, want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var keys []string
				next := failing(errAway, errAway, refusal(codes.Unavailable, "STORE_UNAVAILABLE", time.Second),
					refusal(codes.ResourceExhausted, "STORE_FULL", time.Second))
				f := (&fake{failure: func(r *retryv1.ReportFailureRequest) (*retryv1.ReportFailureResponse, error) {
					keys = append(keys, r.GetIdempotencyKey())
					return &retryv1.ReportFailureResponse{}, next()
				}}).serve(t)
				c := f.client(t)
				for range 2 {
					if _, err := c.ReportFailure(t.Context(), client.Task{ID: "t"}, errors.New("boom"), test.opts...); err != nil {
						t.Fatal(err)
					}
				}
				if len(keys) != 6 {
					t.Fatalf("%d calls, want 5 and 1", len(keys))
				}
				for i, key := range keys[:5] {
					if key != keys[0] {
						t.Errorf("try %d has key %q, the first %q", i+1, key, keys[0])
					}
				}
				if test.want != "*" && keys[0] != test.want || test.want == "*" && len(keys[0]) < 20 {
					t.Errorf("key is %q, want %q", keys[0], test.want)
				}
				if test.want == "*" && keys[5] == keys[0] {
					t.Error("two calls have the same key")
				}
			})
		})
	}
}

func TestRepeatWaitsAsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := failing(refusal(codes.Unavailable, "STORE_UNAVAILABLE", 7*time.Second))
		f := (&fake{success: func(*retryv1.ReportSuccessRequest) (*retryv1.ReportSuccessResponse, error) {
			return &retryv1.ReportSuccessResponse{}, next()
		}}).serve(t)
		c := f.client(t)
		began := time.Now()
		if _, err := c.ReportSuccess(t.Context(), client.Task{ID: "t"}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 7*time.Second || took > 10*time.Second {
			t.Errorf("it took %s, want 7 s and a jitter", took)
		}
	})
}

func TestRepeatsEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		opts     []client.Option
		deadline time.Duration
		err      error
		calls    int
		within   time.Duration
	}{
		// The first pauses are at most 100, 200, 400, 800 ms, and so on.
		"by themselves":           {err: errAway, calls: 5, within: 30 * time.Second},
		"as the caller says":      {err: errAway, opts: []client.Option{client.WithRetryTimeout(time.Second)}, calls: 3, within: time.Second},
		"before the context does": {err: errAway, deadline: time.Second, calls: 3, within: time.Second},
		"at once when that is to be": {
			err: errAway, opts: []client.Option{client.WithRetryTimeout(0)}, calls: 1,
		},
		"at once when the delay is too long": {
			err: refusal(codes.Unavailable, "STORE_UNAVAILABLE", time.Minute), calls: 1,
		},
		"at once when refused": {err: refusal(codes.FailedPrecondition, "WRONG_STATE", 0), calls: 1},
		// As gRPC says of a message over its limit.
		"at once when too large": {err: status.Error(codes.ResourceExhausted, "too large"), calls: 1},
		"at once when broken":    {err: status.Error(codes.Internal, "broken"), calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				f := (&fake{success: func(*retryv1.ReportSuccessRequest) (*retryv1.ReportSuccessResponse, error) {
					calls++
					return nil, test.err
				}}).serve(t)
				c := f.client(t, test.opts...)
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				began := time.Now()
				_, err := c.ReportSuccess(ctx, client.Task{ID: "t"})
				if status.Code(err) != status.Code(test.err) {
					t.Errorf("error is %v, want %v", err, test.err)
				}
				if calls < test.calls || test.calls == 1 && calls > 1 {
					t.Errorf("%d calls, want %d", calls, test.calls)
				}
				if took := time.Since(began); took > test.within {
					t.Errorf("it took %s, want %s", took, test.within)
				}
			})
		})
	}
}

func TestWhatIsRepeated(t *testing.T) {
	t.Parallel()
	refused := refusal(codes.Unavailable, "STORE_UNAVAILABLE", time.Second)
	unsafe := refusal(codes.Unavailable, "DURABILITY_NOT_REACHED", time.Second)
	for name, test := range map[string]struct {
		call func(context.Context, *client.Client) error
		err  error
		want bool
	}{
		"failure with nothing to know it by": {raw(&retryv1.ReportFailureRequest{}), errAway, false},
		"failure with attempt":               {raw(&retryv1.ReportFailureRequest{Attempt: 1}), errAway, true},
		"failure with key":                   {raw(&retryv1.ReportFailureRequest{IdempotencyKey: "k"}), errAway, true},
		"failure with token":                 {raw(&retryv1.ReportFailureRequest{LeaseToken: "k"}), errAway, true},
		"take by queue, answer lost":         {next(client.Next{Queue: "q"}), errAway, false},
		"take by queue, refused":             {next(client.Next{Queue: "q"}), refused, true},
		"take by queue, not safe":            {next(client.Next{Queue: "q"}), unsafe, false},
		"take by task, answer lost":          {next(client.Next{TaskID: "t", Lease: time.Minute}), errAway, true},
		"tell, answer lost":                  {next(client.Next{TaskID: "t"}), errAway, true},
		"release, answer lost": {func(ctx context.Context, c *client.Client) error {
			return c.ReleaseLease(ctx, "token", 0)
		}, errAway, true},
		"batch with a report that has nothing to know it by": {rawBatch(""), errAway, false},
		"batch": {rawBatch("k"), errAway, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				errs := failing(test.err)
				f := (&fake{
					failure: func(*retryv1.ReportFailureRequest) (*retryv1.ReportFailureResponse, error) {
						return &retryv1.ReportFailureResponse{}, errs()
					},
					batch: func(*retryv1.BatchReportRequest) (*retryv1.BatchReportResponse, error) {
						return &retryv1.BatchReportResponse{}, errs()
					},
					next: func(*retryv1.NextAttemptRequest) (*retryv1.NextAttemptResponse, error) {
						return &retryv1.NextAttemptResponse{}, errs()
					},
					release: func(*retryv1.ReleaseLeaseRequest) (*retryv1.ReleaseLeaseResponse, error) {
						return &retryv1.ReleaseLeaseResponse{}, errs()
					},
				}).serve(t)
				err := test.call(t.Context(), f.client(t))
				if repeated := err == nil; repeated != test.want {
					t.Errorf("repeated: %t, want %t (%v)", repeated, test.want, err)
				}
			})
		})
	}
}

func raw(r *retryv1.ReportFailureRequest) func(context.Context, *client.Client) error {
	return func(ctx context.Context, c *client.Client) error {
		_, err := c.Retry().ReportFailure(ctx, r)
		return err
	}
}

func rawBatch(key string) func(context.Context, *client.Client) error {
	return func(ctx context.Context, c *client.Client) error {
		_, err := c.Retry().BatchReport(ctx, &retryv1.BatchReportRequest{Reports: []*retryv1.Report{
			{Report: &retryv1.Report_Success{Success: &retryv1.ReportSuccessRequest{}}},
			{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{IdempotencyKey: key}}},
		}})
		return err
	}
}

func next(n client.Next) func(context.Context, *client.Client) error {
	return func(ctx context.Context, c *client.Client) error {
		_, err := c.NextAttempt(ctx, n)
		return err
	}
}

func TestRepeatOfALeaseByTaskKeepsTheWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		errs := failing(errAway)
		f := (&fake{next: func(r *retryv1.NextAttemptRequest) (*retryv1.NextAttemptResponse, error) {
			ids = append(ids, r.GetWorkerId())
			return &retryv1.NextAttemptResponse{}, errs()
		}}).serve(t)
		c := f.client(t)
		for range 2 {
			if err := next(client.Next{TaskID: "t", Lease: time.Minute})(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		// Another call of the same program must not be given the same lease.
		if len(ids) != 3 || ids[0] == "" || ids[0] != ids[1] || ids[1] == ids[2] {
			t.Errorf("worker ids are %q", ids)
		}
	})
}

func TestBatchRepeatsOnlyWhatTheStoreMissed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked [][]string
		f := (&fake{batch: func(r *retryv1.BatchReportRequest) (*retryv1.BatchReportResponse, error) {
			resp := &retryv1.BatchReportResponse{}
			var ids []string
			for i, rep := range r.GetReports() {
				id := rep.GetSuccess().GetTask().GetId() + rep.GetSuccess().GetIdempotencyKey()
				ids = append(ids, id)
				res := &retryv1.ReportResult{Result: &retryv1.ReportResult_Success{
					Success: &retryv1.ReportSuccessResponse{TaskId: id},
				}}
				if len(asked) == 0 && i%2 == 1 {
					res.Result = &retryv1.ReportResult_Error{Error: storeAway(time.Second)}
				}
				resp.Results = append(resp.Results, res)
			}
			asked = append(asked, ids)
			return resp, nil
		}}).serve(t)
		res, err := f.client(t).ReportBatch(t.Context(), []client.Report{
			{Task: client.Task{ID: "a"}}, {Task: client.Task{ID: "b"}}, {Task: client.Task{ID: "c"}}, {Task: client.Task{ID: "d"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(asked) != 2 || len(asked[1]) != 2 || asked[1][0] != asked[0][1] || asked[1][1] != asked[0][3] {
			t.Errorf("asked for %q", asked)
		}
		for i, r := range res {
			if r.Completion == nil || !strings.HasPrefix(r.Completion.TaskID, string(rune('a'+i))) {
				t.Errorf("result %d is %+v", i, r)
			}
		}
	})
}

// A server that hangs must not use up the time of a caller who has more.
func TestTryThatHangsIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		f := (&fake{success: func(*retryv1.ReportSuccessRequest) (*retryv1.ReportSuccessResponse, error) {
			if calls.Add(1) == 1 {
				time.Sleep(time.Minute) //nolint:forbidigo // the time of a bubble, and the hanging itself
			}
			return &retryv1.ReportSuccessResponse{}, nil
		}}).serve(t)
		if _, err := f.client(t).ReportSuccess(t.Context(), client.Task{ID: "t"}); err != nil {
			t.Error(err)
		}
	})
}

func TestServerThatComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.client(t)
		policy(t, c, time.Second, 1)
		s.stop()
		time.AfterFunc(12*time.Second, s.serve)
		began := time.Now()
		if _, err := c.ReportSuccess(t.Context(), client.Task{ID: "t"}); err != nil {
			t.Fatal(err)
		}
		// gRPC dials once more up to 12.6 s after a dial that came too early, and the call is
		// repeated a moment after that.
		if took := time.Since(began); took < 12*time.Second || took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
		// What waits for a connection needs no repeat.
		s.stop()
		time.AfterFunc(4*time.Second, s.serve)
		if _, err := c.NextAttempt(t.Context(), client.Next{Queue: "q"}); err != nil {
			t.Error(err)
		}
	})
}

func TestConnectionsArePlainOnlyToThisMachine(t *testing.T) {
	t.Parallel()
	// Nothing listens there, or what does gets no further than its greeting.
	var lc net.ListenConfig
	lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	first := make(chan byte, 1)
	go func() {
		conn, err := lis.Accept()
		if err != nil {
			return
		}
		b := make([]byte, 1)
		_, _ = conn.Read(b)
		first <- b[0]
		_ = conn.Close()
	}()
	c, err := client.New(lis.Addr().String(), client.WithRetryTimeout(0))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.ReportSuccess(t.Context(), client.Task{ID: "t"})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := recv(t, first); got != 'P' { // HTTP/2 begins with PRI, TLS with 0x16
		t.Errorf("the connection begins with %#x", got)
	}
}

// The server cuts off who pings more often than it permits.
func TestIdleConnectionIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.client(t)
		for range 3 {
			if _, err := c.ReportSuccess(t.Context(), client.Task{ID: "t"}); err != nil {
				t.Error(err)
			}
			time.Sleep(8 * time.Minute) //nolint:forbidigo // the time of a bubble
		}
		s.wire.mu.Lock()
		defer s.wire.mu.Unlock()
		if s.dials != 1 {
			t.Errorf("%d connections were made", s.dials)
		}
	})
}
