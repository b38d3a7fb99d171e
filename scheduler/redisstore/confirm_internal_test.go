package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// told is a server that answers INFO and nothing else.
type told struct {
	info  string
	infos int
}

func (s *told) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *told) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		text, ok := cmd.(*redis.StringCmd)
		if !ok || cmd.Name() != "info" {
			return errors.New("it is not asked that")
		}
		s.infos++
		text.SetVal(s.info)
		return nil
	}
}

func (s *told) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ofPrimary is the INFO of a primary, whose replicas are heard of as long ago as
// lag says.
func ofPrimary(history string, replicas, lag int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "role:master\r\nmaster_replid:%s\r\n", history)
	for n := range replicas {
		fmt.Fprintf(&b, "slave%d:ip=127.0.0.1,port=%d,state=online,offset=14,lag=%d\r\n", n, 7000+n, lag)
	}
	return b.String()
}

// toldStore is a store on a server of which all is known that it tells.
func toldStore(t *testing.T, server *told) (*Store, *node) {
	t.Helper()
	s, err := New(Config{URL: "redis://nowhere", Durability: scheduler.DurabilityReplicated})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.client.AddHook(server)
	n := s.nodeOf(s.client)
	s.heard(n, infoOf(server.info))
	return s, n
}

// TestWhatIsConfirmedIsOfTheTimeBefore has what is known of the replicas change while
// they are waited for, as others' calls find out.
func TestWhatIsConfirmedIsOfTheTimeBefore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before string
		// heard is what others are told meanwhile, long says that it is old by then, and
		// after what is told from then on.
		heard string
		long  bool
		after string
		acked int64
		want  bool
	}{
		"nothing changes":                   {ofPrimary("a", 2, 0), ofPrimary("a", 2, 0), false, ofPrimary("a", 2, 0), 2, true},
		"too few":                           {ofPrimary("a", 2, 0), ofPrimary("a", 2, 0), false, ofPrimary("a", 2, 0), 1, false},
		"the count is old":                  {ofPrimary("a", 2, 0), ofPrimary("a", 2, 0), true, ofPrimary("a", 2, 0), 2, true},
		"one has come":                      {ofPrimary("a", 1, 0), ofPrimary("a", 2, 0), false, ofPrimary("a", 2, 0), 1, false},
		"another primary":                   {ofPrimary("a", 1, 0), ofPrimary("b", 1, 0), false, ofPrimary("b", 1, 0), 1, false},
		"another primary is found by it":    {ofPrimary("a", 1, 0), ofPrimary("a", 1, 0), true, ofPrimary("b", 1, 0), 1, false},
		"another primary has fewer":         {ofPrimary("a", 2, 0), ofPrimary("b", 1, 0), false, ofPrimary("b", 1, 0), 2, false},
		"another primary, and then the one": {ofPrimary("a", 2, 0), ofPrimary("b", 1, 0), false, ofPrimary("a", 1, 0), 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := &told{info: c.before}
				s, n := toldStore(t, server)
				wait := s.wait(t.Context(), n)
				s.heard(n, infoOf(c.heard))
				if c.long {
					n.all.heardAt = n.all.heardAt.Add(-countPause)
				}
				server.info = c.after
				wait.cmd.SetVal(c.acked)
				err := s.confirmed(t.Context(), s.client, n, wait)
				if (err == nil) != c.want || (err != nil && !scheduler.IsUnconfirmed(err)) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// TestClaimsOfACallLookOnce has a claim for each shard of a server whose replicas are
// behind.
func TestClaimsOfACallLookOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &told{info: ofPrimary("a", 1, 10)}
		s, _ := toldStore(t, server)
		claims := make([]scheduler.Claim, s.Shards())
		for shard := range claims {
			claims[shard] = scheduler.Claim{ID: 1, Queue: scheduler.QueueKey{Namespace: "ns", Name: "q"}, Shard: shard}
		}
		for looks := 1; looks <= 2; looks++ {
			for _, got := range s.Claim(t.Context(), claims) {
				if !scheduler.IsUnconfirmed(got.Err) {
					t.Fatalf("claimed: %+v", got)
				}
			}
			if server.infos != looks {
				t.Errorf("%d looks by call %d", server.infos, looks)
			}
			n := s.nodeOf(s.client)
			last := *n.looked.Load()
			last.at = last.at.Add(-lookPause)
			n.looked.Store(&last)
		}
	})
}

func TestReplicasThatCount(t *testing.T) {
	t.Parallel()
	type counts struct{ connected, loaded, inStep int }
	for name, c := range map[string]struct {
		info string
		want counts
	}{
		"none":                        {"role:master", counts{0, 0, 0}},
		"in step":                     {"slave0:state=online,offset=14,lag=1", counts{1, 1, 1}},
		"not heard of":                {"slave0:state=online,offset=14,lag=2", counts{1, 1, 0}},
		"it is sent what there was":   {"slave0:state=send_bulk,offset=0,lag=0", counts{0, 0, 0}},
		"it loads what there was":     {"slave0:state=online,offset=0,lag=2", counts{1, 0, 0}},
		"one loads, and one is there": {"slave0:state=online,offset=0,lag=2\nslave1:state=online,offset=9,lag=0", counts{2, 1, 1}},
	} {
		var got counts
		got.connected, got.loaded, got.inStep = replicasOf(infoOf(c.info))
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestReplicasThatLoadAreNotWaitedFor has one come that loads what there is.
func TestReplicasThatLoadAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	server := &told{info: ofPrimary("a", 1, 0)}
	s, n := toldStore(t, server)
	s.heard(n, infoOf(server.info+"slave1:state=online,offset=0,lag=9\r\n"))
	if got := s.needed(n); got != 1 {
		t.Errorf("%d have to confirm, want 1", got)
	}
	s.heard(n, infoOf(ofPrimary("a", 2, 0)))
	if got := s.needed(n); got != 2 {
		t.Errorf("once it has loaded, %d have to confirm, want 2", got)
	}
}
