package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/server"
)

// connect stands in for client.New("localhost:7600"): it starts a server of its
// own, with a policy "webhooks" that retries after 10 ms, 20 ms and 40 ms.
func connect() (c *client.Client, closeAll func(), err error) {
	quiet := slog.New(slog.DiscardHandler)
	sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: quiet})
	if err != nil {
		return nil, nil, err
	}
	srv, err := server.New(server.Config{Log: quiet}, sched)
	if err != nil {
		return nil, nil, err
	}
	lis := bufconn.Listen(1 << 20)
	c, err = client.New("passthrough:///example", client.WithInsecure(), client.WithLogger(quiet),
		client.WithDialOptions(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return lis.DialContext(ctx)
		})))
	if err != nil {
		return nil, nil, err
	}
	scheduling, unschedule := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancel(scheduling)
	var scheduled, served sync.WaitGroup
	scheduled.Go(func() { _ = sched.Run(scheduling) })
	served.Go(func() { _ = srv.Run(ctx, lis) })
	closeAll = func() {
		_ = c.Close()
		cancel()
		served.Wait()
		unschedule()
		scheduled.Wait()
	}
	_, err = c.Policies().CreatePolicy(ctx, &retryv1.CreatePolicyRequest{Policy: &retryv1.Policy{
		Id: "webhooks", DisplayName: "Webhooks", MaxRetries: 3, DefaultAction: retryv1.Action_ACTION_RETRY,
		Schedule: &retryv1.Policy_Exponential{Exponential: &retryv1.ExponentialDelay{
			InitialDelay: durationpb.New(10 * time.Millisecond),
		}},
	}})
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return c, closeAll, nil
}

