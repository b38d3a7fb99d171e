package access

import (
	"context"
	"sync"
	"time"
)

// Session is a stream of a caller, who may lose on the way what it was begun with.
type Session struct {
	control          *Control
	method, identity string
	timer            *time.Timer
	lapsed           chan struct{}

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
	s := &Session{control: c, method: method, identity: caller.Name, caller: caller, lapsed: make(chan struct{})}
	c.mu.Lock()
	c.sessions[s] = struct{}{}
	c.mu.Unlock()
	// What has changed before it was among them, no review tells it.
	if why := s.lost(c.roster.Load()); why != nil {
		s.lapse(ctx, why)
	}
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

// Permit is [Control.Permit] for a message of the stream, by what the file says now,
// and remembers what has been permitted.
func (s *Session) Permit(ctx context.Context, msg any) error {
	if s == nil {
		return nil
	}
	if s.control.rules[s.method][0].Roles&anyIdentity != 0 {
		return s.Err()
	}
	return s.control.decide(ctx, s.method, msg, s.identity, s.enter)
}

// enter permits the stream one of the roles in a namespace. It holds the lock from the
// look at what is allowed to the note of it: whatever changes after that look, a
// review finds the note.
func (s *Session) enter(roles Role, namespace string) *DeniedError {
	s.mu.Lock()
	defer s.mu.Unlock()
	if namespace == ofStream {
		if s.in == "" {
			return nil // whoever handles the stream says what is missing
		}
		return s.caller.permit(s.method, roles, s.in)
	}
	now, why := s.renewed(s.control.roster.Load())
	if why == nil {
		why = now.permit(s.method, roles, namespace)
	}
	if why == nil {
		s.caller, s.roles, s.in = now, roles, namespace
	}
	return why
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

// lost is why the caller may not go on under a roster, nil if it may. Who may not
// stays what it was, and may settle what it has begun.
func (s *Session) lost(r *roster) *DeniedError {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, why := s.renewed(r)
	if why == nil && s.in != "" {
		why = now.permit(s.method, s.roles, s.in)
	}
	if why == nil {
		s.caller = now
	}
	return why
}

// renewed is the caller as it is under a roster, or why it is nobody there. Callers
// hold mu.
func (s *Session) renewed(r *roster) (*Caller, *DeniedError) {
	now, ok := s.caller.under(r)
	if !ok {
		return nil, &DeniedError{Reason: UnknownToken, Identity: s.identity, Message: "the token is known no more"}
	}
	if now.kid != "" && !s.control.jwts.knows(now.kid) {
		return nil, &DeniedError{Reason: InvalidToken, Identity: s.identity, Message: "the token's key is known no more"}
	}
	if now.expired(time.Now()) {
		return nil, &DeniedError{Reason: Expired, Identity: s.identity, Message: "the credential has expired; come again with another"}
	}
	return now, nil
}
