package access

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"golang.org/x/time/rate"
)

const (
	maxKeyBytes = 1 << 20
	// fetchTimeout bounds one fetch of the keys; refetchInterval is how often they
	// are, and refetchPause how often after a failure, or for the sake of a key that
	// is not known.
	fetchTimeout    = 3 * time.Second
	refetchInterval = 5 * time.Minute
	refetchPause    = 30 * time.Second
)

// keySet are the keys of an issuer, as a file or URL has them.
type keySet struct {
	from    string
	remote  bool
	client  *http.Client
	storage *jwkset.MemoryJWKSet
	// kids are the names of those in storage.
	kids atomic.Pointer[map[string]bool]
	// unknown is how often a key that is not known is asked for.
	unknown *rate.Limiter

	// mu guards what is below: only one fetches.
	mu   sync.Mutex
	read []byte
	// next is when a URL is fetched again; told is whether the log has that it fails.
	next time.Time
	told bool
	// changed says that follow has yet to tell of new keys, unread are those that could
	// not be read, of which the log has yet to be told.
	changed bool
	unread  []string
}

// newKeySet reads the keys where they are in a file.
func newKeySet(from string) (*keySet, error) {
	k := &keySet{
		from: from, storage: jwkset.NewMemoryStorage(),
		unknown: rate.NewLimiter(rate.Every(refetchPause), 1),
		client:  &http.Client{Timeout: fetchTimeout, CheckRedirect: onlySecure},
	}
	k.kids.Store(&map[string]bool{})
	if strings.Contains(from, "://") {
		k.remote = true
		u, err := url.Parse(from)
		if err != nil || u.Host == "" || !secure(u) {
			return nil, errors.New("the JWKS must be a file, or an https URL: whoever can change it on its way can be anybody")
		}
		return k, nil
	}
	if from == "" {
		return k, nil
	}
	_, err := k.refresh(context.Background()) //nolint:forbidigo // a file is read without one
	return k, err
}

// secure reports whether nobody between can change what a URL answers.
func secure(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && addr.IsLoopback())
}

func onlySecure(req *http.Request, via []*http.Request) error {
	if len(via) > 3 || !secure(req.URL) {
		return errors.New("it leads on to where it is not safe, or too often")
	}
	return nil
}

// knows reports whether a key of that name is there.
func (k *keySet) knows(kid string) bool { return (*k.kids.Load())[kid] }

// learn looks whether a key is there by now, but not often: names are made up
// easily. Others do not wait for it.
func (k *keySet) learn(ctx context.Context, kid string) bool {
	if !k.remote || !k.unknown.Allow() || !k.mu.TryLock() {
		return false
	}
	defer k.mu.Unlock()
	// It is for all: a caller who asks and goes away must not have wasted it.
	changed, err := k.refresh(context.WithoutCancel(ctx))
	k.changed = k.changed || changed
	return err == nil && k.knows(kid)
}

// follow reads the keys again where it is time. It is true when they have changed.
func (k *keySet) follow(ctx context.Context, log *slog.Logger) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.tellUnread(ctx, log)
	changed := k.changed
	k.changed = false
	now := time.Now()
	if k.remote && now.Before(k.next) {
		return changed
	}
	anew, err := k.refresh(ctx)
	k.next = now.Add(refetchInterval)
	if err == nil {
		if anew || k.told {
			log.InfoContext(ctx, "the keys of JWTs were read", "keys", len(*k.kids.Load()))
		}
		k.told = false
		return changed || anew
	}
	k.next = now.Add(refetchPause)
	if !k.told && ctx.Err() == nil {
		log.ErrorContext(ctx, "the keys of JWTs cannot be read: those from before hold on", "error", err)
		k.told = true
	}
	return changed
}

func (k *keySet) tellUnread(ctx context.Context, log *slog.Logger) {
	if len(k.unread) > 0 {
		log.WarnContext(ctx, "some keys of JWTs cannot be read: tokens that are signed by them are not taken", "kids", k.unread)
	}
	k.unread = nil
}

// refresh reads the keys. It is true when they are others than before.
func (k *keySet) refresh(ctx context.Context) (bool, error) {
	data, err := k.load(ctx)
	if err != nil {
		return false, fmt.Errorf("JWKS: %w", err)
	}
	if k.read != nil && bytes.Equal(data, k.read) {
		return false, nil
	}
	keys, unread, err := parseKeys(data)
	if err != nil {
		return false, fmt.Errorf("JWKS: %w", err)
	}
	if err := k.storage.KeyReplaceAll(ctx, keys); err != nil {
		return false, fmt.Errorf("JWKS: %w", err)
	}
	kids := make(map[string]bool, len(keys))
	for i := range keys {
		kids[keys[i].Marshal().KID] = true
	}
	k.kids.Store(&kids)
	k.read, k.unread = data, unread
	return true, nil
}

func (k *keySet) load(ctx context.Context) ([]byte, error) {
	if !k.remote {
		return readFile(k.from)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it is answered with %s", resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxKeyBytes+1))
	if err == nil && len(data) > maxKeyBytes {
		err = fmt.Errorf("it has more than %d bytes", maxKeyBytes)
	}
	return data, err
}

// parseKeys are the public keys of a JWKS that have names. Of others, and of secrets,
// nothing is taken. Those that cannot be read are passed over, as RFC 7517 asks: a key
// of a new kind must not keep the others from being changed.
func parseKeys(data []byte) (keys []jwkset.JWK, unread []string, err error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, nil, errors.New("it is no JSON of the form {\"keys\": [...]}")
	}
	for _, m := range set.Keys {
		if m.KID == "" || m.KTY == jwkset.KtyOct || m.USE == jwkset.UseEnc {
			continue
		}
		key, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{})
		if err != nil {
			unread = append(unread, cut(m.KID))
			continue
		}
		if private, ok := key.Key().(interface{ Public() crypto.PublicKey }); ok {
			return nil, nil, fmt.Errorf("its key %q is the private one of a %T: the issuer alone may have that", cut(m.KID), private)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, nil, errors.New("it has no public key with a name (kid) that can be read")
	}
	return keys, unread, nil
}
