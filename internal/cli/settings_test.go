package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file writes a file for the length of the test.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrongSettingsAreToldAtOnceWithTheirOrigin(t *testing.T) {
	inBubble(t, func(r *rig) {
		path := file(r.t, "client.yaml", "tls: perhaps\ntimeout: 5\n")
		r.env["RETRYD_ADDRESS"] = "nowhere"
		r.env["RETRYD_CLIENT_CONFIG"] = path
		r.run("healthcheck", "--tls-cert=a.pem", "--token-file=/no/such").wants(2).says(
			`RETRYD_ADDRESS is "nowhere": it must be host:port, such as retryd.example.com:7600`,
			`timeout in `+path+` is "5": it must be a duration, such as 500ms, 10s or 1m`,
			`tls in `+path+` is "perhaps": it must be true or false`,
			`--tls-cert is "a.pem": it needs its key, --tls-key`,
			`--token-file is "/no/such": no such file or directory`,
		)
	})
}

func TestTheNearestSettingWins(t *testing.T) {
	path := file(t, "client.yaml", `# what holds for all, and two servers
address: 127.0.0.1:1
namespace: all
timeout: 5s
contexts:
  near: {address: "127.0.0.1:2", namespace: near}
  far: {namespace: far}
`)
	chosen := file(t, "client.yaml", "context: near\ncontexts:\n  near: {namespace: chosen}\n")
	inBubble(t, func(r *rig) {
		for _, c := range []struct {
			env  map[string]string
			args []string
			want string
		}{
			{nil, nil, "127.0.0.1:7600 default"},
			{nil, []string{"--client-config", path}, "127.0.0.1:1 all"},
			{map[string]string{"RETRYD_CLIENT_CONFIG": path}, []string{"--context=near"}, "127.0.0.1:2 near"},
			{map[string]string{"RETRYD_CLIENT_CONFIG": path, "RETRYD_CONTEXT": "far"}, nil, "127.0.0.1:1 far"},
			{map[string]string{"RETRYD_CLIENT_CONFIG": path, "RETRYD_CONTEXT": "far", "RETRYD_NAMESPACE": "env"}, nil, "127.0.0.1:1 env"},
			{map[string]string{"RETRYD_CLIENT_CONFIG": path, "RETRYD_NAMESPACE": "env"}, []string{"-n", "flag", "--address=127.0.0.1:4"}, "127.0.0.1:4 flag"},
			{map[string]string{"RETRYD_CLIENT_CONFIG": chosen}, nil, "127.0.0.1:7600 chosen"},
			{map[string]string{"XDG_CONFIG_HOME": t.TempDir()}, nil, "127.0.0.1:7600 default"},
			// What a command does is never up to the environment.
			{map[string]string{"RETRYD_HELP": "true", "RETRYD_DRY_RUN": "true"}, nil, "127.0.0.1:7600 default"},
		} {
			r.env = c.env
			address, namespace, _ := strings.Cut(c.want, " ")
			r.run(append([]string{"status"}, c.args...)...).wants(0).says(address+", v1.2.3", namespace+", 0 queues")
		}
	})
}

func TestClientFileAtItsUsualPlace(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, ".config", "retryd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "client.yaml"), []byte("namespace: home\noutput: json\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(r *rig) {
		r.env["HOME"] = home
		r.run("status").wants(0).says(`"namespace": "home"`)
		r.run("status", "--context=x").wants(2).says(`--context is "x": the file has the contexts []`)
		r.env["XDG_CONFIG_HOME"] = home
		r.run("status", "--context=x").wants(2).says(`--context is "x": there is no client's file that has contexts`)
	})
}

func TestWrongClientFile(t *testing.T) {
	inBubble(t, func(r *rig) {
		for _, c := range []struct {
			text string
			says []string
		}{
			{"host: x\ntimeout: [1]\nnamespace:\ncontexts: {a: {token: x, context: y}, a: 3}\ncontext: b\ncontext: c\n", []string{
				`line 1: "host" is no setting; there are context, contexts, address, namespace, tls,`,
				"line 2: timeout takes a single value", "line 3: namespace takes a single value",
				`line 4: "context" is no setting; there are address,`, `line 4: the context "a" is given twice`, "line 4: settings are written as name: value pairs",
				"line 6: context is given twice", `context is "b": the file has the contexts ["a"]`,
			}},
			{"- 1", []string{"line 1: settings are written as name: value pairs"}},
			{"a: [", []string{"not YAML"}},
			{"contexts: 3", []string{"line 1: contexts are written as name: settings"}},
		} {
			r.run("status", "--client-config", file(r.t, "client.yaml", c.text)).wants(2).says(c.says...)
		}
		r.run("status", "--client-config", file(r.t, "client.yaml", "")).wants(0)
		r.run("status", "--client-config=/no/such").wants(2).says(`--client-config is "/no/such": no such file or directory`)
	})
}

func TestSettingsThatContradictEachOther(t *testing.T) {
	token := file(t, "token", "secret")
	empty := file(t, "empty", "\n")
	inBubble(t, func(r *rig) {
		for _, c := range []struct{ args, says string }{
			{"--token=a --token-file=" + token, "--token and --token-file are both given"},
			{"--token-file=" + empty, `--token-file is "` + empty + `": the file is empty`},
			{"--tls=false --tls-ca=" + token, "--tls says that there is no TLS"},
			{"--tls-ca=" + token, "the file holds no certificate in PEM form"},
			{"--tls-key=" + token, "it needs its certificate, --tls-cert"},
			{"--tls-key=" + token + " --tls-cert=" + token, "failed to find any PEM data"},
			{"--timeout=0s", `--timeout is "0s": it must be at least 1ms`},
			{"--address=localhost", `--address is "localhost": it must be host:port`},
			{"--tls=false --address=retryd.example.com:7600 --token=a", "its token would go over the network in the clear"},
		} {
			r.run(append([]string{"status"}, strings.Fields(c.args)...)...).wants(2).says(c.says)
		}
		if got := r.run("status", "--token=two words").wants(2).says("--token gives a token with spaces"); strings.Contains(got.err, "words") {
			r.t.Errorf("it shows the token: %s", got.err)
		}
		// What is nearer wins over what says the same further away.
		r.env["RETRYD_TOKEN"] = "two words"
		r.run("status", "--token-file", token).wants(0)
	})
}
