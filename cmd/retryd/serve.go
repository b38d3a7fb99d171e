package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/retryd/retryd/internal/cli"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/server"
)

// defaultRedisURL is that of a Redis on this machine.
const defaultRedisURL = "redis://127.0.0.1:6379"

// serveConfig is what the service runs with.
type serveConfig struct {
	config
	redisURL, redisPrefix string
	shards                int
	login                 redisLogin
	durability            durability
	reflection            bool
	security              security
}

func newServeCommand() *cobra.Command {
	var cfg serveConfig
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the service on Redis; any number of replicas may run over one",
		Long: `Runs the service on Redis 7 or later: one server, Sentinels, or a Cluster. Any number
of replicas may run over one Redis.

It starts when Redis is away, refuses calls with UNAVAILABLE and says NOT_SERVING until
Redis comes. Redis must have maxmemory-policy noeviction, and keep what is written as
safe as --durability asks; a Redis that cannot be used ends the process with a message
that says what to do.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cfg.from.locate(runServe(cmd, &cfg)) },
	}
	cfg.addFlags(cmd.Flags())
	cfg.from.bind(cmd)
	return cmd
}

// addFlags defines the flags of the service.
func (c *serveConfig) addFlags(flags *pflag.FlagSet) {
	c.addTo(flags)
	flags.StringVar(&c.redisURL, "redis-url", defaultRedisURL, "where Redis is: redis://, rediss:// (TLS) or unix://; several hosts with ?master_name=NAME for Sentinels, several without for a Cluster")
	flags.StringVar(&c.redisPrefix, "redis-prefix", redisstore.DefaultPrefix, "what every key begins with; services with different prefixes share a Redis without meeting")
	flags.IntVar(&c.shards, "shards", 0, fmt.Sprintf("how many parts the tasks are kept in, fixed at the first start; 0 means %d, on a Cluster %d", redisstore.DefaultShards, redisstore.DefaultClusterShards))
	c.login.addTo(flags)
	c.durability.addTo(flags)
	flags.BoolVar(&c.reflection, "reflection", false, "answer gRPC reflection, which grpcurl uses to learn what is served")
	c.security.addTo(flags)
}

func runServe(cmd *cobra.Command, cfg *serveConfig) error {
	watch := newWatch(cfg.config, cmd.ErrOrStderr())
	log := watch.log
	store, policies, err := cfg.prepare(watch)
	if err != nil {
		return err
	}
	defer func() {
		if err := store.Close(); err != nil {
			log.Warn("the connections to redis did not close", "error", err)
		}
	}()
	opts := server.Config{Reflection: cfg.reflection, Closed: true}
	cfg.security.apply(&opts)
	d, err := newDaemon(cmd.Context(), cfg.config, store, opts, watch)
	if err != nil {
		return err
	}
	watch.metrics.WatchRedis(d.ready.Load)
	if err := d.listen(cmd.Context()); err != nil {
		return err
	}
	log.Info("listening", "address", d.listener.Addr().String(), "admin", d.adminAddr(), "version", version())
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	k := &keeper{d: d, store: store, policies: policies, hangups: hangups, log: log, durability: durabilityLog{log: log}}
	return d.run(cmd.Context(), k.run, cfg.security.tls.Run, cfg.security.redisTLS.Run)
}

// prepare returns the store, which it does not reach out to, and the policies,
// or everything that is wrong with the settings.
func (c *serveConfig) prepare(watch *watch) (*redisstore.Store, []policy.Policy, error) {
	errs := []error{c.validate(c.security.onlyLoopback()), c.security.prepare(watch.log)}
	if host, _, err := net.SplitHostPort(c.adminListen); err == nil && c.pprof && !isLoopback(host) && !c.security.insecure {
		errs = append(errs, fmt.Errorf(`%s is "true": profiles are for this machine alone, and %s is not on loopback`, setting("pprof"), setting("admin-listen")))
	}
	policies, err := c.ownPolicies()
	errs = append(errs, err)
	level, replicas, err := c.durability.read()
	errs = append(errs, err)
	login, err := c.login.read()
	errs = append(errs, err)
	store, err := redisstore.New(redisstore.Config{
		URL: c.redisURL, Login: login, TLS: c.security.redis(), Prefix: c.redisPrefix, Shards: c.shards,
		Durability: level, Replicas: replicas, Log: watch.log, Observer: watch.redis(),
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("%s, %s, %s: %w", setting("redis-url"), setting("redis-prefix"), setting("shards"), err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, cli.Misused(err)
	}
	return store, policies, nil
}

// ownPolicies returns the policies of the files, none where there are no files, or
// everything that is wrong with them.
func (c *config) ownPolicies() ([]policy.Policy, error) {
	if c.policies == "" {
		return nil, nil
	}
	return readPolicies(c.policies)
}

// keeper looks after the store: it opens the server once Redis can be used, and
// has health follow Redis from then on.
type keeper struct {
	d          *daemon
	store      *redisstore.Store
	policies   []policy.Policy
	hangups    <-chan os.Signal
	log        *slog.Logger
	durability durabilityLog
}

const (
	// checkInterval is how often Redis is checked while all is well, awayInterval
	// while it is not: whoever waits for it should not wait for us.
	checkInterval = time.Second
	awayInterval  = 200 * time.Millisecond
	checkTimeout  = 2 * time.Second
	// missesAllowed is how many checks in a row may fail before health says so: a
	// slow answer or a failover that is over at once should move nobody.
	missesAllowed = 2
)

// run returns when ctx ends, or with what only people can change.
func (k *keeper) run(ctx context.Context, begin func()) error {
	if err := k.await(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	begin()
	k.d.server.Open()
	k.d.ready.Store(true)
	k.log.InfoContext(ctx, "redis can be used: serving", "shards", k.store.Shards())
	k.follow(ctx)
	return nil
}

// await returns once Redis is there and fit, and knows the policies.
func (k *keeper) await(ctx context.Context) error {
	told := false
	for {
		err := k.check(ctx)
		if err == nil {
			err = k.d.apply(ctx, k.policies)
		}
		var unfit *redisstore.UnfitError
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to stop while it waited
		}
		switch {
		case errors.As(err, &unfit), !isAway(err):
			return err
		case !told:
			k.log.WarnContext(ctx, "waiting for redis", "error", cause(err))
			told = true
		}
		if !pause(ctx, awayInterval) {
			return nil
		}
	}
}

// follow keeps health in step with Redis until ctx ends.
func (k *keeper) follow(ctx context.Context) {
	serving, misses := true, 0
	interval := checkInterval
	for k.wait(ctx, interval) {
		err := k.check(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			misses, interval = 0, checkInterval
			if !serving {
				k.reapply(ctx)
				k.log.InfoContext(ctx, "redis can be used again: serving")
			}
		default:
			misses++
			interval = awayInterval
			if unfit := new(redisstore.UnfitError); errors.As(err, &unfit) {
				misses = missesAllowed + 1
			}
			if serving && misses > missesAllowed {
				k.log.ErrorContext(ctx, "redis cannot be used: not serving", "error", cause(err))
			}
		}
		if now := misses <= missesAllowed && (serving || err == nil); now != serving {
			serving = now
			k.d.ready.Store(serving)
			k.d.server.SetServing(serving)
		}
	}
}

// wait waits as pause does. At a SIGHUP it reads the policies again, as they are in
// their files by then.
func (k *keeper) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-k.hangups:
			k.reload(ctx)
		}
	}
}

// reload takes the policies of the files if nothing is wrong with any of them.
func (k *keeper) reload(ctx context.Context) {
	policies, err := k.d.cfg.ownPolicies()
	if err != nil {
		k.log.ErrorContext(ctx, "SIGHUP: the policies stay as they are", "error", err)
		return
	}
	k.policies = policies
	if err := k.d.apply(ctx, policies); err != nil {
		k.log.ErrorContext(ctx, "SIGHUP: the policies of the files could not be put into redis", "error", err, "cause", cause(err))
		return
	}
	k.log.InfoContext(ctx, "SIGHUP: the policies of the files are in redis", "policies", len(policies))
}

// reapply puts the policies back into a Redis that was away: it may have come
// back empty.
func (k *keeper) reapply(ctx context.Context) {
	if err := k.d.apply(ctx, k.policies); err != nil {
		k.log.ErrorContext(ctx, "the policies of the file could not be put into redis again", "error", err, "cause", cause(err))
	}
}

func (k *keeper) check(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := k.store.Check(limited)
	if err == nil {
		k.durability.tell(ctx, k.store.Info())
	}
	return err
}

// pause waits; it is false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
