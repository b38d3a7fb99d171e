package access

import (
	"context"
	"sync"
	"time"
)

// Session is a stream of a caller, who may lose on the way what it was begun with.
type Session struct {
	control *Control
	method  string
	timer   *time.Timer
	lapsed  chan struct{}

	mu     sync.Mutex
	caller *Caller
	// roles and in are what has been permitted: in is empty while nothing has.
	roles Role
	in    string
	why   error
}

type sessionKey struct{}

// Begin returns ctx with a session for a stream whose caller is in ctx; it lasts
// until end is called. Where nobody was asked who calls there is none.
func (c *Control) Begin(ctx context.Context, method string) (with context.Context, end func()) {
	caller := CallerOf(ctx)
	if caller == nil {
		return ctx, func() {}
	}
	s := &Session{control: c, method: method, caller: caller, lapsed: make(chan struct{})}
	c.mu.Lock()
	c.sessions[s] = struct{}{}
	c.mu.Unlock()
	if !caller.expires.IsZero() {
		s.timer = time.AfterFunc(time.Until(caller.expires), func() {
			s.lapse(ctx, &DeniedError{Reason: Expired, Identity: caller.Name, Message: "the credential has expired; come again with another"})
		})
	}
	return context.WithValue(ctx, sessionKey{}, s), func() {
		if s.timer != nil {
			s.timer.Stop()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.sessions, s)
	}
}

// SessionOf is that of a stream, nil for none.
func SessionOf(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
}

// Permit is [Control.Permit] for a message of the stream, and remembers what has
// been permitted.
func (s *Session) Permit(ctx context.Context, msg any) error {
	if s == nil {
		return nil
	}
	rules := s.control.rules[s.method]
	if rules[0].Roles&anyIdentity != 0 {
		return s.Err()
	}
	if err := s.control.Permit(ctx, s.method, msg); err != nil {
		return err
	}
	namespaces(msg, func(namespace string) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.roles, s.in = needed(rules, msg), namespace
		return true
	})
	return nil
}

// Lapsed is closed when the caller may not go on; a nil Session never lapses.
func (s *Session) Lapsed() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.lapsed
}

// Err is why the session has lapsed, nil while it has not.
func (s *Session) Err() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

func (s *Session) lapse(ctx context.Context, why *DeniedError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == nil {
		s.why = s.control.denials.tell(ctx, attempt{s.method, s.in}, why)
		close(s.lapsed)
	}
}

// review ends the sessions of those who have lost what they need.
func (c *Control) review(ctx context.Context) {
	r := c.roster.Load()
	c.mu.Lock()
	sessions := make([]*Session, 0, len(c.sessions))
	for s := range c.sessions {
		sessions = append(sessions, s)
	}
	c.mu.Unlock()
	for _, s := range sessions {
		if why := s.lost(r); why != nil {
			s.lapse(ctx, why)
		}
	}
}

// lost is why the caller may not go on under a roster, nil if it may.
func (s *Session) lost(r *roster) *DeniedError {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.caller.under(r)
	if !ok {
		return &DeniedError{Reason: UnknownToken, Identity: s.caller.Name, Message: "the token is known no more"}
	}
	if now.kid != "" && !s.control.jwts.knows(now.kid) {
		return &DeniedError{Reason: InvalidToken, Identity: now.Name, Message: "the token's key is known no more"}
	}
	if now.expired(time.Now()) {
		return &DeniedError{Reason: Expired, Identity: now.Name, Message: "the credential has expired; come again with another"}
	}
	s.caller = now
	if s.in == "" {
		return nil
	}
	return now.permit(s.method, s.roles, s.in)
}
