package redisstore_test

import (
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
