package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/retryd/retryd/internal/cli"
)

// samples are for each flag a value that is not its default, and another.
var samples = map[string][2]string{
	"config":                  {"a.yaml", "b.yaml"},
	"listen":                  {"127.0.0.1:7700", "127.0.0.1:7701"},
	"admin-listen":            {"", "127.0.0.1:7702"},
	"policies":                {"a.yaml", "b.yaml"},
	"health":                  {"retry_rate=0.1:0.2,depth_growth=6:12", "tasks_over_24h=5:50"},
	"pprof":                   {"true", "false"},
	"first-success-retention": {"1h0m0s", "1m0s"},
	"drain-timeout":           {"5s", "1m30s"},
	"audit-interval":          {"0s", "5m0s"},
	"audit-rate":              {"500", "20000"},
	"max-connections":         {"7", "8"},
	"max-streams":             {"7", "8"},
	"quotas":                  {"a.yaml", "b.yaml"},
	"otlp-endpoint":           {"http://127.0.0.1:4317", "https://otel.example"},
	"trace-sample":            {"0.5", "1"},
	"log-level":               {"debug", "error"},
	"log-format":              {"json", "text"},
	"log-decisions":           {"false", "true"},
	"metrics-queues":          {"0", "1000"},
	"redis-url":               {"redis://redis:6379", "unix:///run/redis.sock"},
	"redis-prefix":            {"a", "b"},
	"shards":                  {"8", "64"},
	"durability":              {"always", "replicated"},
	"durability-replicas":     {"1", "2"},
	"reflection":              {"true", "false"},
	"insecure":                {"true", "false"},
	"tls-cert":                {"a.pem", "b.pem"},
	"tls-key":                 {"a.pem", "b.pem"},
	"tls-client-ca":           {"a.pem", "b.pem"},
	"access":                  {"a.yaml", "b.yaml"},
	"jwt-jwks":                {"a.json", "https://issuer/keys"},
	"jwt-issuer":              {"a", "b"},
	"jwt-audience":            {"a", "b"},
	"redis-tls-ca":            {"a.pem", "b.pem"},
	"redis-tls-cert":          {"a.pem", "b.pem"},
	"redis-tls-key":           {"a.pem", "b.pem"},
	"redis-tls-server-name":   {"a", "b"},

	"redis-username":               {"retryd", "default"},
	"redis-password-file":          {"a", "b"},
	"redis-sentinel-password-file": {"a", "b"},
}

func TestEveryFlagHasAVariableAndWinsOverIt(t *testing.T) {
	t.Parallel()
	for _, command := range newRootCommand(cli.System("")).Commands() {
		if cli.IsCall(command) {
			continue // theirs are held by their own package
		}
		command.Flags().VisitAll(func(f *pflag.Flag) {
			sample, ok := samples[f.Name]
			if !ok {
				t.Errorf("%s --%s: %v", command.Name(), f.Name, errNoSample)
				return
			}
			variable := "RETRYD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			lookup := func(name string) (string, bool) { return sample[0], name == variable }

			unset := flagsOf(t, command.Name())
			if err := flagsFromEnvironment(unset, lookup); err != nil {
				t.Error(err)
			}
			if got := unset.Lookup(f.Name).Value.String(); got != sample[0] {
				t.Errorf("%s is %q by the environment, want %q", f.Name, got, sample[0])
			}

			given := flagsOf(t, command.Name(), "--"+f.Name+"="+sample[1])
			if err := flagsFromEnvironment(given, lookup); err != nil {
				t.Error(err)
			}
			if got := given.Lookup(f.Name).Value.String(); got != sample[1] {
				t.Errorf("%s is %q by flag and environment, want the flag's %q", f.Name, got, sample[1])
			}
		})
	}
}

// flagsOf returns the flags of a command after its arguments.
func flagsOf(t *testing.T, command string, args ...string) *pflag.FlagSet {
	t.Helper()
	var cmd *cobra.Command
	for _, c := range newRootCommand(cli.System("")).Commands() {
		if c.Name() == command {
			cmd = c
		}
	}
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return cmd.Flags()
}

