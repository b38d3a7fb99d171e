package redisstore_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestAReadThatAChangeOvertakes shows that what was read before a change is not
// judged by after it, however late the answer comes.
func TestAReadThatAChangeOvertakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r redisstore.Recent
		read := func(read func() int) int {
			t.Helper()
			got, err := r.Read(t.Context(), read)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		answer := func(n int) func() int { return func() int { return n } }
		if got := read(func() int {
			<-time.After(time.Millisecond)
			r.Changed()
			return 1
		}); got != 1 {
			t.Errorf("read is %d, want 1", got)
		}
		<-time.After(time.Millisecond)
		if got := read(answer(2)); got != 2 {
			t.Errorf("read after the change is %d, want 2", got)
		}
		if got := read(answer(3)); got != 2 {
			t.Errorf("read at once after that is %d, want 2 again", got)
		}
	})
}

// TestAReadThatHangs has the node that keeps a policy hang: what is known of it does for
// a minute, one reader waits a moment now and then, and nobody waits who has read nothing
// to fall back on but as long as he has time.
func TestAReadThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r redisstore.Recent
		began := time.Now()
		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := r.ReadFrom(short, func() (int, bool) { return 0, false }); err == nil || time.Since(began) != 3*time.Second {
			t.Errorf("a first read is %v after %v, want to have been waited for as long as there was time", err, time.Since(began))
		}
		if _, err := r.ReadFrom(t.Context(), func() (int, bool) { return 1, true }); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second)
		for until := time.Now().Add(50 * time.Second); time.Now().Before(until); {
			var wg sync.WaitGroup
			var mu sync.Mutex
			asked, waited := 0, time.Duration(0)
			for range 10 {
				wg.Go(func() {
					began := time.Now()
					got, err := r.ReadFrom(t.Context(), func() (int, bool) {
						mu.Lock()
						defer mu.Unlock()
						asked++
						return 0, false
					})
					if got != 1 || err != nil {
						t.Errorf("read is %d, %v, want what was read before", got, err)
					}
					mu.Lock()
					defer mu.Unlock()
					waited = max(waited, time.Since(began))
				})
			}
			wg.Wait()
			if waited > 300*time.Millisecond {
				t.Errorf("a reader has waited for %v", waited)
			}
			if first := time.Until(until) > 49*time.Second; !first && asked > 1 {
				t.Errorf("%d have asked at once, want the others to go on with what there is", asked)
			}
			<-time.After(10 * time.Millisecond)
		}
		<-time.After(20 * time.Second)
		long, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, err := r.ReadFrom(long, func() (int, bool) { return 0, false }); err == nil {
			t.Errorf("after more than a minute read is still %d", got)
		}
	})
}
