package redisstore_test

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/internal/respproxy"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// aPolicy has every field set.
func aPolicy(id string) policy.Policy {
	return policy.Policy{
		ID: id, DisplayName: "Ü", MaxRetries: 3,
		Schedule: policy.Schedule{
			Fixed:       &policy.FixedDelay{Delay: time.Second},
			Exponential: &policy.ExponentialDelay{InitialDelay: time.Second, Multiplier: 1.1, MaxDelay: policy.MaxDuration},
			Delays:      &policy.DelayList{Delays: []time.Duration{0, time.Second}},
			Dates:       &policy.DateList{Times: []time.Time{time.UnixMilli(startMS).UTC()}},
		},
		Jitter: policy.Jitter{Kind: policy.JitterProportional, Proportion: 0.3}, MaxElapsed: time.Hour,
		Rules: []policy.Rule{{
			Name: "r", Action: policy.ActionHold, HoldCondition: "c", DelayMultiplier: 0.7, MaxRetries: 1,
			Match: policy.Match{
				Statuses: []string{"5xx"}, StatusesExcept: []string{"501"}, Timeout: true, ConnectionError: true,
				ConnectionKinds: []policy.ConnectionKind{policy.ConnectionDNS}, GRPCCodes: []string{"UNAVAILABLE"},
				Codes: []string{"a/*"}, CodesExcept: []string{"a/b"}, Outcomes: []string{"busy"},
			},
		}},
		DefaultAction: policy.ActionDeadLetter, RetryAfter: policy.RetryAfter{Mode: policy.RetryAfterOverride, Cap: time.Minute},
		PauseWindows: []policy.PauseWindow{
			{Days: []time.Weekday{time.Sunday}, Start: "12:00", End: "13:00", TimeZone: "Europe/Berlin", Spread: time.Minute},
			{StartTime: time.UnixMilli(startMS).UTC(), EndTime: time.UnixMilli(startMS + 1000).UTC()},
		},
		MaxLeaseExpiries: 2, Retention: time.Hour, DeadLetterRetention: 2 * time.Hour,
	}
}

