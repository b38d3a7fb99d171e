package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/retryd/retryd/scheduler"
)

// manyQueues are queues of one dead letter each, in two namespaces.
type manyQueues struct {
	n    int
	took time.Duration
	away atomic.Bool
	// asked is how many queues were asked for.
	asked atomic.Int64
}

func (m *manyQueues) AllQueues(ctx context.Context, after scheduler.QueueKey, limit int) (page []scheduler.QueueView, last scheduler.QueueKey, more bool, err error) {
	if m.away.Load() {
		return nil, after, false, errors.New("away")
	}
	m.asked.Add(int64(limit))
	select {
	case <-ctx.Done():
		return nil, after, false, ctx.Err()
	case <-time.After(m.took):
	}
	first := 0
	if after.Name != "" {
		if _, err := fmt.Sscanf(after.Name, "q%06d", &first); err != nil {
			return nil, after, false, err
		}
		first++
	}
	for i := first; i < m.n; i++ {
		if len(page) == limit {
			return page, last, true, nil
		}
		key := scheduler.QueueKey{Namespace: fmt.Sprintf("ns%d", i*2/m.n), Name: fmt.Sprintf("q%06d", i)}
		page = append(page, scheduler.QueueView{Key: key, Dead: 1, OldestDueAgeMS: int64(i)})
		last = key
	}
	return page, last, false, nil
}

// gathered returns the queues that are told, with their dead letters.
func gathered(t *testing.T, q *Queues) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(q)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != "retryd_queue_tasks" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := labelsOf(m)
			if labels["state"] == "dead" {
				out[labels["namespace"]+"/"+labels["queue"]] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

func labelsOf(m *dto.Metric) map[string]string {
	out := make(map[string]string)
	for _, l := range m.GetLabel() {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

// watching runs a test with the gauges of queues, in virtual time.
func watching(t *testing.T, from *manyQueues, limit int, test func(t *testing.T, q *Queues)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueues(from, limit, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- q.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		test(t, q)
	})
}

func TestFewQueuesAreToldApart(t *testing.T) {
	watching(t, &manyQueues{n: 5}, 5, func(t *testing.T, q *Queues) {
		t.Helper()
		got := gathered(t, q)
		if len(got) != 5 || got["ns0/q000000"] != 1 || got["ns1/q000004"] != 1 {
			t.Errorf("told are %v, want all 5", got)
		}
	})
}

func TestLabelsStayBoundedWithManyQueues(t *testing.T) {
	const n, limit = 10_000, 50
	from := &manyQueues{n: n}
	watching(t, from, limit, func(t *testing.T, q *Queues) {
		t.Helper()
		scrapes := 0
		for ; scrapes < 100; scrapes++ {
			got := gathered(t, q)
			sum, ok := got["/other"]
			if len(got) > limit+1 {
				t.Fatalf("%d queues are told apart, want %d and the others", len(got), limit)
			}
			if ok {
				if sum != n-limit {
					t.Errorf("the others have %v dead letters, want %d", sum, n-limit)
				}
				break
			}
			<-time.After(gatherInterval)
		}
		// Of all scrapes but the first, each sees the pass that the one before it asked for.
		if rounds := (n - limit + othersAtOnce - 1) / othersAtOnce; scrapes != rounds {
			t.Errorf("the others are known at scrape %d, want %d", scrapes+1, rounds+1)
		}
	})
}

func TestQueuesAreCountedOnlyWhileSomebodyScrapes(t *testing.T) {
	from := &manyQueues{n: 5}
	watching(t, from, 5, func(t *testing.T, q *Queues) {
		t.Helper()
		<-time.After(time.Hour)
		if asked := from.asked.Load(); asked != 0 {
			t.Errorf("%d queues were asked for, and nobody scrapes", asked)
		}
		for range 10 {
			gathered(t, q)
		}
		<-time.After(time.Hour)
		// Once for the first scrape, and once for those while its pause lasted.
		if asked := from.asked.Load(); asked > int64(2*q.limit) {
			t.Errorf("%d queues were asked for by ten scrapes at once, want at most %d", asked, 2*q.limit)
		}
	})
}

func TestCountingTakesASmallPartOfTheTime(t *testing.T) {
	from := &manyQueues{n: 5, took: 5 * time.Second}
	watching(t, from, 5, func(t *testing.T, q *Queues) {
		t.Helper()
		for range 240 {
			gathered(t, q)
			<-time.After(15 * time.Second)
		}
		if passes := from.asked.Load() / int64(q.limit); passes > 16 {
			t.Errorf("%d passes of 5 s in an hour, want at most 2 %% of the time", passes)
		}
	})
}

func TestWhatCannotBeCountedIsNotTold(t *testing.T) {
	from := &manyQueues{n: 5}
	watching(t, from, 5, func(t *testing.T, q *Queues) {
		t.Helper()
		if got := gathered(t, q); len(got) != 5 {
			t.Errorf("told are %v, want all 5", got)
		}
		from.away.Store(true)
		<-time.After(2 * time.Minute)
		gathered(t, q)
		<-time.After(2 * time.Minute)
		if got := gathered(t, q); len(got) != 0 {
			t.Errorf("told are %v, while the store is away", got)
		}
	})
}

// What waits in a paused queue beyond those that are told apart neither hides nor is taken
// for what waits in another.
func TestPausedQueuesAmongTheOthers(t *testing.T) {
	t.Parallel()
	var o others
	o.add(&scheduler.QueueView{Due: 1, OldestDueAgeMS: 900_000, Paused: true})
	o.add(&scheduler.QueueView{Due: 2, OldestDueAgeMS: 400_000})
	if o.due != 3 || o.oldestMS != 400_000 || o.paused {
		t.Errorf("they are told as %+v", o)
	}
}