func TestWrongSettingsAreToldAtOnceByFlagAndVariable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		want []string
	}{
		{"all of them", []string{
			"--listen=0.0.0.0:7600", "--admin-listen=7601", "--first-success-retention=0s", "--drain-timeout=soon",
			"--log-level=loud", "--log-format=xml", "--metrics-queues=10001",
		}, nil, []string{
			`--listen (or RETRYD_LISTEN) is "0.0.0.0:7600": the development server has no access control and listens on loopback only, such as 127.0.0.1:7600`,
			`--admin-listen (or RETRYD_ADMIN_LISTEN) is "7601": it must be host:port, such as 127.0.0.1:7601`,
			`--first-success-retention (or RETRYD_FIRST_SUCCESS_RETENTION) is "0s": it must be at least 1ms`,
			`--drain-timeout (or RETRYD_DRAIN_TIMEOUT) is "soon": it must be a duration, such as 90s, 5m or 1h30m`,
			`--log-level (or RETRYD_LOG_LEVEL) is "loud": it must be debug, info, warn or error`,
			`--log-format (or RETRYD_LOG_FORMAT) is "xml": it must be text or json`,
			`--metrics-queues (or RETRYD_METRICS_QUEUES) is "10001": it must be 0 to 10000`,
		}},
		{"by both ways", []string{"--log-format=xml"}, map[string]string{"RETRYD_DRAIN_TIMEOUT": "", "RETRYD_LISTEN": "[::]:7600"}, []string{
			`--listen (or RETRYD_LISTEN) is "[::]:7600": the development server`,
			`--drain-timeout (or RETRYD_DRAIN_TIMEOUT) is "": it must be a duration`,
			`--log-format (or RETRYD_LOG_FORMAT) is "xml"`,
		}},
		{"a port", []string{"--listen=localhost:http", "--admin-listen=[::1]:65536"}, nil, []string{
			`--listen (or RETRYD_LISTEN) is "localhost:http": its port must be a number from 0 to 65535`,
			`--admin-listen (or RETRYD_ADMIN_LISTEN) is "[::1]:65536": its port must be a number`,
		}},
		{"a name that is not loopback", []string{"--listen=example.com:7600", "--admin-listen=:7601"}, nil, []string{
			`--listen (or RETRYD_LISTEN) is "example.com:7600": the development server`,
			`--admin-listen (or RETRYD_ADMIN_LISTEN) is ":7601": the development server has no access control and listens on loopback only, such as 127.0.0.1:7601`,
		}},
		{"thresholds", []string{
			"--health=retry_rate=0.2:0.1,depth_growth=3", "--health=retries=1:2", "--health=dead_letter_rate=5:many", "--health=tasks_over_24h=1:2,tasks_over_24h=2:3",
		}, nil, []string{
			`--health (or RETRYD_HEALTH) is "retry_rate=0.2:0.1": health threshold retry_rate: alert is 0.1, below healthy`,
			`--health (or RETRYD_HEALTH) is "depth_growth=3": it must be name=healthy:alert, two numbers, such as retry_rate=0.05:0.1`,
			`--health (or RETRYD_HEALTH) is "retries=1:2": health threshold "retries" is not known; there are average_attempts_to_success`,
			`--health (or RETRYD_HEALTH) is "dead_letter_rate=5:many": it must be name=healthy:alert`,
			`--health (or RETRYD_HEALTH) is "tasks_over_24h=2:3": tasks_over_24h is given twice`,
		}},
		{"no threshold", nil, map[string]string{"RETRYD_HEALTH": ""}, []string{`--health (or RETRYD_HEALTH) is "": it must be name=healthy:alert`}},
		{"no room at all", []string{"--max-connections=0", "--max-streams=-1"}, nil, []string{
			`--max-connections (or RETRYD_MAX_CONNECTIONS) is "0": it must be at least 1`,
			`--max-streams (or RETRYD_MAX_STREAMS) is "-1": it must be at least 1`,
		}},
		{"the auditor", []string{"--audit-interval=999ms", "--audit-rate=0"}, nil, []string{
			`--audit-interval (or RETRYD_AUDIT_INTERVAL) is "999ms": it must be at least 1s, or 0 for never`,
			`--audit-rate (or RETRYD_AUDIT_RATE) is "0": it must be 1 to 1000000`,
		}},
		{"the auditor, further", []string{"--audit-interval=often", "--audit-rate=1000001"}, nil, []string{
			`--audit-interval (or RETRYD_AUDIT_INTERVAL) is "often": it must be a duration, such as 30s or 5m, or 0 for never`,
			`--audit-rate (or RETRYD_AUDIT_RATE) is "1000001": it must be 1 to 1000000`,
		}},
		{"tracing", []string{"--otlp-endpoint=https://me:hunter2@otel", "--trace-sample=2"}, nil, []string{
			`--otlp-endpoint (or RETRYD_OTLP_ENDPOINT) is "otel": it must not hold a password`,
			`--trace-sample (or RETRYD_TRACE_SAMPLE) is "2": it must be 0 to 1`,
		}},
		{"tracing, further", []string{"--otlp-endpoint=otel:4317", "--trace-sample=NaN"}, nil, []string{
			`--otlp-endpoint (or RETRYD_OTLP_ENDPOINT) is "otel:4317": it must be the URL of an OTLP collector that takes gRPC, such as http://127.0.0.1:4317`,
			`--trace-sample (or RETRYD_TRACE_SAMPLE) is "NaN": it must be 0 to 1`,
		}},
		{"a negative duration", []string{"--drain-timeout=-1s"}, nil, []string{`--drain-timeout (or RETRYD_DRAIN_TIMEOUT) is "-1s": it must be at least 1ms`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var cfg config
			flags := pflag.NewFlagSet("dev", pflag.ContinueOnError)
			cfg.addTo(flags)
			if err := flags.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			lookup := func(name string) (string, bool) { v, ok := c.env[name]; return v, ok }
			if err := flagsFromEnvironment(flags, lookup); err != nil {
				t.Fatal(err)
			}
			wantError(t, cfg.validate(devOnlyLoopback, devOnlyLoopback), c.want...)
		})
	}
}

