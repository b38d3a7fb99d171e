package access

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
)

func TestParseTellsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := parse("a.yaml", []byte(`
tokens:
- {name: "", sha256: my-secret-token}
- {name: a, sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}
- {name: b, sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae}
- {name: c, sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae}
bindings:
- {identity: token:none, roles: [boss], namespaces: ["a b", "**"]}
- {identity: someone, roles: [], namespaces: []}
- {identity: jwt:x, jwt: {claim: a, value: b}, roles: [admin], namespaces: ["*"]}
`))
	for _, want := range []string{
		"tokens[0].name", "tokens[0].sha256", "tokens[1].sha256 is the digest of an empty token", "tokens[3].sha256 is that of another token",
		"bindings[0].identity", "bindings[0].roles[0]", "bindings[0].namespaces[0]", "bindings[0].namespaces[1]",
		"bindings[1].identity", "bindings[1].roles", "bindings[1].namespaces", "bindings[2].jwt",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "my-secret-token") {
		t.Errorf("the error holds what may be a token:\n%v", err)
	}
	for _, text := range []string{
		"tokens: [my-token]", "tokens: my-token", "tokens: [{name: a, sha256: [my-token]}]", "tokens: [{name: a, expires: my-token}]",
		"bindings: [{roles: my-token}, {namespaces: my-token}]", "\n\nbindings: my-token",
	} {
		_, err := parse("a.yaml", []byte(text))
		if err == nil || strings.Contains(err.Error(), "my-tok") || !strings.Contains(err.Error(), "a.yaml:") || strings.Contains(err.Error(), "access.") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "users: []", "tokens: []", "bindings: {}", "a: b: c", "bindings: []\n---\nbindings: []"} {
		if _, err := parse("a.yaml", []byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// What the entries mean that can be read is told beside what keeps others from being read.
func TestParseTellsAllMistakesInTheirOrder(t *testing.T) {
	t.Parallel()
	_, err := parse("a.yaml", []byte(`base: &base {roles: [admin], colour: red}
bindings:
- identity: [token:a]
  rolls: [admin]
  namespaces: my-token
- identity: token:b
  roles: [boss, {my: token}]
  namespaces: ["*"]
  identity: token:b
- identity: token:b
  roles: [boss]
  namespaces: ["a b"]
- jwt:
    claim: groups
    values: x
  <<: *base
  namespaces: ["*"]
- my-token
- identity: token:c
  roles: [admin]
  namespaces: ["*"]
tokens:
- name: a
  sha256: my-token
- name: b
  expires: my-token
  secret: x
tokens: []
`))
	want := []string{
		"a.yaml:1: base is not known; allowed: tokens and bindings",
		"a.yaml:1: bindings[3] has there what it cannot have; allowed: identity or jwt, ",
		"a.yaml:3: bindings[0].identity is of another form than it can be; allowed: text",
		"a.yaml:4: bindings[0].rolls is not known; allowed: identity or jwt, roles and namespaces",
		"a.yaml:5: bindings[0].namespaces is of another form than it can be; allowed: a list",
		"a.yaml:7: bindings[1].roles[1] is of another form than it can be; allowed: text",
		"a.yaml:9: bindings[1].identity is given twice",
		`a.yaml:11: bindings[2].roles[0] is "boss"; allowed: `,
		`a.yaml:12: bindings[2].namespaces[0] is "a b"; allowed: `,
		"a.yaml:15: bindings[3].jwt.values is not known; allowed: claim and value",
		"a.yaml:18: bindings[4] is of another form than it can be; allowed: identity or jwt, ",
		`a.yaml:19: bindings[5].identity is "token:c", but there is no token of that name`,
		"a.yaml:24: tokens[0].sha256 is no SHA-256 digest",
		"a.yaml:26: tokens[1].expires is of another form than it can be; allowed: a time such as ",
		"a.yaml:27: tokens[1].secret is not known; allowed: name, sha256 and expires",
		"a.yaml:28: tokens stands on line 22 already",
	}
	if err == nil {
		t.Fatal("it was taken")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		if i >= len(want) || !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d is unwanted: %s", i+1, line)
		}
	}
	if len(lines) != len(want) || strings.Contains(err.Error(), "my-token") {
		t.Errorf("%d mistakes, want %d, and none that shows a value:\n%v", len(lines), len(want), err)
	}
	_, err = parse("a.yaml", []byte("bindings:\n"+strings.Repeat("- {roles: [admin], namespaces: ['*'], colour: red}\n", 500)))
	if err == nil || strings.Count(err.Error(), "\n") != 20 || !strings.HasSuffix(err.Error(), "a.yaml: and 480 more") {
		t.Errorf("error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(jwtBindings))
	f.Add([]byte("tokens: [{name: a, sha256: [b], c: d}]\nbindings: [{identity: token:a, identity: b, roles: admin}, &e {<<: *e}]\nf: g"))
	f.Add([]byte("tokens: [{name: a, sha256: 00}]\nbindings: [{identity: token:a, roles: [admin], namespaces: [\"*\"]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse("a.yaml", data)
		if (r == nil) == (err == nil) {
			t.Errorf("%v and %v", r, err)
		}
		if r == nil {
			return
		}
		for _, grants := range r.named {
			for _, g := range grants {
				if g.roles == 0 || g.roles >= anyIdentity || len(g.namespaces) == 0 {
					t.Errorf("a binding grants %v", g)
				}
			}
		}
	})
}

func TestBrokenFileIsToldOnceAndTheOldOneHoldsOn(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	text := func(secret string) string {
		return fmt.Sprintf("tokens: [{name: a, sha256: %x}]\nbindings: [{identity: token:a, roles: [admin], namespaces: [\"*\"]}]", sha256.Sum256([]byte(secret)))
	}
	path := writeFile(t, "access.yaml", text("one"))
	c, err := New(Config{File: path, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	wants := func(secret string, want bool) {
		t.Helper()
		if _, denial := c.caller(withBearer(t.Context(), secret)); (denial == nil) != want {
			t.Errorf("%s: %v, taken should be %t", secret, denial, want)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.reload(t.Context())
		c.reload(t.Context())
	}
	write("tokens: [{}]")
	wants("one", true)
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("a broken file was told %d times, want once:\n%s", n, log.String())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.reload(t.Context())
	c.reload(t.Context())
	wants("one", true)
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("a file that is gone was told %d times more, want once:\n%s", n-1, log.String())
	}
	write(text("two"))
	wants("one", false)
	wants("two", true)
}

func TestDenialsFillNoLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	c, err := New(Config{File: writeFile(t, "access.yaml", jwtBindings), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	const floods = 10_000
	for range floods {
		if _, err := c.Identify(withBearer(t.Context(), "a-made-up-secret"), "/retry.v1.TaskService/GetTask"); err == nil {
			t.Fatal("it was taken")
		}
	}
	lines := strings.Count(log.String(), "access denied")
	if got := c.Denials(UnknownToken); got != floods || lines < 20 || lines > floods/10 {
		t.Errorf("%d denials were counted and %d logged, of %d", got, lines, floods)
	}
	if strings.Contains(log.String(), "made-up") {
		t.Error("the log holds the token")
	}
	if _, err := c.Identify(t.Context(), "/retry.v1.New/Method"); err == nil || c.Denials(NoRule) != 1 {
		t.Errorf("a method without a rule: %v", err)
	}
	for method, want := range map[string]bool{
		"": true, "/retry.v1.New/Method": true, "/retry.v1.TaskService/GetTask": true, "/grpc.health.v1.Health/New": true,
		"/grpc.health.v1.Health/Check": false, "/grpc.health.v1.Health/Watch": false,
	} {
		if got := c.Asks(method); got != want {
			t.Errorf("method %q asks for a credential: %t, want %t", method, got, want)
		}
	}
}
