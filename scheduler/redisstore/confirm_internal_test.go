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

// TestWhoIsToConfirm has a server answer WAIT, and tell of its replicas right after it,
// when one or another has been heard of before.
func TestWhoIsToConfirm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before []string
		after  string
		acked  int64
		want   bool
	}{
		"nothing changes":              {nil, ofPrimary("a", 2, 0), 2, true},
		"too few":                      {nil, ofPrimary("a", 2, 0), 1, false},
		"one comes":                    {nil, ofPrimary("a", 3, 0), 2, false},
		"one comes, and confirms":      {nil, ofPrimary("a", 3, 0), 3, true},
		"one leaves":                   {nil, ofPrimary("a", 1, 0), 1, false},
		"one has confirmed and leaves": {nil, ofPrimary("a", 1, 0), 2, true},
		"another primary":              {nil, ofPrimary("b", 1, 0), 1, true},
		"another primary, of which more are known": {[]string{ofPrimary("b", 2, 0), ofPrimary("a", 1, 0)}, ofPrimary("b", 1, 0), 1, false},
		"the old one, when the new one is known":   {[]string{ofPrimary("b", 0, 0)}, ofPrimary("a", 1, 0), 1, false},
		"the new one has none":                     {nil, ofPrimary("b", 0, 0), 0, false},
		"it is a replica by now":                   {nil, strings.Replace(ofPrimary("a", 2, 0), "master", "slave", 1), 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, n := toldStore(t, &told{info: ofPrimary("a", 2, 0)})
				for _, info := range c.before {
					s.heard(n, infoOf(info))
				}
				wait := s.wait(t.Context(), n)
				wait.cmd.SetVal(c.acked)
				wait.info.SetVal(c.after)
				err := s.confirmed(t.Context(), n, wait)
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
		var loaded []string
		got.connected, loaded, got.inStep = replicasOf(infoOf(c.info))
		got.loaded = len(loaded)
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
	for _, c := range []struct {
		info string
		want int
	}{{server.info + "slave1:state=online,offset=0,lag=9\r\n", 1}, {ofPrimary("a", 2, 0), 2}} {
		if _, got := s.heard(n, infoOf(c.info)); got != c.want {
			t.Errorf("%d have to confirm, want %d, by\n%s", got, c.want, c.info)
		}
	}
}
