package redisstore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/internal/respproxy"
	"github.com/retryd/retryd/scheduler"
)

// TestLostAnswersHaveNoSecondEffect loses answers of Redis after what was asked
// has been done: each report still has one effect, and what a claim took is not
// lost for the length of a lease.
func TestLostAnswersHaveNoSecondEffect(t *testing.T) {
	t.Parallel()
	const tasks, callers = 400, 8
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server)
	proxy.Set(respproxy.Rules{LoseReply: 0.1})
	w := newSite(t, server.URL(), fixed("now", 0))
	w.cfg.URL = proxy.URL()
	s := w.replica()
	done := newRuns(tasks)
	sub := subscribe(s, 32, 30*time.Second)
	var wg sync.WaitGroup
	for worker := range callers {
		wg.Go(func() {
			done.work(sub, func(d scheduler.Delivery) {
				if persist(t, s, outcome(d, nil)) {
					done.add(d.Task.Key.ID)
				}
			})
		})
		wg.Go(func() {
			for i := worker; i < tasks; i += callers {
				persist(t, s, failed(fmt.Sprint("t", i), "now"))
			}
		})
	}
	wg.Wait()
	if lost := proxy.Counts().Lost; lost < 20 {
		t.Errorf("only %d answers were lost", lost)
	}
	w.cfg.URL = server.URL()
	w.wantEnded(tasks, 1)
	store := newStore(t, w.cfg)
	for i := range tasks {
		task := store.Load(t.Context(), []scheduler.TaskKey{{Namespace: "ns", ID: fmt.Sprint("t", i)}})[0].Task
		if len(task.History) != 2 || task.History[0].Success || !task.History[1].Success || task.Expiries != 0 {
			t.Errorf("task %s has %d records, %d expiries: %+v", task.Key.ID, len(task.History), task.Expiries, task.History)
		}
	}
}
