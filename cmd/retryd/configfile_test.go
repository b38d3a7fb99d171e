package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/retryd/retryd/internal/docstest"
	"github.com/retryd/retryd/internal/redistest"
)

var update = flag.Bool("update", false, "write the example of a configuration file, and docs/cli.md, anew")

// configFile writes a configuration file.
func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "retryd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// filled returns the flags of serve as they are after arguments, environment and
// file.
func filled(t *testing.T, file string, env map[string]string, args ...string) (*serveConfig, *pflag.FlagSet) {
	t.Helper()
	cfg := new(serveConfig)
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	cfg.addFlags(flags)
	if file != "" {
		args = append(args, "--config="+file)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	cfg.from.fill(flags, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return cfg, flags
}

func TestEverySettingCanStandInTheFile(t *testing.T) {
	t.Parallel()
	inOrder(flagsOfServe(), func(f *pflag.Flag) {
		line, err := settingLine(f.Name, samples[f.Name][0])
		if err != nil {
			t.Fatal(err)
		}
		file := configFile(t, line)
		for _, c := range []struct {
			name, want string
			env        map[string]string
			args       []string
		}{
			{"the file", samples[f.Name][0], nil, nil},
			{"the environment over the file", samples[f.Name][1], map[string]string{envName(f.Name): samples[f.Name][1]}, nil},
			{"the flag over the file", samples[f.Name][1], nil, []string{"--" + f.Name + "=" + samples[f.Name][1]}},
			{"the flag over all", samples[f.Name][1], map[string]string{envName(f.Name): samples[f.Name][0]}, []string{"--" + f.Name + "=" + samples[f.Name][1]}},
		} {
			cfg, flags := filled(t, file, c.env, c.args...)
			if cfg.from.err != nil {
				t.Errorf("%s, %s: %v", f.Name, c.name, cfg.from.err)
			}
			if got := flags.Lookup(f.Name).Value.String(); got != c.want {
				t.Errorf("%s is %q by %s, want %q", f.Name, got, c.name, c.want)
			}
		}
	})
}

func TestListsInTheFile(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"health: [retry_rate=0.1:0.2, 'depth_growth=6:12,tasks_over_24h=1:2']": "retry_rate=0.1:0.2,depth_growth=6:12,tasks_over_24h=1:2",
		"health:\n  - retry_rate=0.1:0.2\n":                                    "retry_rate=0.1:0.2",
		"health: []":                                                           "",
	} {
		cfg, flags := filled(t, configFile(t, text), nil)
		if got := flags.Lookup("health").Value.String(); got != want || cfg.from.err != nil {
			t.Errorf("%s\nis read as %q, %v; want %q", text, got, cfg.from.err, want)
		}
	}
}

func TestFileOfCommentsIsNoMistake(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# listen: 127.0.0.1:1\n", "---\n"} {
		cfg, flags := filled(t, configFile(t, text), nil)
		if got := flags.Lookup("listen").Value.String(); got != defaultListen || text != "---\n" && cfg.from.err != nil {
			t.Errorf("%q: %s, %v", text, got, cfg.from.err)
		}
	}
}

// Whatever is wrong is told at once, by where it stands.
func TestWrongFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"all kinds", `listen: 0.0.0.0:7600
redis_url: redis://a
drain-timeout: soon
audit-rate: many
pprof: yes
health: [retry_rate=0.2:0.1]
admin-listen:
policies: {a: b}
shards: [1]
wings: 2
log-level: debug
log-level: info
config: other.yaml
`, []string{
			`FILE:12: log-level stands on line 11 already`,
			`FILE:2: redis_url is no setting; did you mean redis-url?`,
			`FILE:4: audit-rate is "many": it must be a whole number`,
			`FILE:5: pprof is "yes": it must be true or false`,
			`FILE:7: admin-listen has no value: leave the key out, or write "" where empty means something`,
			`FILE:8: policies must be a value, or a list of values`,
			`FILE:9: shards is a list: it must be one value`,
			`FILE:10: wings is no setting: the keys are the names of the flags`,
			`FILE:13: config is no setting`,
			`FILE:1: listen is "0.0.0.0:7600": the development server has no access control`,
			`FILE:6: health is "retry_rate=0.2:0.1": health threshold retry_rate`,
			`FILE:3: drain-timeout is "soon": it must be a duration`,
		}},
		{"no YAML", "listen: [", []string{"--config (or RETRYD_CONFIG): FILE is not YAML: "}},
		{"a list", "- listen: 127.0.0.1:1", []string{"FILE:1: a configuration file has settings, one a line"}},
		{"two documents", "pprof: true\n---\npprof: false\n", []string{"FILE holds more than one YAML document"}},
		{"a list of lists", "health: [[a]]", []string{"FILE:1: health holds more than values"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := configFile(t, c.text)
			cfg, _ := filled(t, file, nil)
			for i, w := range c.want {
				c.want[i] = strings.ReplaceAll(w, "FILE", file)
			}
			wantError(t, cfg.from.locate(cfg.validate(devOnlyLoopback, devOnlyLoopback)), c.want...)
		})
	}
}

