package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

const (
	defaultListen      = "127.0.0.1:7600"
	defaultAdminListen = "127.0.0.1:7601"
)

func lookupEnv(name string) (string, bool) { return os.LookupEnv(name) }

// config is what a daemon runs with. Flags and environment fill it.
type config struct {
	listen, adminListen   string
	policies              string
	firstSuccessRetention time.Duration
	drainTimeout          time.Duration
	logLevel              string
	logFormat             string
}

// addTo defines the flags of a daemon.
func (c *config) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&c.listen, "listen", defaultListen, "address on which gRPC is served; port 0 takes any")
	flags.StringVar(&c.adminListen, "admin-listen", defaultAdminListen, "address on which /livez and /readyz are served by HTTP; empty for none")
	flags.StringVar(&c.policies, "policies", "", "YAML file of policies for the namespace \"default\", created at start, or updated where they differ")
	flags.DurationVar(&c.firstSuccessRetention, "first-success-retention", scheduler.DefaultFirstSuccessRetention, "how long a task is remembered that succeeded at its first attempt")
	flags.DurationVar(&c.drainTimeout, "drain-timeout", server.DefaultDrainTimeout, "how long calls and streams may take to end when the server is told to stop")
	flags.StringVar(&c.logLevel, "log-level", "info", "least level of the log: debug, info, warn or error")
	flags.StringVar(&c.logFormat, "log-format", "text", "form of the log: text or json")
}

// validate returns everything that is wrong, each setting by its name.
func (c *config) validate() error {
	var errs []error
	wrong := func(flag string, value any, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--%s %v (or %s): %w", flag, value, envName(flag), fmt.Errorf(format, args...)))
	}
	loopback := func(flag, addr string) {
		host, _, err := net.SplitHostPort(addr)
		switch {
		case err != nil:
			wrong(flag, addr, "%w; an address is written host:port", err)
		case !isLoopback(host):
			wrong(flag, addr, "the development server has no access control and listens on loopback only, such as %s", defaultListen)
		}
	}
	loopback("listen", c.listen)
	if c.adminListen != "" {
		loopback("admin-listen", c.adminListen)
	}
	if c.firstSuccessRetention <= 0 {
		wrong("first-success-retention", c.firstSuccessRetention, "it must be positive")
	}
	if c.drainTimeout <= 0 {
		wrong("drain-timeout", c.drainTimeout, "it must be positive")
	}
	if err := new(slog.Level).UnmarshalText([]byte(c.logLevel)); err != nil {
		wrong("log-level", c.logLevel, "it must be debug, info, warn or error")
	}
	if c.logFormat != "text" && c.logFormat != "json" {
		wrong("log-format", c.logFormat, "it must be text or json")
	}
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
