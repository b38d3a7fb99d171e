package server_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

func TestCreditIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("quick", time.Millisecond)
		for i := range 10 {
			s.fail("q", fmt.Sprint(i), "quick")
		}
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: 2})
		got := w.receiveAll()
		synctest.Wait()
		pass(5 * time.Second)
		if n := len(got()); n != 2 {
			t.Fatalf("%d attempts out with a credit of 2", n)
		}
		w.flow(5)
		pass(time.Second)
		if n := len(got()); n != 5 {
			t.Fatalf("%d attempts out with a credit of 5", n)
		}
		w.flow(0)
		pass(time.Second)
		for _, a := range got() {
			w.succeed(a.GetLeaseToken())
		}
		pass(5 * time.Second)
		if n := len(got()); n != 5 {
			t.Fatalf("%d attempts came after Flow 0", n)
		}
		w.flow(32)
		pass(time.Second)
		if n := len(got()); n != 10 {
			t.Fatalf("%d attempts of 10 came in the end", n)
		}
	})
}

func (w *worker) receiveAll() func() []*retryv1.Attempt {
	var mu sync.Mutex
	var attempts []*retryv1.Attempt
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			msg, err := w.stream.Recv()
			if err != nil {
				return
			}
			if a := msg.GetAttempt(); a != nil {
				mu.Lock()
				attempts = append(attempts, a)
				mu.Unlock()
			}
		}
	}()
	w.t.Cleanup(func() { w.cancel(); <-done })
	return func() []*retryv1.Attempt {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(attempts)
	}
}

func TestUnsentAttemptsAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{SendTimeout: 10 * time.Second})
		s.policy("quick", time.Millisecond)
		payload := make([]byte, 100<<10)
		const n = 20
		for i := range n {
			if _, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
				Task: &retryv1.TaskSpec{Id: fmt.Sprint(i), Queue: "q", Policy: "quick", Payload: payload}, Failure: httpFailure(503),
			}); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		// A client that does not read fills its window, and then the server's patience.
		slow := s.open(retryv1.NewRetryServiceClient(s.dial(smallWindows()...)), &retryv1.Open{Queues: []string{"q"}, MaxInFlight: n, LeaseDuration: durationpb.New(time.Hour)})
		pass(9 * time.Second)
		if got := s.srv.Counters().SlowConsumers; got != 0 {
			t.Fatalf("cut %d streams within 9 s", got)
		}
		pass(2 * time.Second)
		if got := s.srv.Counters().SlowConsumers; got != 1 {
			t.Fatalf("cut %d streams within 11 s", got)
		}
		// What it was never sent goes to others, at once and as a first delivery.
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: n})
		got := w.receiveAll()
		pass(time.Second)
		written := 0
		for {
			msg, err := slow.stream.Recv()
			if err != nil {
				if tell(err).reason != "SLOW_CONSUMER" || !tell(err).retry {
					t.Errorf("the slow one's stream ended with %v", err)
				}
				break
			}
			written++
			if msg.GetAttempt() == nil {
				t.Errorf("got %v", msg)
			}
		}
		// One more than came: the write under way counts as made.
		if others := len(got()); others == 0 || written+others < n-1 || written+others > n {
			t.Errorf("%d attempts were written to the slow one, %d given to others, of %d", written, others, n)
		}
		for _, a := range got() {
			if a.GetDelivery() != 1 {
				t.Errorf("given back, but delivered for the %d. time", a.GetDelivery())
			}
		}
	})
}

func TestStreamThatEndsKeepsWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("quick", time.Millisecond)
		s.fail("q", "x", "quick")
		first := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, LeaseDuration: durationpb.New(time.Minute)})
		first.attempt()
		first.cancel()
		second := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
		got := second.receiveAll()
		pass(50 * time.Second)
		if len(got()) != 0 {
			t.Fatal("an attempt that was sent was handed out again under its lease")
		}
		pass(11 * time.Second)
		if len(got()) != 1 || got()[0].GetDelivery() != 2 {
			t.Fatalf("after its lease: %v", got())
		}
	})
}

func TestEachTaskRunsOnce(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	const tasks, streams, perStream = 2000, 4, 2
	req := &retryv1.BatchReportRequest{}
	for i := range tasks {
		req.Reports = append(req.Reports, &retryv1.Report{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{
			Task: &retryv1.TaskSpec{Id: fmt.Sprint(i), Queue: fmt.Sprint("q", i%3), Policy: "quick"}, Failure: httpFailure(503),
		}}})
	}
	var mu sync.Mutex
	runs := make(map[string]int)
	settled := 0
	all := make(chan struct{})
	var wg sync.WaitGroup
	for range streams {
		w := s.open(retryv1.NewRetryServiceClient(s.dial()), &retryv1.Open{Queues: []string{"q0", "q1", "q2"}, MaxInFlight: 50})
		work := make(chan *retryv1.Attempt, 50)
		outcomes := make(chan string, 50)
		for range perStream {
			wg.Go(func() {
				for a := range work {
					mu.Lock()
					runs[a.GetTaskId()]++
					mu.Unlock()
					outcomes <- a.GetLeaseToken()
				}
			})
		}
		wg.Go(func() {
			for {
				select {
				case token := <-outcomes:
					w.succeed(token)
				case <-all:
					w.cancel()
					return
				}
			}
		})
		wg.Go(func() {
			defer close(work)
			for {
				msg, err := w.stream.Recv()
				if err != nil {
					return
				}
				if a := msg.GetAttempt(); a != nil {
					work <- a
					continue
				}
				if got := msg.GetOutcomeResult().GetSuccess(); got == nil || got.GetDuplicate() {
					t.Errorf("result: %v", msg)
				}
				mu.Lock()
				settled++
				if settled == tasks {
					close(all)
				}
				mu.Unlock()
			}
		})
	}
	for from := 0; from < tasks; from += 1000 {
		if _, err := s.retry.BatchReport(s.ctx(), &retryv1.BatchReportRequest{Reports: req.GetReports()[from : from+1000]}); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if len(runs) != tasks {
		t.Errorf("%d tasks ran of %d", len(runs), tasks)
	}
	for id, n := range runs {
		if n != 1 {
			t.Errorf("task %s ran %d times", id, n)
		}
	}
}

