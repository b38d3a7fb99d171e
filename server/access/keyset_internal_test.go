package access

import (
	"bytes"
	"context"
	"crypto"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// keyServer serves a JWKS by HTTPS.
type keyServer struct {
	*httptest.Server
	fetches atomic.Int64
	answer  atomic.Pointer[http.HandlerFunc]
}

func newKeyServer(t *testing.T) *keyServer {
	t.Helper()
	k := new(keyServer)
	k.says("")
	k.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.fetches.Add(1)
		(*k.answer.Load())(w, r)
	}))
	// What it has to say of clients that hang up is not the test's.
	k.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	k.StartTLS()
	t.Cleanup(k.Close)
	return k
}

func (k *keyServer) does(answer http.HandlerFunc) { k.answer.Store(&answer) }

func (k *keyServer) says(text string) {
	k.does(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
}

// control takes JWTs by the keys of the server, and trusts its certificate.
func (k *keyServer) control(t *testing.T, log *slog.Logger) *Control {
	t.Helper()
	c, err := New(Config{
		File: writeFile(t, "access.yaml", jwtBindings), Log: log,
		JWT: JWTConfig{JWKS: k.URL + "/keys", Issuer: "issuer", Audience: "retryd"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.jwts.client.Transport = k.Client().Transport
	return c
}

// look has the keys be fetched as when it is time.
func (c *Control) look(ctx context.Context) bool {
	c.jwts.mu.Lock()
	c.jwts.next = time.Time{}
	c.jwts.mu.Unlock()
	return c.jwts.follow(ctx, c.log)
}

func TestKeysOfAnURL(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	i, k := newIssuer(t), newKeyServer(t)
	k.says(i.jwks())
	c := k.control(t, slog.New(slog.NewTextHandler(&log, nil)))
	token := sign(t, jwt.SigningMethodEdDSA, i.ed, "ed", good())
	taken := func(what string, want bool) {
		t.Helper()
		// Not from memory.
		c.known.Purge()
		if _, denial := c.caller(withBearer(t.Context(), token)); (denial == nil) != want {
			t.Errorf("%s: %v, taken should be %t", what, denial, want)
		}
	}
	if !c.jwts.follow(t.Context(), c.log) {
		t.Error("the keys have not changed when they came")
	}
	taken("once the keys are there", true)
	if c.jwts.follow(t.Context(), c.log) || k.fetches.Load() != 1 {
		t.Errorf("%d fetches, want the second look to wait for 5 minutes", k.fetches.Load())
	}
	if c.look(t.Context()) {
		t.Error("the same keys are said to have changed")
	}

	for name, answer := range map[string]http.HandlerFunc{
		"an error":          func(w http.ResponseWriter, _ *http.Request) { http.Error(w, i.jwks(), http.StatusInternalServerError) },
		"junk":              func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("junk")) },
		"no keys":           func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"too much":          func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), maxKeyBytes+1)) },
		"half of it":        func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "9") },
		"a way without end": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) },
	} {
		log.Reset()
		k.does(answer)
		for range 2 {
			if c.look(t.Context()) {
				t.Errorf("%s is taken for other keys", name)
			}
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%s was told %d times, want once:\n%s", name, n, log.String())
		}
		taken(name, true)
		k.says(i.jwks())
		c.look(t.Context())
	}

	k.says(strings.Replace(i.jwks(), `"ed"`, `"new"`, 1))
	if !c.look(t.Context()) {
		t.Error("other keys have not changed anything")
	}
	taken("when its key is gone", false)
}

// A key that is not known is asked for at once, but not for every name that somebody
// makes up, and whoever asks and goes away wastes nothing.
func TestUnknownKeysAreAskedForSparingly(t *testing.T) {
	t.Parallel()
	i, k := newIssuer(t), newKeyServer(t)
	k.says(strings.Replace(i.jwks(), `"ed"`, `"old"`, 1))
	c := k.control(t, slog.New(slog.DiscardHandler))
	c.jwts.follow(t.Context(), c.log)
	k.says(i.jwks())
	made := sign(t, jwt.SigningMethodEdDSA, i.ed, "made up", good())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if _, denial := c.caller(withBearer(gone, made)); denial == nil || denial.Reason != InvalidToken {
			t.Fatal("a key that is not there is known:", denial)
		}
	}
	if n := k.fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want one at first and one for all unknown keys", n)
	}
	if _, denial := c.caller(withBearer(t.Context(), sign(t, jwt.SigningMethodEdDSA, i.ed, "ed", good()))); denial != nil {
		t.Error("a key that came with what was fetched for another:", denial)
	}
	if !c.jwts.follow(t.Context(), c.log) {
		t.Error("streams are not looked at after keys have changed for the sake of a call")
	}
	k.says(strings.Replace(i.jwks(), `"ed"`, `"newest"`, 1))
	newest := sign(t, jwt.SigningMethodEdDSA, i.ed, "newest", good())
	if _, denial := c.caller(withBearer(t.Context(), newest)); denial == nil {
		t.Error("keys are asked for more often than every 30 s")
	}
	c.jwts.unknown = rate.NewLimiter(rate.Inf, 1)
	if _, denial := c.caller(withBearer(t.Context(), newest)); denial != nil {
		t.Error("a key that is there by now:", denial)
	}
}