func TestGoldenPolicy(t *testing.T) {
	t.Parallel()
	want := &scheduler.PolicyRecord{Namespace: "ns", Policy: aPolicy("p"), Revision: 7, CreateMS: 1, UpdateMS: 2, DeleteMS: 3}
	kept, err := redisstore.EncodePolicy(want)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "policy.golden")
	if *update {
		if err := os.WriteFile(file, []byte(kept+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden := strings.TrimSuffix(string(text), "\n")
	if kept != golden {
		t.Errorf("a policy is written as\n%s\nand was\n%s\n(policies that are stored would be read no more)", kept, golden)
	}
	got, err := redisstore.DecodePolicy("ns", golden)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read as\n%+v\nwant\n%+v", got, want)
	}
}

func FuzzDecodePolicy(f *testing.F) {
	kept, err := redisstore.EncodePolicy(&scheduler.PolicyRecord{Policy: aPolicy("p"), Revision: 7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(kept)
	f.Add("1 {}")
	f.Fuzz(func(t *testing.T, kept string) {
		if rec, err := redisstore.DecodePolicy("ns", kept); (rec == nil) == (err == nil) {
			t.Errorf("%+v, error %v", rec, err)
		}
	})
}

// TestPoliciesAndJobsAreRecent shows how old a policy or a job may be that judges
// reports, and that judging takes no round trip each.
func TestPoliciesAndJobsAreRecent(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]struct {
		// put writes a revision over the one expected; recent and now read it, 0 where
		// there is none.
		put         func(ctx context.Context, s *redisstore.Store, revision, expect int64) (bool, error)
		recent, now func(ctx context.Context, s *redisstore.Store) (int64, error)
	}{
		"policy": {
			func(ctx context.Context, s *redisstore.Store, revision, expect int64) (bool, error) {
				return s.PutPolicy(ctx, &scheduler.PolicyRecord{Namespace: "ns", Policy: policy.Policy{ID: "x"}, Revision: revision}, expect)
			},
			func(ctx context.Context, s *redisstore.Store) (int64, error) {
				rec, err := s.RecentPolicy(ctx, "ns", "x")
				if rec == nil {
					return 0, err
				}
				return rec.Revision, err
			},
			func(ctx context.Context, s *redisstore.Store) (int64, error) {
				rec, err := s.Policy(ctx, "ns", "x")
				if rec == nil {
					return 0, err
				}
				return rec.Revision, err
			},
		},
		"job": {
			func(ctx context.Context, s *redisstore.Store, revision, expect int64) (bool, error) {
				return s.PutJob(ctx, &scheduler.JobRecord{Namespace: "ns", Job: scheduler.Job{ID: "x"}, Revision: revision}, expect, nil)
			},
			func(ctx context.Context, s *redisstore.Store) (int64, error) {
				rec, err := s.RecentJob(ctx, "ns", "x")
				if rec == nil {
					return 0, err
				}
				return rec.Revision, err
			},
			func(ctx context.Context, s *redisstore.Store) (int64, error) {
				rec, err := s.Job(ctx, "ns", "x")
				if rec == nil {
					return 0, err
				}
				return rec.Revision, err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			server := redistest.Start(t)
			cfg := redisstore.Config{URL: server.URL()}
			here, there := newStore(t, cfg), newStore(t, cfg)
			put := func(s *redisstore.Store, revision int64) {
				t.Helper()
				if ok, err := kind.put(ctx, s, revision, revision-1); !ok || err != nil {
					t.Fatalf("put: %v, error %v", ok, err)
				}
			}
			recent := func(s *redisstore.Store) int64 {
				t.Helper()
				revision, err := kind.recent(ctx, s)
				if err != nil {
					t.Fatal(err)
				}
				return revision
			}
			if got := recent(there); got != 0 {
				t.Fatalf("revision %d before there is one", got)
			}
			put(here, 1)
			if a, b := recent(here), recent(there); a != 1 || b != 1 {
				t.Fatalf("what is new has revision %d here and %d there", a, b)
			}
			put(here, 2)
			changed := time.Now()
			if got := recent(here); got != 2 {
				t.Errorf("revision %d where it was changed", got)
			}
			server.Do(t, "CONFIG", "RESETSTAT")
			calls := 0
			for recent(there) != 2 {
				calls++
				if time.Since(changed) > time.Second {
					t.Fatal("the change is not seen elsewhere within a second")
				}
			}
			if reads := strings.Count(server.Do(t, "INFO", "commandstats"), "cmdstat_hget:calls=1,"); reads != 1 || calls < 10 {
				t.Errorf("%d judgements took other than one read: %s", calls, server.Do(t, "INFO", "commandstats"))
			}

			// A replica whose put was refused reads what there is before it tries again.
			if ok, err := kind.put(ctx, there, 2, 1); ok || err != nil {
				t.Fatalf("put: %v, error %v", ok, err)
			}
			put(here, 3)
			if revision, err := kind.now(ctx, there); err != nil || revision != 3 {
				t.Errorf("read to be changed: revision %d, error %v", revision, err)
			}
		})
	}
}

func TestPoliciesOutliveALostAnswer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := redistest.Start(t)
	var lose atomic.Int64
	proxy := redistest.StartProxy(t, server)
	proxy.Set(respproxy.Rules{LoseReply: 1, Only: func(respproxy.Command) bool { return lose.Add(-1) >= 0 }})
	s := newStore(t, redisstore.Config{URL: proxy.URL()})
	if ok, err := s.PutPolicy(ctx, &scheduler.PolicyRecord{Namespace: "ns", Policy: policy.Policy{ID: "p"}, Revision: 1}, 0); !ok || err != nil {
		t.Fatalf("put: %v, error %v", ok, err)
	}
	lose.Store(1)
	if rec, err := s.RecentPolicy(ctx, "ns", "p"); rec == nil || err != nil {
		t.Fatalf("policy %+v, error %v", rec, err)
	}
}
