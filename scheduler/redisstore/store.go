package redisstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// Store keeps tasks and policies in Redis. It is a [scheduler.Store].
type Store struct {
	cfg     Config
	log     *slog.Logger
	keys    keys
	scripts scripts
	client  redis.UniversalClient
	cluster bool
	// id tells this process's hints from those of others.
	id          [hintIDBytes]byte
	hintChannel string

	recentPolicies recent[scheduler.PolicyRecord]
	recentJobs     recent[scheduler.JobRecord]

	groups  []group
	senders sync.WaitGroup
	greeter *greeter

	// readTimeout bounds how long an answer may take.
	readTimeout time.Duration
	known       knowledge
	// nodes holds what is known of each server's replicas: a *node by the server's
	// address, which is empty where there is one.
	nodes sync.Map
	// elected follows the primary that Sentinels have chosen.
	elected elected
	// warned says that the log has what Check could not find out.
	warned atomic.Bool
}

var _ scheduler.Store = (*Store)(nil)

// Config is what a Store needs to know.
type Config struct {
	// URL says where Redis is; see [ParseURL].
	URL string
	// Login says who the store is to Redis, where the URL does not.
	Login Login
	// TLS is asked for the configuration of each connection over TLS, so that
	// certificates can change. An empty ServerName becomes the host that is dialled.
	// By default the system's roots count.
	TLS func() *tls.Config
	// Prefix begins every key. Default "retryd". It has no braces.
	Prefix string
	// Shards is how many parts the tasks are kept in. It is fixed with the first
	// start. Default 16, on a Cluster 64.
	Shards int
	// Durability is how safe what is written has to be before it is acknowledged. By
	// default it is as safe as Redis happens to be set up to keep it; another level is
	// compared with what [Store.Check] finds. At DurabilityReplicated replicas confirm
	// every answer and every claim.
	Durability scheduler.Durability
	// Replicas is how many have to confirm at DurabilityReplicated, by default all
	// that are connected, and one at the least.
	Replicas int
	// Log takes what operators should know; the default is [slog.Default].
	Log *slog.Logger
	// Observer is told of calls to Redis; nil where nobody is to know.
	Observer Observer
	// NowMS, when set, is the clock in place of Redis's own: for tests alone.
	NowMS func() int64
}

// The defaults of a zero Config.
const (
	DefaultPrefix        = "retryd"
	DefaultShards        = 16
	DefaultClusterShards = 64
	// MaxShards bounds Config.Shards.
	MaxShards = 4096
)

// New returns a store. It does not connect: it works as soon as Redis can be
// reached. See [Store.Check].
func New(cfg Config) (*Store, error) {
	target, err := ParseURL(cfg.URL)
	if err == nil {
		err = target.logIn(cfg.Login)
	}
	if err == nil && cfg.TLS != nil && !target.TLS() {
		err = errors.New("redis url: there are settings of TLS, but it does not begin with rediss://")
	}
	if err := errors.Join(err, cfg.check()); err != nil {
		return nil, err
	}
	target.tls = cfg.TLS
	cfg.Prefix = cmp.Or(cfg.Prefix, DefaultPrefix)
	if cfg.Shards == 0 {
		cfg.Shards = DefaultShards
		if target.Cluster() {
			cfg.Shards = DefaultClusterShards
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Store{
		cfg:     cfg,
		log:     cfg.Log,
		keys:    newKeys(cfg.Prefix, cfg.Shards),
		scripts: newScripts(cfg.Durability == scheduler.DurabilityReplicated),
		cluster: target.Cluster(),
	}
	s.known.info = scheduler.StoreInfo{Kind: target.kind(), Asked: cfg.Durability, ReplicasAsked: cfg.Replicas}
	s.readTimeout = target.readTimeout()
	s.groups = make([]group, 1)
	if s.cluster {
		s.groups = make([]group, cfg.Shards)
	}
	s.hintChannel = s.keys.hints()
	_, _ = rand.Read(s.id[:]) // never fails
	redis.SetLogger(clientLog{cfg.Log})
	s.greeter = newGreeter()
	s.client = target.connect(&s.scripts, s.greeter)
	if target.master != "" {
		s.elected.follow(s.client)
	}
	return s, nil
}

// check says everything that is wrong with what stands beside the URL.
func (cfg *Config) check() error {
	var errs []error
	if cfg.Prefix != "" {
		errs = append(errs, checkPrefix(cfg.Prefix))
	}
	if cfg.Shards < 0 || cfg.Shards > MaxShards {
		errs = append(errs, fmt.Errorf("%d shards: it must be 1 to %d", cfg.Shards, MaxShards))
	}
	if cfg.Durability > scheduler.DurabilityReplicated {
		errs = append(errs, fmt.Errorf("durability is %d: it must be one of those of the scheduler", cfg.Durability))
	}
	if cfg.Replicas < 0 || (cfg.Replicas > 0 && cfg.Durability != scheduler.DurabilityReplicated) {
		errs = append(errs, fmt.Errorf("%d replicas are to confirm: it must be 0 or more, and 0 unless durability is replicated", cfg.Replicas))
	}
	return errors.Join(errs...)
}

// clientLog takes what go-redis has to say, which otherwise goes to the standard
// error as it comes. What matters of it comes back as an error as well.
type clientLog struct{ log *slog.Logger }

// Printf logs one line.
func (l clientLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "go-redis", "line", fmt.Sprintf(format, v...))
	}
}

// Close waits for what is on its way and closes the connections. No other method
// may be called from then on.
func (s *Store) Close() error {
	s.senders.Wait()
	s.greeter.close()
	return s.client.Close()
}

// Shards returns the number of shards.
func (s *Store) Shards() int { return s.cfg.Shards }
