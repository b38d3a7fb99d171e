package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/bench/internal/proc"
)

// redisServer is a Redis of a stage's own.
type redisServer struct {
	*proc.Process
	addr   string
	client *redis.Client
}

// startRedis starts one. appendFsync is when it writes to its disk: "" for never.
func startRedis(ctx context.Context, path, dir, appendFsync string) (*redisServer, error) {
	addr, err := proc.FreeAddr(ctx)
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(addr, ":")
	data := filepath.Join(dir, "redis")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for redis: %w", err)
	}
	args := []string{
		"--dir", data, "--bind", "127.0.0.1", "--port", port, "--save", "", "--maxmemory-policy", "noeviction",
	}
	if appendFsync != "" {
		args = append(args, "--appendonly", "yes", "--appendfsync", appendFsync)
	}
	p, err := proc.Start(dir, "redis", exec.CommandContext(context.WithoutCancel(ctx), path, args...))
	if err != nil {
		return nil, err
	}
	s := &redisServer{Process: p, addr: addr, client: redis.NewClient(&redis.Options{Addr: addr})}
	if err := p.Await(ctx, func(ctx context.Context) error { return s.client.Ping(ctx).Err() }); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *redisServer) stop() error { return errors.Join(s.client.Close(), s.Stop()) }

// info returns what Redis tells of a section.
func (s *redisServer) info(ctx context.Context, section string) (map[string]string, error) {
	text, err := s.client.Info(ctx, section).Result()
	if err != nil {
		return nil, fmt.Errorf("ask redis for its %s: %w", section, err)
	}
	return parseInfo(text), nil
}

func parseInfo(text string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// cpu returns the seconds that Redis has used.
func (s *redisServer) cpu(ctx context.Context) (float64, error) {
	info, err := s.info(ctx, "cpu")
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, name := range []string{"used_cpu_sys", "used_cpu_user"} {
		v, err := strconv.ParseFloat(info[name], 64)
		if err != nil {
			return 0, fmt.Errorf("redis tells %s as %q: %w", name, info[name], err)
		}
		sum += v
	}
	return sum, nil
}

// bytes returns what Redis's data take: what it has allocated less what it keeps
// for its clients.
func (s *redisServer) bytes(ctx context.Context) (int64, error) {
	info, err := s.info(ctx, "memory")
	if err != nil {
		return 0, err
	}
	value := func(name string) (int64, error) {
		v, err := strconv.ParseInt(info[name], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("redis tells %s as %q: %w", name, info[name], err)
		}
		return v, nil
	}
	used, err := value("used_memory")
	if err != nil {
		return 0, err
	}
	for _, name := range []string{"mem_clients_normal", "mem_aof_buffer"} {
		other, err := value(name)
		if err != nil {
			return 0, err
		}
		used -= other
	}
	return used, nil
}