func TestErrorsNameWhereAValueCameFrom(t *testing.T) {
	t.Parallel()
	file := configFile(t, "# first\nlog-format: xml\nmax-streams: 5\npprof: maybe\n")
	cfg, _ := filled(t, file, map[string]string{"RETRYD_LOG_LEVEL": "loud", "RETRYD_MAX_STREAMS": "0"}, "--max-connections=0", "--pprof")
	wantError(t, cfg.from.locate(cfg.validate(devOnlyLoopback, devOnlyLoopback)),
		`--max-connections (or RETRYD_MAX_CONNECTIONS) is "0": it must be at least 1`,
		`RETRYD_MAX_STREAMS is "0": it must be at least 1`,
		`RETRYD_LOG_LEVEL is "loud": it must be`,
		file+`:2: log-format is "xml": it must be text or json`)
}

func TestFlagsThatCannotBeReadAreToldWithTheRest(t *testing.T) {
	t.Parallel()
	file := configFile(t, "audit-rate: 5\npprof: true\nmax-streams: many\n")
	_, err := execute(t, "dev", "--config="+file, "--log-level=loud", "--audit-rate=many", "--pprof=maybe", "--max-connections", "1.5")
	wantError(t, err,
		`--audit-rate (or RETRYD_AUDIT_RATE) is "many": it must be a whole number`,
		`--pprof (or RETRYD_PPROF) is "maybe": it must be true or false`,
		`--max-connections (or RETRYD_MAX_CONNECTIONS) is "1.5": it must be a whole number`,
		file+`:3: max-streams is "many": it must be a whole number`,
		`--log-level (or RETRYD_LOG_LEVEL) is "loud"`)
}

// One start tells what is wrong with flags, the configuration file, and every file that
// they name.
func TestAllThatIsWrongIsToldByOneStart(t *testing.T) {
	t.Parallel()
	policies := policyFile(t, "policies:\n- {id: a, colour: red, max_retries: many}\n- {id: b, display_name: B, max_retries: 2, default_action: RETRY}\n")
	roles := accessFile(t, "tokens: [{name: a, sha256: 12, secret: x}]\nbindings:\n- {identity: token:b, roles: [boss], namespaces: ['*']}\n")
	quotas := configFile(t, "default: {wings: 2}\n")
	file := configFile(t, "wings: 2\nlog-level: loud\nredis-prefix: 'a{b}'\npolicies: "+policies+"\n")
	for _, command := range [][]string{{"serve"}, {"config", "check"}} {
		_, err := execute(t, append(command, "--config="+file, "--access="+roles, "--quotas="+quotas, "--audit-rate=many", "--shards=5000", "--durability=sure", "--redis-url=nowhere")...)
		wantError(t, err,
			`--audit-rate (or RETRYD_AUDIT_RATE) is "many"`,
			file+":1: wings is no setting",
			file+`:2: log-level is "loud"`,
			quotas+`:1: default has no limit "wings"`,
			roles+":1: tokens[0].secret is not known",
			roles+`:3: bindings[0].identity is "token:b", but there is no token`,
			roles+`:3: bindings[0].roles[0] is "boss"`,
			policies+`:2: policy "a": colour is no field of Policy`,
			policies+`:2: policy "a": max_retries is "many"`,
			policies+`:3: policy "b": schedule is missing`,
			`--durability (or RETRYD_DURABILITY) is "sure"`,
			"redis url", "redis prefix", "5000 shards",
		)
	}
}

func TestFileThatIsNotThere(t *testing.T) {
	t.Parallel()
	_, err := execute(t, "dev", "--config=nowhere.yaml", "--log-level=loud")
	wantError(t, err, "--config (or RETRYD_CONFIG): open nowhere.yaml: no such file", "--log-level")
}

func TestDevSaysWhatIsOfServeAlone(t *testing.T) {
	t.Parallel()
	file := configFile(t, "redis-url: redis://a\nlog-level: loud\n")
	_, err := execute(t, "dev", "--config="+file, "--policies="+policyFile(t, "policies: [{id: p}]"))
	wantError(t, err, file+":1: redis-url is a setting of serve alone", file+`:2: log-level is "loud"`, `policy "p": `, `policy "p": `)
}

