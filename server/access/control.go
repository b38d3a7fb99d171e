package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Config is what a Control needs to know.
type Config struct {
	// File is the access file: tokens, and what identities are bound to.
	File string
	// JWT says how JWTs are checked; without a JWKS none is taken.
	JWT JWTConfig
	// Log takes denials, and what operators should know; the default is
	// [slog.Default].
	Log *slog.Logger
}

const (
	// pollInterval is how often the files are looked at: a token that is taken out
	// ends what it has begun within seconds.
	pollInterval = 2 * time.Second
	// remembered is how many JWTs and certificates are not checked anew with every
	// call.
	remembered = 4096
)

// Control decides who may call what. Make it with [New], and keep [Control.Run]
// running.
type Control struct {
	cfg     Config
	log     *slog.Logger
	rules   ruleset
	denials *denials
	roster  atomic.Pointer[roster]
	// jwts is nil where none are taken.
	jwts *jwts
	// known are the callers of JWTs by the digests of those, good for as long as the keys
	// are the same; certified those of certificates, which last as long as their
	// connections.
	known     *lru.Cache[[sha256.Size]byte, *Caller]
	certified *lru.Cache[*x509.Certificate, *Caller]

	mu       sync.Mutex
	sessions map[*Session]struct{}

	// read is what was last read of the file, good or not; only Run looks at it.
	read []byte
}

// New reads the files, or says everything that is wrong with them. A JWKS of a URL
// is fetched by Run.
func New(cfg Config) (*Control, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	c := &Control{
		cfg: cfg, log: cfg.Log, rules: newRuleset(), denials: newDenials(cfg.Log),
		sessions: make(map[*Session]struct{}),
	}
	var errs []error
	data, err := readFile(cfg.File)
	if err == nil {
		c.read = data
		var r *roster
		if r, err = parse(cfg.File, data); err == nil {
			c.roster.Store(r)
		}
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("access file: %w", err))
	}
	if cfg.JWT != (JWTConfig{}) {
		c.jwts, err = newJWTs(cfg.JWT)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if c.known, err = lru.New[[sha256.Size]byte, *Caller](remembered); err != nil {
		return nil, fmt.Errorf("remember callers: %w", err)
	}
	if c.certified, err = lru.New[*x509.Certificate, *Caller](remembered); err != nil {
		return nil, fmt.Errorf("remember callers: %w", err)
	}
	return c, nil
}

// Denials is how many calls and streams were turned away for one of [Reasons].
func (c *Control) Denials(reason string) int64 {
	if t := c.denials.of[reason]; t != nil {
		return t.count.Load()
	}
	return 0
}

// Run follows the files and the JWKS until ctx ends.
func (c *Control) Run(ctx context.Context) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if c.jwts != nil && c.jwts.follow(ctx, c.log) {
			c.review(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			c.reload(ctx)
		}
	}
}

// reload takes the file over if it has changed. A broken one is told once, and
// what was before it holds on.
func (c *Control) reload(ctx context.Context) {
	data, err := readFile(c.cfg.File)
	if err != nil {
		if c.read != nil {
			c.log.ErrorContext(ctx, "the access file cannot be read: what it said before holds on", "error", err)
		}
		c.read = nil
		return
	}
	if c.read != nil && bytes.Equal(data, c.read) {
		return
	}
	c.read = data
	r, err := parse(c.cfg.File, data)
	if err != nil {
		c.log.ErrorContext(ctx, "the access file is wrong: what it said before holds on", "error", err)
		return
	}
	c.roster.Store(r)
	c.log.InfoContext(ctx, "the access file was read again", "tokens", len(r.tokens), "identities", len(r.named))
	c.review(ctx)
}