// Whoever answers for the host that the issuer's server leads on to, in the clear, is
// anybody.
func TestKeysOfAnURLAreNotFetchedInTheClear(t *testing.T) {
	t.Parallel()
	k, other := newKeyServer(t), newIssuer(t)
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(other.jwks()))
	}))
	t.Cleanup(between.Close)
	c := k.control(t, slog.New(slog.DiscardHandler))
	dial := new(net.Dialer).DialContext
	transport := k.Client().Transport.(*http.Transport).Clone() //nolint:forcetypeassert // it is what a test server's client has
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == "keys.example.org:80" {
			addr = between.Listener.Addr().String()
		}
		return dial(ctx, network, addr)
	}
	c.jwts.client.Transport = transport
	k.does(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://keys.example.org/", http.StatusFound)
	})
	if c.jwts.follow(t.Context(), c.log) || c.jwts.knows("ed") {
		t.Error("the keys of somebody between are taken")
	}
}

// A key that nobody here can read keeps the others from nothing, and is told once.
func TestKeysThatCannotBeReadArePassedOver(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	i, k := newIssuer(t), newKeyServer(t)
	c := k.control(t, slog.New(slog.NewTextHandler(&log, nil)))
	for name, key := range map[string]string{
		"another curve": `{"kty":"EC","crv":"secp256k1","kid":"odd","x":"AQ","y":"AQ"}`,
		"another type":  `{"kty":"AKP","alg":"ML-DSA-44","kid":"odd","pub":"AQ"}`,
		"another use":   `{"kty":"RSA","kid":"odd","n":"AQ","e":"AQAB","key_ops":["new"]}`,
		"no numbers":    `{"kty":"RSA","kid":"odd"}`,
	} {
		log.Reset()
		k.says(strings.Replace(i.jwks(), "[", "["+key+",", 1))
		if !c.look(t.Context()) || !c.jwts.knows("ed") || c.jwts.knows("odd") {
			t.Errorf("%s: the keys beside it are not taken, or it is:\n%s", name, log.String())
		}
		c.look(t.Context())
		if n := strings.Count(log.String(), "kids=[odd]"); n != 1 {
			t.Errorf("%s is told %d times, want once:\n%s", name, n, log.String())
		}
	}
	k.says(strings.Replace(i.jwks(), "[", `[{"kty":"OKP","crv":"Ed25519","kid":"own","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},`, 1))
	if c.look(t.Context()) || c.jwts.knows("own") {
		t.Error("a private key is taken")
	}
}

func TestKeysOfAnURLThatMustNotBeTrusted(t *testing.T) {
	t.Parallel()
	i, k := newIssuer(t), newKeyServer(t)
	k.says(i.jwks())
	c := k.control(t, slog.New(slog.DiscardHandler))
	c.jwts.client.Transport = nil
	if c.jwts.follow(t.Context(), c.log) || c.jwts.knows("ed") {
		t.Error("keys are taken from a server whose certificate nobody vouches for")
	}
	for url, ok := range map[string]bool{
		"https://keys.example.org/keys": true, "http://127.0.0.1:1/keys": true, "http://[::1]/keys": true, "http://localhost/keys": true,
		"http://keys.example.org/keys": false, "http://127.0.0.1.example.org/": false, "http://localhost.example.org/": false,
		"http://127.0.0.1@keys.example.org/": false, "ftp://127.0.0.1/keys": false, "file:///keys": false, "https://": false, "https:// /": false,
	} {
		if _, err := newKeySet(url); (err == nil) != ok {
			t.Errorf("%s: %v, may be taken: %t", url, err, ok)
		}
	}
}

// FuzzParseKeys reads what may stand where an issuer's keys are looked for: of it public
// keys with names are taken, by which tokens can be checked, or nothing.
func FuzzParseKeys(f *testing.F) {
	i := newIssuer(f)
	f.Add([]byte(i.jwks()))
	for _, text := range []string{
		"", "{}", "junk", `{"keys": null}`, `{"keys": [null, {}, {"kid": "a"}, {"kid": "a", "kty": "XYZ"}]}`,
		`{"keys": [{"kid": "a", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kid": "b", "kty": "RSA", "n": "", "e": ""}]}`,
		`{"keys": [{"kid": "a", "kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"}]}`,
		`{"keys": [{"kid": "a", "kty": "OKP", "crv": "X25519", "use": "sig", "key_ops": ["verify"], "x5c": ["AA"], "x5u": ":"}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, unread, err := parseKeys(data)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys were read, with error %v", len(keys), err)
		}
		for _, kid := range unread {
			if kid == "" || len(kid) > len(cut(strings.Repeat("x", 1000))) {
				t.Errorf("the log is told of %q", kid)
			}
		}
		for _, key := range keys {
			m := key.Marshal()
			_, private := key.Key().(crypto.Signer)
			_, secret := key.Key().([]byte)
			if m.KID == "" || private || secret || m.D != "" || m.K != "" {
				t.Errorf("a %T named %q was taken", key.Key(), m.KID)
			}
		}
		if err := jwkset.NewMemoryStorage().KeyReplaceAll(t.Context(), keys); err != nil {
			t.Errorf("they cannot be kept: %v", err)
		}
	})
}
