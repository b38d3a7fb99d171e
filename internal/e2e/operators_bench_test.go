package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

var deadLetters = flag.Int("dead-letters", 100_000, "how many dead letters BenchmarkDeadLetters lists")

// BenchmarkDeadLetters lists many dead letters of 1,000 kinds: the first page,
// one in the middle, and the groups.
//
//	go test -run '^$' -bench DeadLetters -dead-letters 1000000 ./internal/e2e
func BenchmarkDeadLetters(b *testing.B) {
	for name, open := range stores() {
		b.Run(name, func(b *testing.B) {
			store := open(b)
			bury(b, store, *deadLetters, 1000)
			tasks := serve(b, store).tasks(b)
			list := func(b *testing.B, size int32, token string) *retryv1.ListTasksResponse {
				b.Helper()
				resp, err := tasks.ListTasks(b.Context(), &retryv1.ListTasksRequest{
					State: retryv1.Task_STATE_DEAD, Queue: "q", PageSize: size, PageToken: token,
				})
				if err != nil || len(resp.GetTasks()) != int(size) {
					b.Fatalf("%d tasks, error %v", len(resp.GetTasks()), err)
				}
				return resp
			}
			var middle string
			for range *deadLetters / 1000 / 2 {
				middle = list(b, 1000, middle).GetNextPageToken()
			}
			for _, page := range []struct{ name, token string }{{"first", ""}, {"middle", middle}} {
				b.Run("page/"+page.name, func(b *testing.B) {
					for b.Loop() {
						list(b, 50, page.token)
					}
				})
			}
			b.Run("groups", func(b *testing.B) {
				for b.Loop() {
					resp, err := tasks.ListDeadLetterGroups(b.Context(), &retryv1.ListDeadLetterGroupsRequest{Queue: "q"})
					if err != nil || len(resp.GetGroups()) != 50 {
						b.Fatalf("%d groups, error %v", len(resp.GetGroups()), err)
					}
				}
			})
		})
	}
}

// bury writes n dead letters of queue q and policy minute, of so many kinds.
func bury(tb testing.TB, store scheduler.Store, n, kinds int) {
	tb.Helper()
	nowMS, err := store.Now(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	payload := make([]byte, 200)
	for first := 0; first < n; first += 1000 {
		changes := make([]scheduler.Change, 0, 1000)
		for i := first; i < min(first+1000, n); i++ {
			failure := policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 500, Message: "no such thing"}
			diedMS := nowMS - int64(n-i)
			t := &scheduler.Task{
				Key:  scheduler.TaskKey{Namespace: "default", ID: fmt.Sprint("dead-", i)},
				Spec: scheduler.Spec{Queue: "q", Policy: "minute", Payload: payload}, State: scheduler.StateDead,
				Attempt: 1, Generation: 1, FirstAttempt: 1, FirstFailureMS: diedMS, EndMS: diedMS,
				DeadReason: policy.ReasonNonRetryable, ExpireMS: nowMS + time.Hour.Milliseconds(),
				Fingerprint: scheduler.Fingerprint(i%kinds + 1),
				History: []scheduler.AttemptRecord{{
					Attempt: 1, Generation: 1, TimeMS: diedMS, Failure: failure, Policy: "minute", PolicyRevision: 1,
					Decision: policy.Decision{Action: policy.ActionDeadLetter, Reason: policy.ReasonNonRetryable, Attempt: 1},
				}},
			}
			changes = append(changes, scheduler.Change{Key: t.Key, Task: t})
		}
		for _, got := range store.Commit(tb.Context(), changes) {
			if got.Err != nil || got.Status != scheduler.CommitDone {
				tb.Fatalf("%+v", got)
			}
		}
	}
}

// BenchmarkReplay replays 50,000 dead letters by repeated calls, without a rate.
//
//	go test -run '^$' -bench Replay/ -benchtime 1x ./internal/e2e
func BenchmarkReplay(b *testing.B) {
	for name, open := range stores() {
		b.Run(name, func(b *testing.B) {
			const n = 50_000
			for b.Loop() {
				b.StopTimer()
				store := open(b)
				r := serve(b, store)
				createPolicy(b, r.client(b), "minute", time.Minute)
				bury(b, store, n, 10)
				tasks := r.tasks(b)
				b.StartTimer()
				var moved int64
				for token := ""; ; {
					resp, err := tasks.ReplayTasks(b.Context(), &retryv1.ReplayTasksRequest{Queue: "q", PageToken: token})
					if err != nil {
						b.Fatal(err)
					}
					moved += resp.GetMoved()
					if token = resp.GetNextPageToken(); token == "" {
						break
					}
				}
				if moved != n {
					b.Fatalf("moved %d of %d", moved, n)
				}
			}
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

// BenchmarkReplayAtRate replays 2,000 dead letters at 100 a second, beside live
// traffic of 200 a second, and tells the rate at which they were handed out and
// how late the live attempts were, before and meanwhile.
//
//	go test -run '^$' -bench ReplayAtRate -benchtime 1x ./internal/e2e
func BenchmarkReplayAtRate(b *testing.B) {
	for name, open := range stores() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				replayAtRate(b, open(b))
			}
		})
	}
}

func replayAtRate(b *testing.B, store scheduler.Store) {
	b.Helper()
	const n, rate, before = 2_000, 100, 10 * time.Second
	r := serve(b, store)
	c := r.client(b)
	createPolicy(b, c, "minute", time.Minute)
	createPolicy(b, c, "at", time.Second)
	bury(b, store, n, 10)

	var mu sync.Mutex
	late := make(map[bool][]time.Duration) // of the live ones, by whether the replay ran
	var replayed []time.Time
	replaying := false
	all := make(chan struct{})
	stop := work(b, r.client(b), func(_ context.Context, a *client.Attempt) error {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		if a.Trigger != client.TriggerReplay {
			late[replaying] = append(late[replaying], now.Sub(a.DueTime))
			return nil
		}
		if replayed = append(replayed, now); len(replayed) == n {
			close(all)
		}
		return nil
	}, client.WithMaxInFlight(128), client.WithConcurrency(128))
	defer stop()

	ctx, cancel := context.WithCancel(b.Context())
	var live sync.WaitGroup
	live.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := c.ReportFailure(b.Context(), client.Task{ID: fmt.Sprint("live-", i), Queue: "q", Policy: "at"}, client.TimeoutFailure()); err != nil {
				b.Error(err)
				return
			}
			<-tick.C
		}
	})
	<-time.After(before)
	mu.Lock()
	replaying = true
	mu.Unlock()
	tasks := r.tasks(b)
	for token := ""; ; {
		resp, err := tasks.ReplayTasks(b.Context(), &retryv1.ReplayTasksRequest{Queue: "q", Rate: rate, PageToken: token})
		if err != nil {
			b.Fatal(err)
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	<-all
	cancel()
	live.Wait()
	mu.Lock()
	defer mu.Unlock()
	b.ReportMetric(float64(n-1)/replayed[n-1].Sub(replayed[0]).Seconds(), "replays/s")
	for on, what := range map[bool]string{false: "before", true: "meanwhile"} {
		slices.Sort(late[on])
		b.ReportMetric(float64(late[on][len(late[on])/2].Microseconds())/1000, "p50-ms-"+what)
		b.ReportMetric(float64(late[on][len(late[on])*99/100].Microseconds())/1000, "p99-ms-"+what)
	}
}