func TestWrongSettingsStopTheStart(t *testing.T) {
	t.Parallel()
	_, err := execute(t, "dev", "--listen=0.0.0.0:7600", "--log-level=loud")
	wantError(t, err, "--listen (or RETRYD_LISTEN)", "--log-level (or RETRYD_LOG_LEVEL)")
}

func TestWrongVariableOfAnotherCommand(t *testing.T) {
	t.Parallel()
	lookup := func(name string) (string, bool) { return "some", name == "RETRYD_SHARDS" }
	wantError(t, flagsFromEnvironment(flagsOf(t, "serve"), lookup), `--shards (or RETRYD_SHARDS) is "some"`)
}

func TestHelpNamesEveryFlagItsDefaultAndTheVariables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--help"}, []string{
			"retryd schedules retries.", "Start with:  retryd dev", "RETRYD_ADMIN_LISTEN. A flag wins over the environment.",
			"\n  dev         Run the service on a store in memory", "\n  healthcheck Ask a server whether it serves", "\n  version     Print the version",
		}},
		{[]string{"dev", "--help"}, []string{
			"--listen string", `(default "127.0.0.1:7600")`, "--admin-listen string", `(default "127.0.0.1:7601")`,
			"--policies string", "--health name=healthy:alert", "--first-success-retention duration", "(default 10m0s)", "--drain-timeout duration", "(default 20s)",
			"--log-level string", `(default "info")`, "--log-format string", `(default "text")`,
		}},
		{[]string{"healthcheck", "--help"}, []string{"--address host:port", "(default 127.0.0.1:7600)", "--timeout duration", "(default 3s)"}},
	} {
		got, err := execute(t, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%q lacks %q:\n%s", c.args, w, got)
			}
		}
	}
}
