package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Target is where Redis is and how to talk to it.
type Target struct {
	// addrs are those of the server, of the Sentinels or of some nodes of the
	// Cluster.
	addrs   []string
	master  string
	cluster bool
	// sentinelUser and sentinelPassword are for the Sentinels themselves.
	sentinelUser, sentinelPassword string
	opts                           *redis.Options
	// tls is asked for the TLS of each connection, if there is any; nil for the
	// system's.
	tls func() *tls.Config
}

// Timeouts of a URL that gives none.
const (
	defaultDialTimeout = 2 * time.Second
	defaultReadTimeout = 3 * time.Second
)

// ParseURL reads where Redis is:
//
//	redis://[user:password@]host[:port][/db]
//	rediss://...                                  the same over TLS
//	unix:///path/to/socket[?db=1]
//	redis://host:26379,host2:26379/?master_name=mymaster    Sentinels
//	redis://host,host2,host3                      a Cluster, by some of its nodes
//	redis://host/?cluster=true                    a Cluster, by one name
//
// Behind the question mark may also stand sentinel_username and
// sentinel_password, and dial_timeout, read_timeout, write_timeout, pool_size,
// pool_timeout, min_idle_conns, max_idle_conns, conn_max_idle_time,
// conn_max_lifetime, client_name and, with rediss, skip_verify.
//
// Errors do not show the URL, which may hold a password.
func ParseURL(raw string) (Target, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return Target{}, errors.New("redis url: it must begin with redis://, rediss:// or unix://")
	}
	var t Target
	if scheme != "unix" {
		hosts := rest
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			hosts = rest[:i]
		}
		tail := rest[len(hosts):]
		var user string
		if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
			user, hosts = hosts[:i+1], hosts[i+1:]
		}
		t.addrs = strings.Split(hosts, ",")
		rest = user + t.addrs[0] + tail
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil {
		return Target{}, errors.New("redis url: it cannot be read; escape special characters in user and password, such as @ as %40")
	}
	q := u.Query()
	t.master = take(q, "master_name")
	t.sentinelUser, t.sentinelPassword = take(q, "sentinel_username"), take(q, "sentinel_password")
	asked := take(q, "cluster")
	u.RawQuery = q.Encode()
	if t.opts, err = redis.ParseURL(u.String()); err != nil {
		return Target{}, fmt.Errorf("redis url: %w", err)
	}
	switch asked {
	case "", "false":
		t.cluster = t.master == "" && len(t.addrs) > 1
	case "true":
		t.cluster = true
	default:
		return Target{}, errors.New("redis url: cluster must be true or false")
	}
	if scheme == "unix" && (t.cluster || t.master != "") {
		return Target{}, errors.New("redis url: a socket is neither a Cluster nor a Sentinel")
	}
	if t.cluster && (t.master != "" || t.opts.DB != 0) {
		return Target{}, errors.New("redis url: a Cluster has no master_name and only database 0")
	}
	port := "6379"
	if t.master != "" {
		port = "26379"
	}
	for i, a := range t.addrs {
		if t.addrs[i], err = withPort(a, port); err != nil {
			return Target{}, err
		}
	}
	return t, nil
}

// Cluster says whether it is a Cluster.
func (t *Target) Cluster() bool { return t.cluster }

// TLS says whether the connections are by TLS.
func (t *Target) TLS() bool { return t.opts.TLSConfig != nil }

// kind is how Redis runs, as operators are told.
func (t *Target) kind() string {
	switch {
	case t.cluster:
		return "cluster"
	case t.master != "":
		return "sentinel"
	default:
		return "redis"
	}
}

// readTimeout is how long an answer may take.
func (t *Target) readTimeout() time.Duration {
	if t.opts.ReadTimeout == 0 {
		return defaultReadTimeout
	}
	if t.opts.ReadTimeout < 0 {
		return math.MaxInt64
	}
	return t.opts.ReadTimeout
}

func take(q url.Values, name string) string {
	v := q.Get(name)
	q.Del(name)
	return v
}

func withPort(addr, port string) (string, error) {
	if addr == "" {
		return "", errors.New("redis url: an address is empty")
	}
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		host, p = strings.Trim(addr, "[]"), port
	}
	if p == "" {
		p = port
	}
	return net.JoinHostPort(host, p), nil
}

// connect returns a client, which connects when it is first used. Nodes of a Cluster that
// are too slow for that are greeted aside.
func (t *Target) connect(scripts *scripts, aside *greeter) redis.UniversalClient {
	o := *t.opts
	// A timed-out script may have run: only the engine, which knows its operation
	// ids, may repeat it.
	o.MaxRetries = -1
	// A caller's deadline binds the connection as well; without this a deadline of
	// 300 ms takes seconds.
	o.ContextTimeoutEnabled = true
	o.DialerRetries = 1
	o.Protocol = 2
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error { return scripts.load(ctx, conn) }
	if o.ClientName == "" {
		o.ClientName = "retryd"
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = defaultDialTimeout
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = defaultReadTimeout
	}
	o.Dialer = newDialer(&o, t.tls).connect
	if !t.cluster && t.master == "" {
		if len(t.addrs) == 1 {
			o.Addr = t.addrs[0]
		}
		return redis.NewClient(&o)
	}
	u := t.universal(&o)
	if t.cluster {
		cluster := redis.NewClusterClient(u.Cluster())
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(slotsHook{func() { aside.greet(node) }}) })
		return cluster
	}
	return redis.NewFailoverClient(u.Failover())
}

// universal are the options for several addresses.
func (t *Target) universal(o *redis.Options) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs: t.addrs, MasterName: t.master, SentinelUsername: t.sentinelUser, SentinelPassword: t.sentinelPassword,
		ClientName: o.ClientName, DB: o.DB, OnConnect: o.OnConnect, Protocol: o.Protocol,
		Username: o.Username, Password: o.Password, CredentialsProviderContext: o.CredentialsProviderContext,
		MaxRetries: o.MaxRetries, DialTimeout: o.DialTimeout, DialerRetries: o.DialerRetries,
		ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, ContextTimeoutEnabled: o.ContextTimeoutEnabled,
		PipelinePoolSize: o.PipelinePoolSize, PipelineReadBufferSize: o.PipelineReadBufferSize, PipelineWriteBufferSize: o.PipelineWriteBufferSize,
		PoolFIFO: o.PoolFIFO, PoolSize: o.PoolSize, MaxConcurrentDials: o.MaxConcurrentDials, PoolTimeout: o.PoolTimeout,
		MinIdleConns: o.MinIdleConns, MaxIdleConns: o.MaxIdleConns, MaxActiveConns: o.MaxActiveConns,
		ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime, ConnMaxLifetimeJitter: o.ConnMaxLifetimeJitter,
		TLSConfig: o.TLSConfig, Dialer: o.Dialer, MaintNotificationsConfig: o.MaintNotificationsConfig,
	}
}
