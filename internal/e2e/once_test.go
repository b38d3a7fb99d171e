package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// counter counts the runs of each task until as many tasks as it waits for have
// run.
type counter struct {
	mu   sync.Mutex
	runs map[string]int
	want int
	all  chan struct{}
}

func newCounter(want int) *counter {
	return &counter{runs: make(map[string]int), want: want, all: make(chan struct{})}
}

func (c *counter) count(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[id]++
	if len(c.runs) == c.want && c.runs[id] == 1 {
		close(c.all)
	}
}

func TestTenThousandTasksRunOnceEach(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() scheduler.Store) {
		const tasks, batch = 10_000, 500
		replicas := []*replica{serve(t, open()), serve(t, open())}
		c := replicas[0].client(t)
		createPolicy(t, c, "soon", time.Millisecond)
		counted := newCounter(tasks)
		var stops []func()
		// Eight handlers on four streams, two to a replica.
		for i := range 4 {
			stops = append(stops, work(t, replicas[i%2].client(t), func(_ context.Context, a *client.Attempt) error {
				counted.count(a.TaskID)
				return nil
			}, client.WithConcurrency(2)))
		}
		for i := 0; i < tasks; i += batch {
			var reports []client.Report
			for n := i; n < i+batch; n++ {
				reports = append(reports, client.Report{
					Task: client.Task{ID: fmt.Sprint("t", n), Queue: "q", Policy: "soon"}, Err: client.HTTPFailure(503, ""),
				})
			}
			results, err := c.ReportBatch(t.Context(), reports)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
			}
		}
		select {
		case <-counted.all:
		case <-t.Context().Done():
			t.Fatalf("only %d tasks have run", len(counted.runs))
		}
		for _, stop := range stops {
			stop()
		}
		for id, n := range counted.runs {
			if n != 1 {
				t.Errorf("%s ran %d times", id, n)
			}
		}
	})
}

func TestSameReportAtOnceHasOneEffect(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() scheduler.Store) {
		const times, connections = 50, 5
		replicas := []*replica{serve(t, open()), serve(t, open())}
		createPolicy(t, replicas[0].client(t), "hour", time.Hour)
		answers := make([]*retryv1.ReportFailureResponse, times)
		var wg sync.WaitGroup
		for conn := range connections {
			stub := replicas[conn%2].stub(t)
			for i := conn; i < times; i += connections {
				wg.Go(func() {
					var err error
					answers[i], err = stub.ReportFailure(t.Context(), &retryv1.ReportFailureRequest{
						Task:           &retryv1.TaskSpec{Id: "a", Queue: "q", Policy: "hour"},
						Failure:        &retryv1.Failure{Cause: &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}},
						IdempotencyKey: "k",
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		duplicates := 0
		for _, a := range answers {
			if a.GetDuplicate() {
				duplicates++
				a.Duplicate = false
			}
			answers[0].Duplicate = false
			if !proto.Equal(a, answers[0]) {
				t.Errorf("answers differ:\n%v\n%v", a, answers[0])
			}
		}
		if duplicates != times-1 {
			t.Errorf("%d duplicates of %d", duplicates, times)
		}
	})
}
