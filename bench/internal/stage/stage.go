// Package stage puts up what a measurement runs on: the servers of one system,
// fresh for every run, and tells what they use. It does no work on them.
package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/retryd/retryd/bench/internal/proc"
	"github.com/retryd/retryd/bench/internal/system"
)

// Options say how a stage differs from the usual one.
type Options struct {
	// Shards and Replicas are the product's; 0 is its default and one.
	Shards   int `json:"shards,omitempty"`
	Replicas int `json:"replicas,omitempty"`
	// AppendFsync is when Redis writes to its disk: "everysec", "always", or "" for
	// never.
	AppendFsync string `json:"appendfsync,omitempty"`
}

// Stage is the servers of one system, running.
type Stage struct {
	// Addr says where they are.
	Addr map[string]string
	// Token is what calls have to bear, empty for none.
	Token string

	system  string
	tools   *Tools
	dir     string
	redis   *redisServer
	pg      *postgresServer
	others  []*proc.Process
	stopped bool
	// scrapers read the metrics of those that are watched.
	scrapers []*scraper
}

// Open starts the servers of a system.
func Open(ctx context.Context, tools *Tools, name string, opts Options) (*Stage, error) {
	if why := tools.Missing(name); why != nil {
		return nil, why
	}
	dir, err := os.MkdirTemp("", "retryd-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for %s: %w", name, err)
	}
	s := &Stage{Addr: make(map[string]string), system: name, tools: tools, dir: dir}
	if err := s.start(ctx, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), s.Close())
	}
	return s, nil
}

func (s *Stage) start(ctx context.Context, opts Options) error {
	switch s.system {
	case system.River:
		return s.startPostgres(ctx)
	case system.Beanstalkd:
		return s.startBeanstalkd(ctx)
	case system.Echo:
		return s.startFloor(ctx)
	}
	if err := s.startRedis(ctx, opts); err != nil {
		return err
	}
	switch s.system {
	case system.Retryd, system.RetrydStream, system.RetrydBare, system.RetrydWatched:
		return s.startRetryd(ctx, opts)
	case system.GRPCAsynq, system.GRPCScript:
		return s.startFloor(ctx)
	}
	return nil
}

func (s *Stage) startRedis(ctx context.Context, opts Options) error {
	var err error
	if s.redis, err = startRedis(ctx, s.tools.redis, s.dir, opts.AppendFsync); err != nil {
		return err
	}
	s.Addr[system.AddrRedis] = s.redis.addr
	return nil
}

func (s *Stage) startPostgres(ctx context.Context) error {
	var err error
	if s.pg, err = s.tools.postgres.start(ctx, s.dir); err != nil {
		return err
	}
	s.Addr[system.AddrPostgres] = s.pg.url
	return nil
}

func (s *Stage) startBeanstalkd(ctx context.Context) error {
	addr, err := proc.FreeAddr(ctx)
	if err != nil {
		return err
	}
	host, port, _ := strings.Cut(addr, ":")
	p, err := s.run(exec.CommandContext(context.WithoutCancel(ctx), s.tools.beanstalkd, "-l", host, "-p", port), system.Beanstalkd)
	if err != nil {
		return err
	}
	s.Addr[system.AddrBeanstalkd] = addr
	return p.Await(ctx, func(ctx context.Context) error { return proc.Dial(ctx, addr) })
}

func (s *Stage) startFloor(ctx context.Context) error {
	addr, err := proc.FreeAddr(ctx)
	if err != nil {
		return err
	}
	args := []string{"serve", s.system, addr, s.Addr[system.AddrRedis]}
	p, err := s.run(s.tools.goCommand(context.WithoutCancel(ctx), s.tools.self, args...), "server")
	if err != nil {
		return err
	}
	s.Addr[system.AddrGRPC] = addr
	return p.Await(ctx, func(ctx context.Context) error { return proc.Dial(ctx, addr) })
}

