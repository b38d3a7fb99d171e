package redisstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

func TestCheckTakesWhatItKnows(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := redisstore.Config{URL: server.URL(), Prefix: redistest.Prefix(t), Shards: 3}
	for range 2 {
		if err := newStore(t, cfg).Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := server.Do(t, "HGETALL", cfg.Prefix+":{meta}:layout"); got != "format\n1\nshards\n3" {
		t.Errorf("layout %q", got)
	}
}

func TestCheckRefusesWhatIsUnfit(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, c := range []struct {
		name string
		// spoil is a command to the server.
		spoil []string
		url   string
		want  []string
	}{
		{"another number of shards", []string{"HSET", "retryd:{meta}:layout", "format", "1", "shards", "8"}, "", []string{"8 shards", "16 are asked for", "run with 8"}},
		{"another format", []string{"HSET", "retryd:{meta}:layout", "format", "2"}, "", []string{"format 2", "another prefix"}},
		{"eviction", []string{"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}, "", []string{"allkeys-lru", "noeviction"}},
	} {
		server.Do(t, "FLUSHALL")
		server.Do(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
		server.Do(t, c.spoil...)
		err := newStore(t, redisstore.Config{URL: server.URL()}).Check(t.Context())
		if !isUnfit(err) {
			t.Errorf("%s: %v, want an UnfitError", c.name, err)
			continue
		}
		for _, text := range c.want {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %q does not say %q", c.name, err, text)
			}
		}
	}
}

func TestCheckOfAServerThatIsAway(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisstore.Config{URL: "unix://" + t.TempDir() + "/nobody"})
	wantKind(t, s.Check(t.Context()), scheduler.KindUnavailable)
}

func TestCheckOfAClusterThatIsNone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--port", redistest.FreePort(t))
	s := newStore(t, redisstore.Config{URL: server.URL() + "?cluster=true"})
	err := s.Check(t.Context())
	if !isUnfit(err) || !strings.Contains(err.Error(), "no Cluster") {
		t.Errorf("%v, want that it is no Cluster", err)
	}
}

func isUnfit(err error) bool {
	_, ok := errors.AsType[*redisstore.UnfitError](err)
	return ok
}

// wantKind wants err to be an error of that kind with a delay for the next try.
func wantKind(t *testing.T, err error, kind scheduler.Kind) {
	t.Helper()
	e, ok := errors.AsType[*scheduler.Error](err)
	if !ok || e.Kind != kind || e.RetryDelay <= 0 {
		t.Errorf("error %v, want one of kind %d with a delay", err, kind)
	}
}
