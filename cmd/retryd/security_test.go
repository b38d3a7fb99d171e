package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/internal/testcert"
)

func accessFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// oneToken is an access file with one token, of an admin.
func oneToken(secret string) string {
	return fmt.Sprintf(`
tokens:
- {name: root, sha256: %x}
bindings:
- {identity: token:root, roles: [admin], namespaces: ["*"]}
`, sha256.Sum256([]byte(secret)))
}

func TestWhereServeMayListen(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t)
	cert, key := ca.Issue(t.TempDir(), testcert.Names{CN: "retryd"})
	file := accessFile(t, oneToken("secret"))
	secured := []string{"--tls-cert=" + cert, "--tls-key=" + key}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"alone", nil, []string{"--listen (or RETRYD_LISTEN)", "--admin-listen (or RETRYD_ADMIN_LISTEN)"}},
		{"by TLS, open to everybody", secured, []string{"give --access", "--admin-listen"}},
		{"with tokens in the clear", []string{"--access=" + file}, []string{"in the clear"}},
		{"with both", append([]string{"--access=" + file}, secured...), nil},
		{"with both, and profiles", append([]string{"--access=" + file, "--pprof"}, secured...), []string{"--pprof (or RETRYD_PPROF)"}},
		{"insecure", []string{"--insecure"}, nil},
		{"insecure, with tokens", []string{"--insecure", "--access=" + file}, nil},
		{"a certificate without its key", append([]string{"--access=" + file}, secured[:1]...), []string{"--tls-key (or RETRYD_TLS_KEY) is missing", "in the clear"}},
		{"a key without its certificate", []string{"--insecure", "--redis-tls-key=" + key}, []string{"--redis-tls-cert (or RETRYD_REDIS_TLS_CERT) is missing"}},
		{"client certificates for nothing", []string{"--insecure", "--tls-client-ca=" + ca.File}, []string{"--tls-cert (or RETRYD_TLS_CERT) is missing", "--access (or RETRYD_ACCESS) is missing"}},
		{"JWTs for nothing", []string{"--insecure", "--jwt-issuer=me"}, []string{"--access (or RETRYD_ACCESS) is missing"}},
		{"JWTs, half", []string{"--insecure", "--access=" + file, "--jwt-issuer=me"}, []string{"--jwt-jwks (or RETRYD_JWT_JWKS)", "audience", "JWKS"}},
		{"JWTs by an open way", []string{"--insecure", "--access=" + file, "--jwt-issuer=me", "--jwt-audience=us", "--jwt-jwks=http://issuer/keys"}, []string{"https"}},
		{"files that are none", []string{"--insecure", "--access=/none", "--tls-cert=/none", "--tls-key=/none"}, []string{"access file: open /none", "--tls-cert (or RETRYD_TLS_CERT) and its like: open /none"}},
		{"TLS of Redis without TLS", []string{"--insecure", "--redis-tls-ca=" + ca.File}, []string{"rediss://"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var cfg serveConfig
			flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
			cfg.addFlags(flags)
			if err := flags.Parse(append([]string{"--listen=0.0.0.0:7600", "--admin-listen=0.0.0.0:7601"}, c.args...)); err != nil {
				t.Fatal(err)
			}
			store, _, err := cfg.prepare(newWatch(cfg.config, io.Discard))
			if err == nil {
				_ = store.Close()
			}
			if (err != nil) != (len(c.want) > 0) {
				t.Fatalf("error %v, want one of %q", err, c.want)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it says nothing of %q:\n%v", want, err)
				}
			}
		})
	}
}

// A client with a token speaks by TLS to a server that listens anywhere.
func TestServeByTLSWithATokenAndACertificate(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	ca := testcert.NewCA(t)
	cert, key := ca.Issue(t.TempDir(), testcert.Names{CN: "retryd"})
	file := accessFile(t, oneToken("secret")+`- {identity: "cert:spiffe://test/worker", roles: [worker], namespaces: [default]}`)
	p := start(t, "serve", "--listen=0.0.0.0:0", "--admin-listen=", "--redis-url="+redis.URL(),
		"--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+ca.File, "--access="+file)
	text := p.AwaitLog("word that it serves", func(text string) bool { return strings.Contains(text, "redis can be used: serving") })
	found := listening.FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("the log names no port:\n%s", text)
	}
	addr := "127.0.0.1:" + found[1][strings.LastIndexByte(found[1], ':')+1:]

	call := func(opts ...client.Option) error {
		c, err := client.New(addr, append(opts, client.WithRetryTimeout(0))...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, err = c.ReportSuccess(t.Context(), client.Task{ID: "a"})
		return err
	}
	roots := &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS13}
	token := func(secret string) client.Option {
		return client.WithToken(func(context.Context) (string, error) { return secret, nil })
	}
	own := roots.Clone()
	own.Certificates = []tls.Certificate{ca.Pair(testcert.Names{URI: "spiffe://test/worker"})}
	other := roots.Clone()
	other.Certificates = []tls.Certificate{testcert.NewCA(t).Pair(testcert.Names{URI: "spiffe://test/worker"})}
	for _, row := range []struct {
		name, want string
		opts       []client.Option
	}{
		{"with the token", "", []client.Option{client.WithTLS(roots), token("secret")}},
		{"with a certificate", "", []client.Option{client.WithTLS(own)}},
		{"with neither", "UNAUTHENTICATED", []client.Option{client.WithTLS(roots)}},
		{"with another token", "UNAUTHENTICATED", []client.Option{client.WithTLS(roots), token("other")}},
		{"with another token and a certificate", "UNAUTHENTICATED", []client.Option{client.WithTLS(own), token("other")}},
	} {
		if err := call(row.opts...); client.ReasonOf(err) != row.want || (err == nil) != (row.want == "") {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	for name, opt := range map[string]client.Option{"of another CA": client.WithTLS(other), "in the clear": client.WithInsecure()} {
		if err := call(opt); err == nil || client.ReasonOf(err) != "" {
			t.Errorf("a connection %s: %v, want none", name, err)
		}
	}
	if log := p.Stderr(); strings.Contains(log, "secret") || !strings.Contains(log, "access denied") {
		t.Errorf("the log holds a token, or no denial:\n%s", log)
	}
}

func TestTokenNew(t *testing.T) {
	t.Parallel()
	out, err := execute(t, "token", "new", "ci")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out, "\n")
	sum := sha256.Sum256([]byte(lines[1]))
	if want := "- {name: ci, sha256: " + hex.EncodeToString(sum[:]) + "}"; len(lines[1]) < 40 || lines[3] != want {
		t.Errorf("it prints\n%swant the last line to be %s", out, want)
	}
	again, err := execute(t, "token", "new", "ci")
	if err != nil || again == out {
		t.Errorf("a second token is the first: %v", err)
	}
	if _, err := execute(t, "token", "new", "a: b"); err == nil {
		t.Error("a name that YAML would read otherwise was taken")
	}
}
