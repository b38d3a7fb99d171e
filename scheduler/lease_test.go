package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
)

func TestExtendCountsFromNow(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		d := w.next(sub)
		w.pass(20 * time.Second)
		extend := func(length time.Duration) int64 {
			got := w.s.Extend(w.ctx, "ns", []string{d.Token}, length)[0]
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			return got.LeaseEndMS - time.Now().UnixMilli()
		}
		equal(t, "own length", extend(0), int64(30_000))
		equal(t, "given length", extend(time.Hour), int64(3_600_000))
		equal(t, "own length again", extend(0), int64(30_000))
		w.pass(29 * time.Second)
		w.none(sub)
		again := w.next(sub)
		equal(t, "delivery", again.Task.Delivery, 2)
		kindOf(t, w.s.Extend(w.ctx, "ns", []string{d.Token}, 0)[0].Err, scheduler.KindLeaseLost)
	})
}

func TestExtendAnswersEachToken(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(2)
		w.report(failure("a", by("now")))
		w.report(failure("b", by("now")))
		a, b := w.next(sub), w.next(sub)
		w.report(success("", with(b)))
		got := w.s.Extend(w.ctx, "ns", []string{a.Token, b.Token, "rubbish", a.Token}, time.Minute)
		if got[0].Err != nil || got[3].Err != nil {
			t.Errorf("a good token: %v, %v", got[0].Err, got[3].Err)
		}
		kindOf(t, got[1].Err, scheduler.KindLeaseLost)
		kindOf(t, got[2].Err, scheduler.KindInvalid)
		kindOf(t, w.s.Extend(w.ctx, "other", []string{a.Token}, 0)[0].Err, scheduler.KindInvalid)
	})
}

func TestLateExtensionHoldsUntilTheAttemptIsTaken(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		d := w.next(sub)
		sub.SetMaxInFlight(0)
		w.pass(time.Minute)
		if got := w.s.Extend(w.ctx, "ns", []string{d.Token}, 0)[0]; got.Err != nil {
			t.Fatal(got.Err)
		}
		w.report(success("", with(d)))
	})
}

func TestReleaseBurnsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a", by("fragile")))
		d := w.next(sub)
		for range 5 { // more often than leases may expire
			start := time.Now()
			if err := w.s.Release(w.ctx, "ns", d.Token, 10*time.Second); err != nil {
				t.Fatal(err)
			}
			if err := w.s.Release(w.ctx, "ns", d.Token, time.Hour); err != nil {
				t.Fatalf("a repeat: %v", err)
			}
			w.refused(success("", with(d)), scheduler.KindLeaseLost)
			old := d
			d = w.next(sub)
			equal(t, "delivered after", time.Since(start), 10*time.Second)
			kindOf(t, w.s.Release(w.ctx, "ns", old.Token, 0), scheduler.KindLeaseLost)
		}
		equal(t, "attempt, delivery and expiries", []int{d.Task.Attempt, d.Task.Delivery, d.Task.Expiries}, []int{2, 6, 0})
	})
}

func TestGiveBackLeavesNoTrace(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		first := w.next(sub)
		if err := w.s.GiveBack(w.ctx, []scheduler.Delivery{first}); err != nil {
			t.Fatal(err)
		}
		second := w.next(sub)
		equal(t, "delivery and expiries", []int{second.Task.Delivery, second.Task.Expiries}, []int{1, 0})
		equal(t, "due", second.Task.DueMS, first.Task.DueMS)
		if err := w.s.GiveBack(w.ctx, []scheduler.Delivery{first}); err != nil {
			t.Fatal(err)
		}
		w.wantState("a", scheduler.StateLeased)
		third := w.next(sub) // expired
		if err := w.s.GiveBack(w.ctx, []scheduler.Delivery{third}); err != nil {
			t.Fatal(err)
		}
		fourth := w.next(sub)
		equal(t, "delivery and expiries", []int{fourth.Task.Delivery, fourth.Task.Expiries}, []int{2, 1})
	})
}

func TestLeaseTokens(t *testing.T) {
	t.Parallel()
	token := scheduler.LeaseToken{Shard: 300, Key: scheduler.TaskKey{Namespace: "n", ID: "ü/" + strings.Repeat("x", 190)}, Fence: scheduler.Fence{Number: 1 << 60, Nonce: 1<<64 - 1}}
	got, err := scheduler.ParseLeaseToken(token.String())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "token", got, token)
	for _, bad := range []string{"", "x", token.String() + "A", token.String()[1:], token.String() + "=", "AQ", strings.ToUpper(token.String())} {
		if _, err := scheduler.ParseLeaseToken(bad); err == nil {
			t.Errorf("%q was taken for a token", bad)
		}
	}
}

func FuzzParseLeaseToken(f *testing.F) {
	f.Add(scheduler.LeaseToken{Shard: 1, Key: scheduler.TaskKey{Namespace: "n", ID: "i"}, Fence: scheduler.Fence{Number: 1, Nonce: 2}}.String())
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := scheduler.ParseLeaseToken(s)
		if err == nil && token.String() != s {
			t.Errorf("%q has a second spelling %q", s, token.String())
		}
	})
}

func TestLeaseThatEndsBeforeItsWorkerTakesItIsNotHandedOut(t *testing.T) {
	inWorld(t, func(w *world) {
		slow := w.worker(2)
		w.report(failure("a", by("now")))
		w.report(failure("b", by("now")))
		// It reads nothing until its leases have ended, and others get the attempts.
		w.pass(29 * time.Second)
		taken := w.next(slow)
		w.pass(1100 * time.Millisecond)
		quick := w.worker(1)
		for {
			d, ok := slow.Next()
			if !ok {
				break
			}
			if now := w.s.NowMS(); d.Task.LeaseEndMS <= now {
				t.Errorf("attempt of %s handed out %d ms after its lease has ended", d.Task.Key.ID, now-d.Task.LeaseEndMS)
			}
		}
		w.none(quick)
		for id, expiries := range map[string]int{taken.Task.Key.ID: 1, other(taken, "a", "b"): 0} {
			got := w.load(id)
			equal(t, id+": delivery and expiries", []int{got.Delivery, got.Expiries}, []int{1 + expiries, expiries})
		}
	})
}

// other is the one of two tasks that was not delivered.
func other(d scheduler.Delivery, a, b string) string {
	if d.Task.Key.ID == a {
		return b
	}
	return a
}

// TestWhatIsSettledWhileItWaitsIsNotHandedOut has an attempt wait for its reader when its
// task is cancelled, and another when the first's place is free.
func TestWhatIsSettledWhileItWaitsIsNotHandedOut(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a", by("now")))
		w.pass(time.Second)
		w.wantState("a", scheduler.StateLeased)
		w.operated(w.s.Cancel(w.ctx, scheduler.TaskKey{Namespace: "ns", ID: "a"}))
		w.none(sub)
		w.report(failure("b", by("now")))
		equal(t, "delivered", w.next(sub).Task.Key.ID, "b")
		w.report(failure("c", by("now")))
		w.pass(time.Second)
		w.none(sub)
	})
}