func (s *Stage) startRetryd(ctx context.Context, opts Options) error {
	var addrs []string
	for i := range max(1, opts.Replicas) {
		addr, err := proc.FreeAddr(ctx)
		if err != nil {
			return err
		}
		args := []string{"serve", "--listen", addr, "--redis-url", "redis://" + s.redis.addr, "--shards", strconv.Itoa(opts.Shards)}
		switch s.system {
		case system.RetrydWatched:
			admin, err := proc.FreeAddr(ctx)
			if err != nil {
				return err
			}
			args = append(append(args, "--admin-listen", admin), s.tools.runtime.Watched...)
			s.Token = s.tools.runtime.Token
			s.scrapers = append(s.scrapers, startScraper(ctx, admin))
		case system.RetrydBare:
			args = append(args, "--admin-listen", "", "--log-decisions=false")
		default:
			args = append(args, "--admin-listen", "")
		}
		name := "server"
		if i > 0 {
			name += "-" + strconv.Itoa(i+1)
		}
		p, err := s.run(s.tools.goCommand(context.WithoutCancel(ctx), s.tools.retryd, args...), name)
		if err != nil {
			return err
		}
		if err := p.Await(ctx, func(ctx context.Context) error { return serving(ctx, addr) }); err != nil {
			return err
		}
		addrs = append(addrs, addr)
	}
	s.Addr[system.AddrGRPC] = strings.Join(addrs, ",")
	return nil
}

// run starts one of the stage's processes.
func (s *Stage) run(cmd *exec.Cmd, name string) (*proc.Process, error) {
	p, err := proc.Start(s.dir, name, cmd)
	if err != nil {
		return nil, err
	}
	s.others = append(s.others, p)
	return p, nil
}

// serving asks the health service of a server.
func serving(ctx context.Context, addr string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	resp, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("its health is %s", resp.GetStatus())
	}
	return nil
}

// Dir is where logs go.
func (s *Stage) Dir() string { return s.dir }

// Load returns the command of the load process.
func (s *Stage) Load(ctx context.Context) *exec.Cmd {
	if s.system == system.BullMQ {
		cmd := exec.CommandContext(ctx, s.tools.node, "bench.mjs")
		cmd.Dir = s.tools.bullMQ
		return cmd
	}
	return s.tools.goCommand(ctx, s.tools.self, "drive")
}

// CPU returns the seconds of CPU that each kind of server has used; replicas
// count together.
func (s *Stage) CPU(ctx context.Context) (map[string]float64, error) {
	used := make(map[string]float64)
	if s.redis != nil {
		v, err := s.redis.cpu(ctx)
		if err != nil {
			return nil, err
		}
		used["redis"] = v
	}
	if s.pg != nil {
		v, err := proc.CPU(s.pg.PID())
		if err != nil {
			return nil, err
		}
		used["postgres"] = v
	}
	for _, p := range s.others {
		v, err := proc.CPU(p.PID())
		if err != nil {
			return nil, fmt.Errorf("%s: %w; its log ends with:\n%s", p.Name(), err, p.Log())
		}
		name, _, _ := strings.Cut(p.Name(), "-")
		used[name] += v
	}
	return used, nil
}

// Bytes returns what the system's tasks take: in Redis, or in Postgres's tables,
// or all of the memory of a server that keeps them itself. It is 0 for one that
// keeps nothing.
func (s *Stage) Bytes(ctx context.Context) (int64, error) {
	switch {
	case s.redis != nil:
		return s.redis.bytes(ctx)
	case s.pg != nil:
		return system.RiverBytes(ctx, s.pg.url)
	case s.system == system.Beanstalkd:
		return proc.Resident(s.others[0].PID())
	default:
		return 0, nil
	}
}

// Close ends everything and removes its files.
func (s *Stage) Close() error {
	if s.stopped {
		return nil
	}
	s.stopped = true
	var errs []error
	for _, sc := range s.scrapers {
		errs = append(errs, sc.stop())
	}
	for _, p := range s.others {
		errs = append(errs, p.Stop())
	}
	if s.redis != nil {
		errs = append(errs, s.redis.stop())
	}
	if s.pg != nil {
		errs = append(errs, s.pg.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
