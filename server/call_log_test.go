package server_test

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

// TestAFloodOfRefusedCallsDoesNotFillTheDisk refuses calls and streams by the hundred, in
// a bubble in which no time passes but on demand.
func TestAFloodOfRefusedCallsDoesNotFillTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		s := setupOn(t, server.Config{}, store)
		told := 0
		// lines are those of finished calls since it was last called that hold a text.
		lines := func(text string) []string {
			synctest.Wait()
			log := s.log.String()
			var out []string
			for line := range strings.Lines(log[told:]) {
				if strings.Contains(line, `"msg":"finished call"`) && strings.Contains(line, text) {
					out = append(out, line)
				}
			}
			told = len(log)
			return out
		}
		wants := func(n int, text, more string) {
			t.Helper()
			got := lines(text)
			if len(got) != n {
				t.Fatalf("there are %d lines of %s, want %d", len(got), text, n)
			}
			for i, line := range got {
				if want := i == 0 && more != ""; strings.Contains(line, "unlogged_before") != want || !strings.Contains(line, more) && want {
					t.Errorf("line %d of %s is %q, want the first alone to have %q", i, text, line, more)
				}
			}
		}
		refused := func(times int) {
			for range times {
				_, _ = s.tasks.GetTask(s.ctx(), &retryv1.GetTaskRequest{TaskId: strings.Repeat("x", 1000)})
			}
		}
		refused(300)
		wants(20, `"reason":"INVALID_REQUEST"`, "")
		// A stream has its part in the same bound.
		_ = s.open(s.retry, &retryv1.Open{Queues: []string{"no good"}}).end()
		wants(0, `"reason":"INVALID_REQUEST"`, "")
		// Others have room of their own, what fails inside the server above all.
		_, _ = s.tasks.GetTask(s.ctx(), &retryv1.GetTaskRequest{TaskId: "nope"})
		wants(1, `"reason":"TASK_NOT_FOUND"`, "")
		broken := func() error { return errors.New("broken") }
		store.onPolicy.Store(&broken)
		_, _ = s.pol.GetPolicy(s.ctx(), &retryv1.GetPolicyRequest{Id: "x"})
		wants(1, `"reason":"INTERNAL"`, "")
		pass(time.Second)
		refused(100)
		wants(5, `"reason":"INVALID_REQUEST"`, `"unlogged_before":281`)
		// Whoever asks for those that went well gets them all.
		for range 100 {
			_, _ = s.queues.ListQueues(s.ctx(), &retryv1.ListQueuesRequest{})
		}
		wants(100, "ListQueues", "")
	})
}

// TestDurationsAreLoggedInMilliseconds has a stream be open for long.
func TestDurationsAreLoggedInMilliseconds(t *testing.T) {
	for name, row := range map[string]struct {
		handler func(w io.Writer) slog.Handler
		want    string
	}{
		"text": {func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) }, " duration_ms=3600000.125\n"},
		"json": {func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) }, `,"duration_ms":3600000.125}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log syncBuffer
				s := setup(t, server.Config{Log: slog.New(row.handler(&log)), MaxConnectionAge: 4 * time.Hour})
				w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
				synctest.Wait()
				pass(time.Hour + 125*time.Microsecond)
				// A second one on it is refused, and ends it.
				w.send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: &retryv1.Open{Queues: []string{"q"}}}})
				_ = w.end()
				synctest.Wait()
				if got := log.String(); !strings.Contains(got, "finished call") || !strings.Contains(got, row.want) {
					t.Errorf("the log is %q, want it to have %q", got, row.want)
				}
			})
		})
	}
}
