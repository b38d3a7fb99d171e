package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/retryd/retryd/internal/telemetry"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

const (
	defaultListen      = "127.0.0.1:7600"
	defaultAdminListen = "127.0.0.1:7601"
)

func lookupEnv(name string) (string, bool) { return os.LookupEnv(name) }

// config is what a daemon runs with. Flags, environment and a file fill it.
type config struct {
	from                  sources
	listen, adminListen   string
	pprof                 bool
	policies              string
	quotas                string
	health                thresholds
	firstSuccessRetention duration
	drainTimeout          duration
	auditInterval         duration
	auditRate             int
	maxConnections        int
	maxStreams            int
	traces                traces
	logLevel              string
	logFormat             string
	logDecisions          bool
	metricsQueues         int
}

// addTo defines the flags of a daemon.
func (c *config) addTo(flags *pflag.FlagSet) {
	c.from.addTo(flags)
	flags.StringVar(&c.listen, "listen", defaultListen, "address on which gRPC is served; port 0 takes any")
	flags.StringVar(&c.adminListen, "admin-listen", defaultAdminListen, "address on which /livez, /readyz and /metrics are served by HTTP; empty for none")
	flags.BoolVar(&c.pprof, "pprof", false, "serve Go's profiles of the process on the admin address, under /debug/pprof/")
	flags.StringVar(&c.policies, "policies", "", "YAML file of policies for the namespace \"default\", or a directory of such files; created at start, or updated where they differ")
	flags.StringVar(&c.quotas, "quotas", "", "YAML file of what namespaces may use; it is read again when it changes")
	flags.Var(&c.health, "health", "from when on a metric of the queues' health is no longer healthy, and from when on it alerts; may be repeated")
	c.firstSuccessRetention.value = scheduler.DefaultFirstSuccessRetention
	flags.Var(&c.firstSuccessRetention, "first-success-retention", "how long a task is remembered that succeeded at its first attempt")
	c.drainTimeout.value = server.DefaultDrainTimeout
	flags.Var(&c.drainTimeout, "drain-timeout", "how long calls and streams may take to end when the server is told to stop")
	c.auditInterval.value = scheduler.DefaultAuditInterval
	flags.Var(&c.auditInterval, "audit-interval", "how often the auditor walks over all that is kept, to mend what does not fit together; 0 for never")
	flags.IntVar(&c.auditRate, "audit-rate", scheduler.DefaultAuditRate, "how many tasks, places in indexes and counts the auditor looks at a second")
	flags.IntVar(&c.maxConnections, "max-connections", server.DefaultMaxConnections, "how many connections may be open at a time, half of them from one host")
	flags.IntVar(&c.maxStreams, "max-streams", server.DefaultMaxStreams, "how many streams may be open at a time, half of them from one host")
	c.traces.addTo(flags)
	flags.StringVar(&c.logLevel, "log-level", "info", "least level of the log: debug, info, warn or error")
	flags.StringVar(&c.logFormat, "log-format", "text", "form of the log: text or json")
	flags.BoolVar(&c.logDecisions, "log-decisions", true, "write a line at level info for every decision, and for reports that are refused but for lack of quota")
	flags.IntVar(&c.metricsQueues, "metrics-queues", telemetry.DefaultQueues, "how many queues the metrics tell apart, the first by namespace and name; the rest is summed up as queue \"other\"")
}

// validate returns everything that is wrong, each setting by its names. Where
// only loopback may be listened on, for gRPC or for the admin pages, the arguments
// say why.
func (c *config) validate(listenOnlyLoopback, adminOnlyLoopback string) error {
	errs := []error{c.from.err}
	wrong := func(flag, value, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s is %q: %w", setting(flag), value, fmt.Errorf(format, args...)))
	}
	address := func(flag, addr, example, onlyLoopback string) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			wrong(flag, addr, "it must be host:port, such as %s", example)
			return
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			wrong(flag, addr, "its port must be a number from 0 to 65535")
		}
		if onlyLoopback != "" && !isLoopback(host) {
			wrong(flag, addr, "%s, such as %s", onlyLoopback, example)
		}
	}
	address("listen", c.listen, defaultListen, listenOnlyLoopback)
	if c.adminListen != "" {
		address("admin-listen", c.adminListen, defaultAdminListen, adminOnlyLoopback)
	}
	c.health.read(func(entry string, err error) { wrong("health", entry, "%w", err) })
	for _, d := range []struct {
		flag string
		duration
	}{{"first-success-retention", c.firstSuccessRetention}, {"drain-timeout", c.drainTimeout}} {
		if d.unread {
			wrong(d.flag, d.given, "it must be a duration, such as 90s, 5m or 1h30m")
		} else if d.value < time.Millisecond {
			wrong(d.flag, d.value.String(), "it must be at least 1ms")
		}
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"max-connections", c.maxConnections}, {"max-streams", c.maxStreams}} {
		if n.value < 1 {
			wrong(n.flag, strconv.Itoa(n.value), "it must be at least 1")
		}
	}
	if d := c.auditInterval; d.unread {
		wrong("audit-interval", d.given, "it must be a duration, such as 30s or 5m, or 0 for never")
	} else if d.value != 0 && d.value < scheduler.MinAuditInterval {
		wrong("audit-interval", d.value.String(), "it must be at least %s, or 0 for never", scheduler.MinAuditInterval)
	}
	if c.auditRate < 1 || c.auditRate > scheduler.MaxAuditRate {
		wrong("audit-rate", strconv.Itoa(c.auditRate), "it must be 1 to %d", scheduler.MaxAuditRate)
	}
	if c.metricsQueues < 0 || c.metricsQueues > telemetry.MaxQueues {
		wrong("metrics-queues", strconv.Itoa(c.metricsQueues), "it must be 0 to %d", telemetry.MaxQueues)
	}
	c.traces.validate(wrong)
	if err := new(slog.Level).UnmarshalText([]byte(c.logLevel)); err != nil {
		wrong("log-level", c.logLevel, "it must be debug, info, warn or error")
	}
	if c.logFormat != "text" && c.logFormat != "json" {
		wrong("log-format", c.logFormat, "it must be text or json")
	}
	if _, _, err := readQuotas(c.quotas); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// audit is what the auditor is told.
func (c *config) audit() scheduler.AuditConfig {
	return scheduler.AuditConfig{Off: c.auditInterval.value == 0, Interval: c.auditInterval.value, Rate: c.auditRate}
}

// setting names a setting in the two ways in which it can be given.
func setting(flag string) string { return "--" + flag + " (or " + envName(flag) + ")" }

// duration is a flag whose value is judged with all others, by validate, and not
// when it is read: so whoever gives three wrong ones is told of three.
type duration struct {
	value time.Duration
	// given is what could not be read, where unread is set.
	given  string
	unread bool
}

// Set implements [pflag.Value].
func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil {
		d.given, d.unread = s, true
		return nil //nolint:nilerr // validate tells it
	}
	d.value, d.unread = v, false
	return nil
}

// String implements [pflag.Value].
func (d *duration) String() string { return d.value.String() }

// Type implements [pflag.Value].
func (d *duration) Type() string { return "duration" }

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
