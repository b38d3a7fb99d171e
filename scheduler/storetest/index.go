package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

var indexTests = []exercise{
	{"heads are the earliest look at each shard", func(t *testing.T, f *fixture) {
		in := idsInShard(1, 2)
		f.put(scheduled(in[0], "q", startMS+50))
		f.put(scheduled(in[1], "q", startMS+20))
		f.put(scheduled(idsInShard(3, 1)[0], "other", startMS+5))
		heads := func() [][]scheduler.Head {
			got, err := f.store.Heads(t.Context(), []scheduler.QueueKey{queueKey("q"), queueKey("none"), queueKey("other")})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		equal(t, "heads", heads(), [][]scheduler.Head{
			openHeads(0, startMS+20, 0, 0), openHeads(0, 0, 0, 0), openHeads(0, 0, 0, startMS+5),
		})
		f.pass(20 * time.Millisecond)
		f.claimAll(5)
		equal(t, "heads after a claim", heads()[0], openHeads(0, startMS+50, 0, 0))
		none, err := f.store.Heads(t.Context(), []scheduler.QueueKey{})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "heads of no queues", none, [][]scheduler.Head{})
	}},
	{"what is due is paged in order", func(t *testing.T, f *fixture) {
		in := idsInShard(0, 6)
		for i, due := range []int64{-3, -1, -3, 0, 1, 2} {
			f.put(scheduled(in[i], "q", startMS+due))
		}
		var got []string
		var after scheduler.Place
		for {
			page, err := f.store.Due(t.Context(), queueKey("q"), 0, after, 3)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "next", page.NextMS, startMS+1)
			if len(page.Tasks) == 0 {
				break
			}
			got = append(got, ids(page.Tasks)...)
			last := page.Tasks[len(page.Tasks)-1]
			after = scheduler.Place{MS: last.DueMS, Key: last.Key}
		}
		equal(t, "due", got, []string{in[0], in[2], in[1], in[3]})
		equal(t, "claimed by nobody", f.load(in[0]).State, scheduler.StateScheduled)
	}},
	{"a page begins behind its place, also among many of the same time and where its task is gone", func(t *testing.T, f *fixture) {
		in := idsInShard(0, 40)
		for _, id := range in {
			f.put(scheduled(id, "q", startMS))
		}
		for i, id := range in {
			task := f.load(id)
			if i%3 == 0 {
				f.commit(scheduler.Change{Key: task.Key, Before: task})
			}
			page, err := f.store.Due(t.Context(), queueKey("q"), 0, scheduler.Place{MS: startMS, Key: task.Key}, 4)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "behind "+id, ids(page.Tasks), in[i+1:min(i+5, len(in))])
			page, err = f.store.Due(t.Context(), queueKey("q"), 0, scheduler.Place{MS: startMS + 1, Key: task.Key}, 4)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "behind all of them", ids(page.Tasks), []string{})
		}
	}},
	{"what is due of an empty queue is nothing", func(t *testing.T, f *fixture) {
		page, err := f.store.Due(t.Context(), queueKey("q"), 0, scheduler.Place{}, 10)
		if err != nil || len(page.Tasks) != 0 || page.NextMS != 0 {
			t.Errorf("page %+v, error %v", page, err)
		}
	}},
	{"what ends by itself is found when its time has come", func(t *testing.T, f *fixture) {
		in := idsInShard(1, 6)
		deadline := scheduled(in[0], "q", startMS)
		deadline.Spec.DeadlineMS = startMS + 10
		dead := scheduled(in[1], "q", 0)
		dead.State, dead.DeadReason, dead.ExpireMS = scheduler.StateDead, policy.ReasonDeadline, startMS+5
		dead.Spec.DeadlineMS = startMS + 1
		later := scheduled(in[2], "q", 0)
		later.State, later.Spec.DeadlineMS = scheduler.StateHeld, startMS+11
		replayed := scheduled(in[3], "q", startMS)
		replayed.Generation, replayed.Spec.DeadlineMS = 2, startMS+1
		ended := scheduled(in[4], "q", 0)
		ended.State, ended.Spec.DeadlineMS, ended.ExpireMS = scheduler.StateSucceeded, startMS+1, startMS+1e6
		f.put(scheduled(in[5], "q", startMS))
		for _, task := range []*scheduler.Task{deadline, dead, later, replayed, ended} {
			f.put(task)
		}
		f.pass(10 * time.Millisecond)
		page := func(after scheduler.Place) []string {
			got, err := f.store.Ending(t.Context(), 1, after, 1)
			if err != nil {
				t.Fatal(err)
			}
			return ids(got)
		}
		equal(t, "first", page(scheduler.Place{}), []string{in[1]})
		equal(t, "second", page(scheduler.Place{MS: startMS + 5, Key: key(in[1])}), []string{in[0]})
		equal(t, "third", page(scheduler.Place{MS: startMS + 10, Key: key(in[0])}), []string{})
	}},
}

