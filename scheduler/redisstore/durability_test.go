package redisstore_test

import (
	"strings"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// levels are settings of Redis, and what they make for.
var levels = []struct {
	appendonly, appendfsync, onRewrite string
	want                               scheduler.Durability
}{
	{"no", "always", "no", scheduler.DurabilityMemory},
	{"yes", "no", "no", scheduler.DurabilityMemory},
	{"yes", "everysec", "no", scheduler.DurabilityEverySecond},
	{"yes", "always", "no", scheduler.DurabilityAlways},
	{"yes", "always", "yes", scheduler.DurabilityMemory},
}

func configure(t *testing.T, server *redistest.Server, appendonly, appendfsync, onRewrite string) {
	t.Helper()
	server.Do(t, "CONFIG", "SET", "appendonly", appendonly, "appendfsync", appendfsync, "no-appendfsync-on-rewrite", onRewrite)
	// Until its first file is written, Redis refuses to end.
	await(t, "the append-only file", func() bool {
		info := server.Do(t, "INFO", "persistence")
		return strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
	})
}

// TestLevelsFound holds what is found of each setting against all that can be asked
// for, and wants nothing to be written where that is less.
func TestLevelsFound(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	disk := []scheduler.Durability{
		scheduler.DurabilityUnknown, scheduler.DurabilityMemory, scheduler.DurabilityEverySecond, scheduler.DurabilityAlways,
	}
	for _, l := range levels {
		configure(t, server, l.appendonly, l.appendfsync, l.onRewrite)
		for _, asked := range disk {
			s := newStore(t, redisstore.Config{URL: server.URL(), Prefix: redistest.Prefix(t), Durability: asked})
			err := s.Check(t.Context())
			got := s.Info()
			if got.Found != l.want || got.Asked != asked || got.Kind != "redis" || got.Version == "" {
				t.Errorf("%+v: found %+v", l, got)
			}
			committed := s.Commit(t.Context(), creations(0, 1))[0]
			if l.want >= asked {
				if err != nil || committed.Err != nil {
					t.Errorf("%+v, asked for %s: check %v, commit %v", l, asked, err, committed.Err)
				}
				continue
			}
			if !isUnfit(err) || !strings.Contains(err.Error(), "durability "+l.want.String()) || !strings.Contains(err.Error(), "appendfsync "+asked.String()) {
				t.Errorf("%+v, asked for %s: %v", l, asked, err)
			}
			wantKind(t, committed.Err, scheduler.KindUnavailable)
			if loaded := s.Load(t.Context(), []scheduler.TaskKey{creations(0, 1)[0].Key})[0]; loaded.Task != nil || loaded.Err != nil {
				t.Errorf("%+v, asked for %s: what was refused is written: %+v", l, asked, loaded)
			}
		}
	}
}

// TestLevelThatChanges wants writes to be refused as long as Redis keeps less than
// what was asked for.
func TestLevelThatChanges(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := newStore(t, redisstore.Config{URL: server.URL(), Durability: scheduler.DurabilityAlways})
	for _, always := range []bool{true, false, true} {
		fsync := "always"
		if !always {
			fsync = "everysec"
		}
		server.Do(t, "CONFIG", "SET", "appendfsync", fsync)
		if err := s.Check(t.Context()); isUnfit(err) == always {
			t.Fatalf("with appendfsync %s: %v", fsync, err)
		}
		if got := s.Commit(t.Context(), creations(0, 1))[0]; (got.Err == nil) != always {
			t.Fatalf("with appendfsync %s: %v", fsync, got.Err)
		}
		claimed := s.Claim(t.Context(), []scheduler.Claim{{
			ID: 1, Replica: "r", Queue: queueQ, Slots: []scheduler.Slot{{Count: 1, LeaseMS: 1000}}, Nonces: make([]uint64, 1),
		}})[0]
		if (claimed.Err == nil) != always {
			t.Fatalf("with appendfsync %s: %v", fsync, claimed.Err)
		}
	}
}

// TestLevelsOfServersThatTellLess has users who may not see the settings.
func TestLevelsOfServersThatTellLess(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--port", redistest.FreePort(t))
	server.Do(t, "ACL", "SETUSER", "mute", "on", "nopass", "~*", "&*", "+@all", "-config", "-wait")
	cfg := redisstore.Config{URL: strings.Replace(server.URL(), "redis://", "redis://mute:any@", 1), Durability: scheduler.DurabilityAlways}
	s := newStore(t, cfg)
	if err := s.Check(t.Context()); !isUnfit(err) || s.Info().Found != scheduler.DurabilityMemory {
		t.Errorf("INFO shows that there is no append-only file: %v, %+v", err, s.Info())
	}
	configure(t, server, "yes", "everysec", "no")
	if err := s.Check(t.Context()); err != nil || s.Info().Found != scheduler.DurabilityUnknown {
		t.Errorf("there is a file, and nobody says when it is written: %v, %+v", err, s.Info())
	}
	cfg.Durability = scheduler.DurabilityReplicated
	if err := newStore(t, cfg).Check(t.Context()); !isUnfit(err) || !strings.Contains(err.Error(), "may not run WAIT") {
		t.Errorf("a user without WAIT: %v", err)
	}
}

// TestLevelOfAClusterIsItsWeakest has one master that keeps less than the others.
func TestLevelOfAClusterIsItsWeakest(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 0, "--appendonly", "yes", "--appendfsync", "always")
	s := newStore(t, redisstore.Config{URL: cluster.URL(), Durability: scheduler.DurabilityAlways})
	if err := s.Check(t.Context()); err != nil || s.Info().Kind != "cluster" || s.Info().Found != scheduler.DurabilityAlways {
		t.Errorf("%v, %+v", err, s.Info())
	}
	cluster.Masters[1].Do(t, "CONFIG", "SET", "appendfsync", "everysec")
	if err := s.Check(t.Context()); !isUnfit(err) || s.Info().Found != scheduler.DurabilityEverySecond {
		t.Errorf("%v, %+v", err, s.Info())
	}
}

func TestDurabilityOfAConfig(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]redisstore.Config{
		"no level":             {Durability: 99},
		"negative":             {Durability: scheduler.DurabilityReplicated, Replicas: -1},
		"replicas that do not": {Durability: scheduler.DurabilityAlways, Replicas: 1},
	} {
		cfg.URL = "redis://localhost"
		if s, err := redisstore.New(cfg); err == nil {
			t.Errorf("%s: taken", name)
			_ = s.Close()
		}
	}
}
