package access

import (
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/metadata"
)

// issuer signs JWTs by Ed25519 and RSA.
type issuer struct {
	ed  ed25519.PrivateKey
	rsa *rsa.PrivateKey
}

func newIssuer(tb testing.TB) *issuer {
	tb.Helper()
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := rsa.GenerateKey(nil, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return &issuer{ed, r}
}

// jwks are the issuer's keys, and a secret one that must not be taken.
func (i *issuer) jwks() string {
	b64 := base64.RawURLEncoding.EncodeToString
	data, _ := json.Marshal(map[string]any{"keys": []any{ //nolint:errchkjson // it can be written
		map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(i.ed.Public().(ed25519.PublicKey))}, //nolint:forcetypeassert // that is what it is
		map[string]any{"kty": "RSA", "kid": "rsa", "n": b64(i.rsa.N.Bytes()), "e": "AQAB"},
		map[string]any{"kty": "oct", "kid": "secret", "k": b64([]byte("0123456789abcdef0123456789abcdef"))},
	}})
	return string(data)
}

func good() jwt.MapClaims {
	return jwt.MapClaims{"iss": "issuer", "aud": "retryd", "sub": "me", "exp": time.Now().Add(time.Hour).Unix(), "groups": []string{"a", "on-call"}}
}

func sign(tb testing.TB, method jwt.SigningMethod, key any, kid string, claims jwt.MapClaims) string {
	tb.Helper()
	t := jwt.NewWithClaims(method, claims)
	if kid != "" {
		t.Header["kid"] = kid
	}
	out, err := t.SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func writeFile(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

const jwtBindings = `
bindings:
- {identity: "jwt:me", roles: [reporter], namespaces: [mine]}
- {jwt: {claim: groups, value: on-call}, roles: [operator], namespaces: ["team-*"]}
`

func jwtControl(tb testing.TB, i *issuer) *Control {
	tb.Helper()
	c, err := New(Config{
		File: writeFile(tb, "access.yaml", jwtBindings), Log: slog.New(slog.DiscardHandler),
		JWT: JWTConfig{JWKS: writeFile(tb, "jwks.json", i.jwks()), Issuer: "issuer", Audience: "retryd"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func withBearer(ctx context.Context, token string) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token))
}

func TestJWTs(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	c := jwtControl(t, i)
	other := newIssuer(t)
	public, err := x509.MarshalPKIXPublicKey(i.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	but := func(name string, value any) jwt.MapClaims {
		claims := maps.Clone(good())
		if delete(claims, name); value != nil {
			claims[name] = value
		}
		return claims
	}
	ed := jwt.SigningMethodEdDSA
	critical := jwt.NewWithClaims(ed, good())
	critical.Header["kid"], critical.Header["crit"] = "ed", []string{"b64"}
	extended, err := critical.SignedString(i.ed)
	if err != nil {
		t.Fatal(err)
	}
	soon, past := time.Now().Add(time.Minute).Unix(), time.Now().Add(-time.Minute).Unix()
	for _, row := range []struct{ name, token, reason string }{
		{"good", sign(t, ed, i.ed, "ed", good()), ""},
		{"good, RS256", sign(t, jwt.SigningMethodRS256, i.rsa, "rsa", good()), ""},
		{"good, PS256", sign(t, jwt.SigningMethodPS256, i.rsa, "rsa", good()), ""},
		{"good, one audience of several", sign(t, ed, i.ed, "ed", but("aud", []string{"x", "retryd"})), ""},
		{"expired, but for a clock that is off", sign(t, ed, i.ed, "ed", but("exp", time.Now().Add(-10*time.Second).Unix())), ""},
		{"none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "ed", good()), InvalidToken},
		{"HS256 by the public key", sign(t, jwt.SigningMethodHS256, public, "rsa", good()), InvalidToken},
		{"HS256 by a secret of the JWKS", sign(t, jwt.SigningMethodHS256, []byte("0123456789abcdef0123456789abcdef"), "secret", good()), InvalidToken},
		{"RS384, which is not taken", sign(t, jwt.SigningMethodRS384, i.rsa, "rsa", good()), InvalidToken},
		{"by the key of another algorithm", sign(t, ed, i.ed, "rsa", good()), InvalidToken},
		{"by another issuer's key", sign(t, ed, other.ed, "ed", good()), InvalidToken},
		{"with extensions that must be understood", extended, InvalidToken},
		{"without a kid", sign(t, ed, i.ed, "", good()), InvalidToken},
		{"with an unknown kid", sign(t, ed, i.ed, "../../etc/passwd", good()), InvalidToken},
		{"expired", sign(t, ed, i.ed, "ed", but("exp", past)), Expired},
		{"expired, of another issuer", sign(t, ed, i.ed, "ed", jwt.MapClaims{"sub": "me", "aud": "retryd", "iss": "other", "exp": past}), Expired},
		{"for ever", sign(t, ed, i.ed, "ed", but("exp", nil)), InvalidToken},
		{"not yet valid", sign(t, ed, i.ed, "ed", but("nbf", soon)), InvalidToken},
		{"of another issuer", sign(t, ed, i.ed, "ed", but("iss", "other")), InvalidToken},
		{"of no issuer", sign(t, ed, i.ed, "ed", but("iss", nil)), InvalidToken},
		{"for another audience", sign(t, ed, i.ed, "ed", but("aud", "other")), InvalidToken},
		{"for nobody", sign(t, ed, i.ed, "ed", but("aud", nil)), InvalidToken},
		{"of nobody", sign(t, ed, i.ed, "ed", but("sub", nil)), InvalidToken},
		{"of somebody with line breaks", sign(t, ed, i.ed, "ed", but("sub", "a\nb")), InvalidToken},
		{"cut", sign(t, ed, i.ed, "ed", good())[:60], UnknownToken},
		{"junk in three parts", "a.b.c", UnknownToken},
		{"not even that", "junk", UnknownToken},
		{"huge", strings.Repeat("a", maxBearerBytes+1), BadCredential},
	} {
		for range 2 { // the second time from memory
			caller, denial := c.caller(withBearer(t.Context(), row.token))
			switch {
			case row.reason == "" && (denial != nil || caller.Name != "jwt:me"):
				t.Errorf("%s: %v, %v", row.name, caller, denial)
			case row.reason != "" && (denial == nil || denial.Reason != row.reason):
				t.Errorf("%s: %v, %v, want %s", row.name, caller, denial, row.reason)
			case denial != nil && (denial.Identity == "jwt:me") != (row.name == "expired"):
				t.Errorf("%s: it is told to be of %q", row.name, denial.Identity)
			case denial != nil && (strings.Contains(denial.Message, row.token) || strings.Contains(denial.Message, "passwd")):
				t.Errorf("%s: the message repeats what was sent: %s", row.name, denial.Message)
			}
		}
	}
	if got := c.known.Len(); got != 5 {
		t.Errorf("%d callers are remembered, want the good 5", got)
	}
	caller, _ := c.caller(withBearer(t.Context(), sign(t, ed, i.ed, "ed", good())))
	for _, row := range []struct {
		role      Role
		namespace string
		want      bool
	}{{Reporter, "mine", true}, {Operator, "team-a", true}, {Operator, "mine", false}, {Reporter, "team-a", false}, {Operator, "team", false}} {
		if _, here := caller.may(row.role, row.namespace); here != row.want {
			t.Errorf("%s in %s: %t", row.role, row.namespace, here)
		}
	}
}

// A key that is taken out of the JWKS takes those with it who came by it.
func TestKeysThatAreTakenOut(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	c := jwtControl(t, i)
	token := sign(t, jwt.SigningMethodEdDSA, i.ed, "ed", good())
	caller, denial := c.caller(withBearer(t.Context(), token))
	if denial != nil {
		t.Fatal(denial)
	}
	ctx, end := c.Begin(context.WithValue(t.Context(), callerKey{}, caller), "/x")
	defer end()
	if err := os.WriteFile(c.cfg.JWT.JWKS, []byte(strings.Replace(i.jwks(), `"ed"`, `"new"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if !c.jwts.follow(t.Context(), c.log) {
		t.Fatal("the keys have not changed")
	}
	c.review(t.Context())
	select {
	case <-SessionOf(ctx).Lapsed():
	default:
		t.Error("the stream goes on")
	}
	if _, denial := c.caller(withBearer(t.Context(), token)); denial == nil {
		t.Error("the token is still taken")
	}
	if err := os.WriteFile(c.cfg.JWT.JWKS, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.jwts.follow(t.Context(), c.log) || !c.jwts.knows("new") {
		t.Error("junk was taken for keys")
	}
}

func FuzzBearer(f *testing.F) {
	i := newIssuer(f)
	c := jwtControl(f, i)
	f.Add("Bearer " + sign(f, jwt.SigningMethodEdDSA, i.ed, "ed", good()))
	f.Add("Bearer a.b.c")
	f.Add("bearer ")
	f.Add("Basic x")
	f.Fuzz(func(t *testing.T, header string) {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", header))
		caller, denial := c.caller(ctx)
		if (caller == nil) == (denial == nil) && !strings.HasPrefix(header, "Bearer ey") {
			t.Errorf("%q: %v and %v", header, caller, denial)
		}
		if denial != nil && c.denials.of[denial.Reason] == nil {
			t.Errorf("%q is denied for %q, which is no reason", header, denial.Reason)
		}
	})
}