func TestServeRunsByItsFile(t *testing.T) {
	t.Parallel()
	file := configFile(t, "listen: 127.0.0.1:0\nadmin-listen: \"\"\nlog-format: json\nredis-url: redis://127.0.0.1:1\n")
	p := start(t, "serve", "--config", file)
	p.AwaitLog("its log in JSON", func(text string) bool { return strings.Contains(text, `"msg":"waiting for redis"`) })
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	file := configFile(t, "redis-url: redis://user:s3cr3t@p4ss@redis,redis2/?master_name=m&sentinel_password=s3same\nhealth: [retry_rate=0.1:0.2]\n")
	got, err := execute(t, "config", "check", "--config", file, "--drain-timeout=1h")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nlog-level: info  # default\n",
		"\ndrain-timeout: 1h  # --drain-timeout\n",
		"\nhealth: ['retry_rate=0.1:0.2']  # " + file + ":2\n",
		"\nredis-url: redis://user:xxxxx@redis,redis2/?master_name=m&sentinel_password=xxxxx  # " + file + ":1\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "s3") || strings.Contains(got, "p4ss") {
		t.Errorf("it shows a password:\n%s", got)
	}
	// What it prints is a configuration file itself.
	if cfg, _ := filled(t, configFile(t, got), nil); cfg.from.err != nil || cfg.drainTimeout.String() != "1h0m0s" {
		t.Errorf("it is read as %s, %v", cfg.drainTimeout.String(), cfg.from.err)
	}

	_, err = execute(t, "config", "check", "--config", configFile(t, "shards: 5000\ndurability: sure\n"), "--policies=nowhere")
	wantError(t, err, "--policies (or RETRYD_POLICIES): stat nowhere", ":2: durability is \"sure\"", "5000 shards: it must be 1 to 4096")
}

// The example that is shipped has every setting of serve, at its default, and
// nothing else.
func TestExampleHasEverySetting(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := writeExample(&want); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(docstest.Root(t), "deploy", "retryd.example.yaml")
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("deploy/retryd.example.yaml is not what the flags say; run: make config-example")
	}
	cfg, flags := filled(t, path, nil)
	if cfg.from.err != nil {
		t.Fatal(cfg.from.err)
	}
	defaults := flagsOfServe()
	inOrder(flags, func(f *pflag.Flag) {
		if at, ok := cfg.from.places[f.Name]; !ok || f.Value.String() != defaults.Lookup(f.Name).Value.String() {
			t.Errorf("%s is %q by %q, want %q by the file", f.Name, f.Value, at, defaults.Lookup(f.Name).Value)
		}
	})
	if store, _, err := cfg.prepare(newWatch(cfg.config, t.Output())); err != nil {
		t.Errorf("serve refuses it: %v", err)
	} else if err := store.Close(); err != nil {
		t.Error(err)
	}
}

func TestPasswordsStandInFiles(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.Do(t, "ACL", "SETUSER", "retryd", "on", ">s3cr3t", "~*", "&*", "+@all")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("s3cr3t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := configFile(t, "redis-username: retryd\nredis-password-file: "+password+"\nredis-url: "+redis.URL())
	p, _ := startServe(t, "--config="+file)
	text := p.AwaitLog("word that it serves", func(text string) bool { return strings.Contains(text, "redis can be used: serving") })
	if list := redis.Do(t, "CLIENT", "LIST"); !strings.Contains(list, "user=retryd") {
		t.Errorf("nobody is logged in as retryd:\n%s", list)
	}
	got, err := execute(t, "config", "check", "--config="+file)
	if err != nil || strings.Contains(got+text, "s3cr3t") {
		t.Errorf("%v, or the password is told:\n%s%s", err, got, text)
	}

	_, err = execute(t, "config", "check", "--redis-password-file=nowhere", "--redis-sentinel-password-file="+configFile(t, "two\nlines\n"), "--log-level=loud")
	wantError(t, err, "--redis-password-file (or RETRYD_REDIS_PASSWORD_FILE): open nowhere", "--redis-sentinel-password-file (or RETRYD_REDIS_SENTINEL_PASSWORD_FILE): ", "--log-level")
	_, err = execute(t, "config", "check", "--redis-password-file="+password, "--redis-url=redis://:s3cr3t@a")
	if err == nil || !strings.Contains(err.Error(), "it holds a password, and one is given besides") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("error %v", err)
	}
}