var policyTests = []exercise{
	{"a policy comes back whole, by revision", func(t *testing.T, f *fixture) {
		ctx := t.Context()
		if got, err := f.store.Policy(ctx, "ns", "p"); got != nil || err != nil {
			t.Fatalf("policy %+v, error %v", got, err)
		}
		if got, err := f.store.RecentPolicy(ctx, "ns", "p"); got != nil || err != nil {
			t.Fatalf("recent policy %+v, error %v", got, err)
		}
		rec := &scheduler.PolicyRecord{Namespace: "ns", Policy: fullPolicy("p"), Revision: 1, CreateMS: 1, UpdateMS: 2}
		put := func(rec *scheduler.PolicyRecord, expect int64) bool {
			ok, err := f.store.PutPolicy(ctx, rec, expect)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		equal(t, "not there yet", put(rec, 1), false)
		equal(t, "created", put(rec, 0), true)
		equal(t, "created again", put(rec, 0), false)
		got, err := f.store.Policy(ctx, "ns", "p")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "policy", got, rec)
		recent := func() *scheduler.PolicyRecord {
			got, err := f.store.RecentPolicy(ctx, "ns", "p")
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		equal(t, "recent policy", recent(), rec)
		changed := *rec
		changed.Revision, changed.DeleteMS = 2, 77
		equal(t, "stale", put(&changed, 2), false)
		equal(t, "changed", put(&changed, 1), true)
		if got, err = f.store.Policy(ctx, "ns", "p"); err != nil {
			t.Fatal(err)
		}
		equal(t, "deleted policy", got, &changed)
		equal(t, "recent policy, changed here", recent(), &changed)
		if got, _ := f.store.Policy(ctx, "other", "p"); got != nil {
			t.Errorf("another namespace's policy: %+v", got)
		}
	}},
	{"policies are listed by id", func(t *testing.T, f *fixture) {
		for _, id := range []string{"b", "a", "c"} {
			if _, err := f.store.PutPolicy(t.Context(), &scheduler.PolicyRecord{Namespace: "ns", Policy: fullPolicy(id), Revision: 1}, 0); err != nil {
				t.Fatal(err)
			}
		}
		list, err := f.store.Policies(t.Context(), "ns")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, rec := range list {
			got = append(got, rec.Policy.ID)
		}
		equal(t, "ids", got, []string{"a", "b", "c"})
	}},
}

func fullPolicy(id string) policy.Policy {
	return policy.Policy{
		ID: id, DisplayName: "All of it", MaxRetries: 3,
		Schedule:   policy.Schedule{Exponential: &policy.ExponentialDelay{InitialDelay: time.Second, Multiplier: 1.5, MaxDelay: time.Hour}},
		Jitter:     policy.Jitter{Kind: policy.JitterProportional, Proportion: 0.25},
		MaxElapsed: time.Hour,
		Rules: []policy.Rule{{
			Name: "r", Action: policy.ActionHold, HoldCondition: "c", DelayMultiplier: 2, MaxRetries: 1,
			Match: policy.Match{Statuses: []string{"5xx"}, StatusesExcept: []string{"501"}, Timeout: true, ConnectionKinds: []policy.ConnectionKind{policy.ConnectionDNS}, Codes: []string{"a/*"}},
		}},
		DefaultAction: policy.ActionDeadLetter,
		RetryAfter:    policy.RetryAfter{Mode: policy.RetryAfterOverride, Cap: time.Minute},
		PauseWindows: []policy.PauseWindow{
			{Days: []time.Weekday{time.Sunday, time.Monday}, Start: "12:00", End: "13:00", TimeZone: "Europe/Berlin", Spread: time.Minute},
			{StartTime: time.UnixMilli(startMS).UTC(), EndTime: time.UnixMilli(startMS + 1000).UTC()},
		},
		MaxLeaseExpiries: 2, Retention: time.Hour, DeadLetterRetention: 2 * time.Hour,
	}
}

var hintTests = []exercise{
	{"a new head is hinted at, a task behind it is not", func(t *testing.T, f *fixture) {
		ctx, cancel := context.WithCancel(t.Context())
		hints := make(chan scheduler.Hint, 100)
		done := make(chan error, 1)
		go func() { done <- f.peer.Hints(ctx, func(h scheduler.Hint) { hints <- h }, func() {}) }()
		in := idsInShard(2, 3)
		// Whoever has not begun to listen misses hints: the first is repeated until
		// it is heard.
		var first scheduler.Hint
		for i := 0; first == (scheduler.Hint{}); i++ {
			if i == 1000 {
				t.Fatal("no hint is heard")
			}
			f.put(scheduled(fmt.Sprint("call", i), "ready", startMS+1e6-int64(i)))
			select {
			case first = <-hints:
			case <-time.After(10 * time.Millisecond):
			}
		}
		f.put(scheduled(in[0], "q", startMS+500))
		f.put(scheduled(in[1], "q", startMS+900))
		f.put(scheduled(in[2], "q", startMS+100))
		var got []int64
		for len(got) < 2 {
			select {
			case h := <-hints:
				if h.Queue == queueKey("q") {
					equal(t, "shard", h.Shard, 2)
					got = append(got, h.DueMS)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("hints so far: %v", got)
			}
		}
		equal(t, "hints", got, []int64{startMS + 500, startMS + 100})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}},
}
