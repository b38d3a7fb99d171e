package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// knowledge is what the last check has found.
type knowledge struct {
	mu   sync.Mutex
	info scheduler.StoreInfo
	// less is why nothing is to be written: what would be acknowledged would be less
	// safe than was asked for. nil while all is well.
	less error
}

// Info tells what the last check has found.
func (s *Store) Info() scheduler.StoreInfo {
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	return s.known.info
}

// lessThanAsked is why nothing may be written, nil when it may.
func (s *Store) lessThanAsked() error {
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	return s.known.less
}

// findings are what one check finds, over all servers that tasks may lie on.
type findings struct {
	mu sync.Mutex
	// answered says that any server has answered; the rest is of the weakest.
	answered bool
	version  string
	disk     scheduler.Durability
	replicas int
}

// add notes one server.
func (f *findings) add(version string, disk scheduler.Durability, replicas int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.answered {
		f.answered, f.version, f.disk, f.replicas = true, version, disk, replicas
		return
	}
	// A server that does not tell may keep nothing, and is the less known.
	f.disk, f.replicas = min(f.disk, disk), min(f.replicas, replicas)
}

// settings are what a server tells of how it is set up, by their names in
// redis.conf; nil where it refuses to.
func (s *Store) settings(ctx context.Context, client redis.UniversalClient) (map[string]string, error) {
	cmd := redis.NewMapStringStringCmd(ctx, "config", "get", "maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite")
	err := client.Process(ctx, cmd)
	switch {
	case err == nil:
		return cmd.Val(), nil
	case isReply(err):
		return nil, nil
	default:
		return nil, s.failure("read the settings", err)
	}
}

// diskLevel is what a server keeps on disk, by its settings, or where it refuses to
// show them, by INFO.
func diskLevel(settings, info map[string]string) scheduler.Durability {
	appends := settings["appendonly"]
	if appends == "" {
		appends = map[string]string{"0": "no", "1": "yes"}[info["aof_enabled"]]
	}
	switch {
	case appends == "no":
		return scheduler.DurabilityMemory
	case appends != "yes":
		return scheduler.DurabilityUnknown
	case settings["no-appendfsync-on-rewrite"] == "yes":
		// While the file is rewritten it is as with appendfsync no.
		return scheduler.DurabilityMemory
	}
	switch settings["appendfsync"] {
	case "always":
		return scheduler.DurabilityAlways
	case "everysec":
		return scheduler.DurabilityEverySecond
	case "no":
		// The file is written when the system likes, after half a minute perhaps.
		return scheduler.DurabilityMemory
	default:
		return scheduler.DurabilityUnknown
	}
}

// replicasOf tells of the replicas that INFO names: how many are connected and were sent
// all that there was when they came; the names of those of them that have it, which have
// said how far they are and do not load it any more; and how many have been heard of
// within a moment.
func replicasOf(info map[string]string) (connected int, loaded []string, inStep int) {
	for n := 0; ; n++ {
		line, ok := info["slave"+strconv.Itoa(n)]
		if !ok {
			return connected, loaded, inStep
		}
		replica := make(map[string]string)
		for pair := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(pair, "=")
			replica[name] = value
		}
		if replica["state"] != "online" {
			continue
		}
		connected++
		if replica["offset"] != "0" {
			loaded = append(loaded, replica["ip"]+":"+replica["port"])
		}
		if lag, err := strconv.Atoi(replica["lag"]); err == nil && lag <= maxLagSeconds {
			inStep++
		}
	}
}

// maxLagSeconds is for how long a replica may not be heard of that is taken to be in
// step: they say once a second how far they are.
const maxLagSeconds = 1

// conclude keeps what a check has found, and returns an [*UnfitError] when it is
// less than was asked for.
func (s *Store) conclude(f *findings) error {
	found := f.disk
	asked := s.cfg.Durability
	var less *UnfitError
	switch asked {
	case scheduler.DurabilityReplicated:
		if f.replicas >= max(1, s.cfg.Replicas) {
			found = asked
		} else {
			less = &UnfitError{
				Problem: fmt.Sprintf("of its replicas %d are connected, and durability replicated asks for at least %d", f.replicas, max(1, s.cfg.Replicas)),
				Remedy:  "connect more replicas (replicaof), or ask for fewer or for less durability",
			}
		}
	case scheduler.DurabilityEverySecond, scheduler.DurabilityAlways:
		if found != scheduler.DurabilityUnknown && found < asked {
			less = &UnfitError{
				Problem: fmt.Sprintf("what it keeps on disk makes for durability %s, and %s is asked for", found, asked),
				Remedy: fmt.Sprintf("set appendonly yes, appendfsync %s and no-appendfsync-on-rewrite no (redis-cli CONFIG SET, and in redis.conf), or ask for less",
					asked),
			}
		}
	}
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	s.known.info.Version, s.known.info.Found, s.known.info.Disk, s.known.info.Replicas = f.version, found, f.disk, f.replicas
	s.known.less = nil
	if less == nil {
		return nil
	}
	if asked != scheduler.DurabilityReplicated {
		// Replicas are counted with every write, and may be back by then.
		s.known.less = less
	}
	return less
}