// A program reports how its own first attempt failed, and is told what becomes
// of the task.
func ExampleClient_ReportFailure() {
	c, closeAll, err := connect()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeAll()

	task := client.Task{
		ID:      "order-42",
		Queue:   "webhooks",
		Policy:  "webhooks",
		Payload: []byte(`{"order":42}`),
	}
	failed := errors.New("the destination is on fire") // of the attempt just made

	decision, err := c.ReportFailure(context.Background(), task, failed, client.WithAttempt(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(decision)
	fmt.Println(decision.Reason, "-", decision.RetriesLeft, "more after that")
	// Output:
	// attempt 2 in 10ms
	// RETRY_SCHEDULED - 2 more after that
}

// A worker makes the attempts of its queues as they fall due. Whatever error its
// handler returns, the task's policy says what follows.
func ExampleWorker() {
	c, closeAll, err := connect()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeAll()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	task := client.Task{ID: "order-42", Queue: "webhooks", Policy: "webhooks", Payload: []byte("hello")}
	if _, err := c.ReportFailure(ctx, task, client.HTTPFailure(503, "")); err != nil {
		fmt.Println(err)
		return
	}

	worker, err := client.NewWorker(c, []string{"webhooks"})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = worker.Run(ctx, func(_ context.Context, a *client.Attempt) error {
		fmt.Printf("attempt %d of %s, payload %q, after %s\n", a.Number, a.TaskID, a.Payload, a.LastFailure)
		if a.Number < 3 {
			return client.HTTPFailure(http.StatusTooManyRequests, "")
		}
		stop() // the example ends here; a worker runs on
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := c.NextAttempt(context.Background(), client.Next{TaskID: "order-42"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(n.State)
	// Output:
	// attempt 2 of order-42, payload "hello", after HTTP 503 Service Unavailable
	// attempt 3 of order-42, payload "hello", after HTTP 429 Too Many Requests
	// SUCCEEDED
}

// A task without a queue is retried by its owner, who asks when.
func ExampleClient_NextAttempt() {
	c, closeAll, err := connect()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeAll()
	ctx := context.Background()

	task := client.Task{ID: "nightly-export", Policy: "webhooks"}
	if _, err := c.ReportFailure(ctx, task, client.TimeoutFailure()); err != nil {
		fmt.Println(err)
		return
	}
	next, err := c.NextAttempt(ctx, client.Next{TaskID: task.ID, Wait: time.Minute, Lease: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("attempt", next.Leased.Number)
	done, err := c.ReportSuccess(ctx, client.Task{}, client.WithLeaseToken(next.Leased.LeaseToken))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(done.TaskID, "took", done.Attempts, "attempts")
	// Output:
	// attempt 2
	// nightly-export took 2 attempts
}

// The policy of a task may come from a job, which has one for each environment that
// needs its own: configuration alone says how the nightly export is retried.
func ExampleClient_Jobs() {
	c, closeAll, err := connect()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeAll()
	ctx := context.Background()

	_, err = c.Jobs().CreateJob(ctx, &retryv1.CreateJobRequest{Job: &retryv1.Job{
		Id: "nightly-export", DisplayName: "Nightly export",
		Environments: map[string]*retryv1.JobEnvironment{"production": {Policy: "webhooks"}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, environment := range []string{"production", "staging"} {
		task := client.Task{ID: "export-" + environment, Job: "nightly-export", Environment: environment}
		decision, err := c.ReportFailure(ctx, task, errors.New("disk full"), client.WithAttempt(1))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %s\n", environment, decision)
	}
	// Output:
	// production: attempt 2 in 10ms
	// staging: dead letter: NO_POLICY
}

// After an outage the dead letters of a queue are looked at by what they died of,
// and those worth it are replayed, no faster than the destination can bear.
func ExampleClient_ReplayAll() {
	c, closeAll, err := connect()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeAll()
	ctx := context.Background()

	for i := range 30 {
		failure := client.Permanent(fmt.Errorf("mailbox %d is full", i))
		if i%10 == 0 {
			failure = client.Permanent(errors.New("no such user"))
		}
		task := client.Task{ID: fmt.Sprint("mail-", i), Queue: "mail", Policy: "webhooks"}
		if _, err := c.ReportFailure(ctx, task, failure); err != nil {
			fmt.Println(err)
			return
		}
	}
	var largest *retryv1.DeadLetterGroup
	for group, err := range c.AllDeadLetterGroups(ctx, &retryv1.ListDeadLetterGroupsRequest{Queue: "mail"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if largest == nil {
			largest = group
		}
		fmt.Println(group.GetCount(), "died like", group.GetSample().GetTaskId()[:5])
	}
	replay := &retryv1.ReplayTasksRequest{Queue: "mail", Fingerprint: largest.GetFingerprint(), Rate: 100}
	done, err := c.ReplayAll(ctx, replay, func(p client.Progress) {
		fmt.Println(p.Moved, "scheduled,", p.Remaining, "to go")
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(done.Moved, "replayed")
	// Output:
	// 27 died like mail-
	// 3 died like mail-
	// 27 scheduled, 0 to go
	// 27 replayed
}

// Refusals are told apart by their reasons.
func ExampleError() {
	c, closeAll, err := connect()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeAll()

	_, err = c.ReportFailure(context.Background(), client.Task{ID: "t", Policy: "none"}, errors.New("boom"))
	var e *client.Error
	if errors.As(err, &e) && errors.Is(err, client.ErrPolicyNotFound) {
		fmt.Println(e.Code, e.Reason)
	}
	// Output: NotFound POLICY_NOT_FOUND
}

// CheckHTTP makes a handler of a request.
func ExampleCheckHTTP() {
	handle := func(ctx context.Context, a *client.Attempt) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Attributes["url"], http.NoBody)
		if err != nil {
			return client.Permanent(err)
		}
		req.Header.Set("Idempotency-Key", a.TaskID)
		resp, err := http.DefaultClient.Do(req)
		if resp != nil {
			defer func() { _ = resp.Body.Close() }()
		}
		return client.CheckHTTP(resp, err)
	}
	err := handle(context.Background(), &client.Attempt{
		TaskID:     "order-42",
		Attributes: map[string]string{"url": "http://127.0.0.1:1/hook?token=secret"},
	})
	fmt.Println(client.FailureFrom(err).Cause)
	// Output: connection refused
}

// Any error can be reported; what it is made into is what rules match.
func ExampleFailureFrom() {
	fmt.Println(client.FailureFrom(context.DeadlineExceeded).Cause)
	fmt.Println(client.FailureFrom(&net.DNSError{Err: "no such host", Name: "example.invalid"}).Cause)
	fmt.Println(client.FailureFrom(client.Permanent(errors.New("no such order"))).Permanent)

	f := client.OutcomeFailure("busy")
	f.Code = "30007"
	fmt.Println(client.FailureFrom(fmt.Errorf("call: %w", f)).Code)
	// Output:
	// timeout
	// connection dns
	// true
	// 30007
}
