package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// UnfitError is returned by [Store.Check] for a Redis that answers and cannot be
// used as it is. Trying again helps only once somebody has done what Remedy says.
type UnfitError struct {
	Problem, Remedy string
}

// Error returns the problem and what to do.
func (e *UnfitError) Error() string { return "redis: " + e.Problem + ": " + e.Remedy }

// layoutVersion is that of all keys together. Another one is another service as
// far as Redis is concerned.
const layoutVersion = "1"

// minMajor is the first major version of Redis whose scripts have flags.
const minMajor = 7

// Check says whether Redis can be used: its version, that it evicts nothing, that it
// keeps what is written as durably as was asked for, and that what is kept in it is
// of this format and number of shards. The first check of all writes these two
// down. [Store.Info] tells what it has found.
//
// It returns an [*UnfitError] for what only people can change, and a
// *[scheduler.Error] of KindUnavailable when Redis does not answer. Servers that
// refuse to show their settings get a warning in the log.
func (s *Store) Check(ctx context.Context) error {
	f := new(findings)
	if err := s.checkServers(ctx, f); err != nil {
		return err
	}
	if err := s.conclude(f); err != nil {
		return err
	}
	return s.checkLayout(ctx)
}

// checkServers checks every server that tasks may lie on.
func (s *Store) checkServers(ctx context.Context, f *findings) error {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return s.checkServer(ctx, s.client, f)
	}
	err := s.checkMasters(ctx, cluster, f)
	if err != nil && isReply(err) && strings.Contains(err.Error(), "cluster support disabled") {
		return errNotCluster
	}
	return s.typed("ask the nodes of the cluster", err)
}

// checkMasters checks the primaries of a Cluster. One that does not answer pauses
// its own shards only, and is left to its replica; so long as any answers, the
// Cluster can be used.
func (s *Store) checkMasters(ctx context.Context, cluster *redis.ClusterClient, f *findings) error {
	var mu sync.Mutex
	var away error
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		ctx, cancel := context.WithTimeout(ctx, checkPatience)
		defer cancel()
		err := s.checkServer(ctx, node, f)
		if isUnavailable(err) {
			mu.Lock()
			defer mu.Unlock()
			away = err
			return nil
		}
		return err
	})
	if away != nil {
		s.relocate(ctx)
	}
	if err == nil && !f.answered {
		return away
	}
	return err
}

// checkPatience is how long a node of a Cluster may take to answer a check, whose
// caller has time for the others too.
const checkPatience = 500 * time.Millisecond

var errNotCluster = &UnfitError{
	Problem: "it is no Cluster, though its URL names one or several servers",
	Remedy:  "give one address for a single Redis, or master_name for Sentinels",
}

// typed leaves an error that has a type of the port or of this package, and gives
// one to those that have not.
func (s *Store) typed(what string, err error) error {
	if err == nil || isTyped(err) {
		return err
	}
	return s.failure(what, err)
}

func (s *Store) checkServer(ctx context.Context, client redis.UniversalClient, f *findings) error {
	text, err := client.Info(ctx).Result()
	if err != nil {
		return s.typed("read INFO", err)
	}
	info := infoOf(text)
	switch mode := info["redis_mode"]; {
	case mode == "sentinel":
		return &UnfitError{"the address is that of a Sentinel", "name the master in the URL: ?master_name=..."}
	case mode == "cluster" && !s.cluster:
		return &UnfitError{"the server is a node of a Cluster", "give the addresses of several nodes, or add ?cluster=true to the URL"}
	case mode == "standalone" && s.cluster:
		return errNotCluster
	}
	if info["role"] == "slave" {
		// It may be promoted, or the address may come to lead to another.
		return s.failure("check the role", errReplica)
	}
	version := info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < minMajor {
		return &UnfitError{"it is version " + version, fmt.Sprintf("use Redis %d or later", minMajor)}
	}
	settings, err := s.settings(ctx, client)
	if err != nil {
		return err
	}
	if err := s.checkEviction(ctx, settings, info); err != nil {
		return err
	}
	if err := s.checkWait(ctx, client); err != nil {
		return err
	}
	connected, _ := s.heard(s.nodeOf(client), info)
	f.add(version, diskLevel(settings, info), connected)
	return nil
}

// checkWait makes sure that the server may be asked what replicas have confirmed.
func (s *Store) checkWait(ctx context.Context, client redis.UniversalClient) error {
	if !s.confirms() {
		return nil
	}
	switch err := client.Process(ctx, redis.NewIntCmd(ctx, "wait", "0", "1")); {
	case err == nil:
		return nil
	case redis.HasErrorPrefix(err, "NOPERM"):
		return &UnfitError{
			Problem: "its user may not run WAIT, by which replicas confirm what is written",
			Remedy:  "allow it (redis-cli ACL SETUSER <name> +wait, and where its users are kept), or ask for less durability",
		}
	default:
		return s.failure("ask for confirmation", err)
	}
}

var errReplica = errors.New("the server is a replica, which takes no writes")

// checkEviction makes sure that the server throws nothing away by itself.
func (s *Store) checkEviction(ctx context.Context, settings, info map[string]string) error {
	eviction := cmp.Or(settings["maxmemory-policy"], info["maxmemory_policy"])
	if eviction == "" {
		if !s.warned.Swap(true) {
			s.log.WarnContext(ctx, "redis does not tell its maxmemory-policy; make sure that it is noeviction, or tasks will be lost when memory is full")
		}
		return nil
	}
	if eviction != "noeviction" {
		return &UnfitError{
			Problem: "its maxmemory-policy is " + eviction + ", by which it throws tasks away when memory is full",
			Remedy:  "set maxmemory-policy noeviction (redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf)",
		}
	}
	return nil
}

// checkLayout compares what is kept with what this version and its settings
// expect.
func (s *Store) checkLayout(ctx context.Context) error {
	want := []string{layoutVersion, strconv.Itoa(s.cfg.Shards)}
	got, err := s.layout(ctx)
	if err == nil && (got[0] == nil || got[1] == nil) {
		// Of several that start at once the first decides. A full Redis refuses to
		// write, so that nothing is written that is there.
		_, err = s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.HSetNX(ctx, s.keys.layout(), "format", want[0])
			pipe.HSetNX(ctx, s.keys.layout(), "shards", want[1])
			return nil
		})
		if err == nil {
			got, err = s.layout(ctx)
		}
	}
	if err != nil {
		return s.failure("check the layout", err)
	}
	if format := fmt.Sprint(got[0]); format != want[0] {
		return &UnfitError{
			Problem: fmt.Sprintf("what is kept under prefix %q has format %s, and this version of retryd uses format %s", s.cfg.Prefix, format, want[0]),
			Remedy:  "run the version of retryd that wrote it, or give another prefix",
		}
	}
	if shards := fmt.Sprint(got[1]); shards != want[1] {
		return &UnfitError{
			Problem: fmt.Sprintf("what is kept under prefix %q lies in %s shards, and %s are asked for", s.cfg.Prefix, shards, want[1]),
			Remedy:  fmt.Sprintf("run with %s shards; their number is fixed at the first start", shards),
		}
	}
	return nil
}

// layout returns the format and the number of shards that are written down, nil
// where they are not.
func (s *Store) layout(ctx context.Context) ([]any, error) {
	return s.client.HMGet(ctx, s.keys.layout(), "format", "shards").Result()
}

// infoOf reads the answer to INFO.
func infoOf(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}
