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
	_, err := parse([]byte(`
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
		_, err := parse([]byte(text))
		if err == nil || strings.Contains(err.Error(), "my-tok") || !strings.Contains(err.Error(), "line ") || strings.Contains(err.Error(), "access.") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "users: []", "tokens: []", "bindings: {}", "a: b: c", "bindings: []\n---\nbindings: []"} {
		if _, err := parse([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(jwtBindings))
	f.Add([]byte("tokens: [{name: a, sha256: 00}]\nbindings: [{identity: token:a, roles: [admin], namespaces: [\"*\"]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
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