func TestLowerFlowGivesBackWhatWasNotSent(t *testing.T) {
	for _, credit := range []int32{0, 2} {
		t.Run(fmt.Sprint(credit), func(t *testing.T) { lowerFlowGivesBack(t, credit) })
	}
}

func lowerFlowGivesBack(t *testing.T, credit int32) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{SendTimeout: time.Hour})
		s.policy("quick", time.Millisecond)
		const n = 20
		for i := range n {
			if _, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
				Task: &retryv1.TaskSpec{Id: fmt.Sprint(i), Queue: "q", Policy: "quick", Payload: make([]byte, 100<<10)}, Failure: httpFailure(503),
			}); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		slow := s.open(retryv1.NewRetryServiceClient(s.dial(smallWindows()...)), &retryv1.Open{Queues: []string{"q"}, MaxInFlight: n})
		synctest.Wait()
		slow.flow(credit)
		synctest.Wait()
		written := slow.receiveAll()
		others := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: n}).receiveAll()
		pass(5 * time.Second)
		if len(written()) > 3 || len(written())+len(others()) != n {
			t.Errorf("%d were sent to the one, %d to the other, of %d", len(written()), len(others()), n)
		}
		for _, a := range others() {
			if a.GetDelivery() != 1 {
				t.Errorf("delivery %d", a.GetDelivery())
			}
		}
	})
}

func TestFlowDuringAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		s := setupOn(t, server.Config{}, store)
		s.policy("quick", time.Millisecond)
		const n = 10
		for i := range n {
			s.fail("q", fmt.Sprint(i), "quick")
		}
		pass(time.Second)
		var w *worker
		opened := make(chan struct{})
		claimed := func(context.Context) {
			store.afterClaim.Store(nil)
			<-opened
			w.flow(2)
			pass(time.Millisecond)
		}
		store.afterClaim.Store(&claimed)
		w = s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: n})
		got := w.receiveAll()
		close(opened)
		pass(time.Second)
		if len(got()) != 2 {
			t.Fatalf("%d attempts out with a credit of 2", len(got()))
		}
		// What was claimed beyond it is nobody's.
		others := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: n}).receiveAll()
		pass(time.Second)
		if len(others()) != n-2 {
			t.Errorf("%d attempts of %d came to another", len(others()), n-2)
		}
		for _, a := range others() {
			if a.GetDelivery() != 1 {
				t.Errorf("delivery %d", a.GetDelivery())
			}
		}
		// The credit is whole again when the two are settled.
		for _, a := range got() {
			w.succeed(a.GetLeaseToken())
		}
		for i := range n {
			s.fail("q", fmt.Sprint("more", i), "quick")
		}
		pass(time.Second)
		if len(got()) != 4 || len(others()) != n {
			t.Errorf("%d and %d attempts came in the end", len(got()), len(others()))
		}
	})
}

func TestCreditLoweredBetweenHandOuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("quick", time.Millisecond)
		for i := range 5 {
			s.fail("q", fmt.Sprint(i), "quick")
		}
		pass(time.Second)
		sub := s.sched.Subscribe(scheduler.SubscribeOptions{Namespace: "default", Queues: []string{"q"}, MaxInFlight: 5, Lease: time.Minute})
		synctest.Wait()
		next := func(want bool) {
			t.Helper()
			if _, ok := sub.Next(); ok != want {
				t.Fatalf("handed out: %v, want %v", ok, want)
			}
		}
		next(true)
		if got := sub.Surplus(); len(got) != 0 {
			t.Fatalf("%d beyond a credit of 5", len(got))
		}
		sub.SetMaxInFlight(2)
		next(true)
		<-sub.Ready()
		next(false)
		select {
		case <-sub.Ready():
		default:
			t.Error("nobody is told of the surplus")
		}
		surplus := sub.Surplus()
		if len(surplus) != 3 {
			t.Fatalf("%d beyond a credit of 2", len(surplus))
		}
		if err := s.sched.GiveBack(t.Context(), surplus); err != nil {
			t.Fatal(err)
		}
		sub.SetMaxInFlight(3)
		synctest.Wait()
		next(true)
		next(false)
		if err := sub.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
