package access

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// maxBearerBytes is the length of the longest token that is looked at.
const maxBearerBytes = 8 << 10

// Asks says whether a call of a method has to prove who makes it. Methods that have no
// rule do as well: that there is none is told by Identify.
func (c *Control) Asks(method string) bool {
	rules := c.rules[method]
	return len(rules) == 0 || rules[0].Roles&everybody == 0
}

// Identify finds out who calls a method that asks, and returns ctx with it. Its errors
// are [*DeniedError]s.
func (c *Control) Identify(ctx context.Context, method string) (context.Context, error) {
	if len(c.rules[method]) == 0 {
		return nil, c.denials.tell(ctx, attempt{method: method}, noRule(method))
	}
	caller, denial := c.caller(ctx)
	if denial != nil {
		return nil, c.denials.tell(ctx, attempt{method: method}, denial)
	}
	return context.WithValue(ctx, callerKey{}, caller), nil
}

func noRule(method string) *DeniedError {
	return &DeniedError{Reason: NoRule, Message: "nobody may call " + method + ": there is no rule for it"}
}

// caller is whom a call's credential proves. A token goes before a certificate:
// whoever sends one means it.
func (c *Control) caller(ctx context.Context) (*Caller, *DeniedError) {
	r := c.roster.Load()
	bearer, denial := bearerOf(ctx)
	if denial != nil {
		return nil, denial
	}
	var caller *Caller
	if bearer != "" {
		caller, denial = c.callerOfBearer(ctx, r, bearer)
	} else {
		caller, denial = c.callerOfPeer(ctx, r)
	}
	if denial == nil && caller.expired(time.Now()) {
		denial = &DeniedError{Reason: Expired, Identity: caller.Name, Message: "the credential has expired"}
	}
	return caller, denial
}

// bearerOf is the token of a call, empty where it has no authorization.
func bearerOf(ctx context.Context) (string, *DeniedError) {
	given := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(given) == 0 {
		return "", nil
	}
	bearer, err := auth.AuthFromMD(ctx, "bearer")
	if err != nil || len(given) > 1 || bearer == "" || len(bearer) > maxBearerBytes || strings.ContainsFunc(bearer, notOfToken) {
		return "", &DeniedError{Reason: BadCredential, Message: `the authorization cannot be read; allowed: one, of the form "Bearer TOKEN", of at most 8 KiB`}
	}
	return bearer, nil
}

func notOfToken(r rune) bool { return r <= ' ' || r > '~' }

func (c *Control) callerOfBearer(ctx context.Context, r *roster, bearer string) (*Caller, *DeniedError) {
	digest := sha256.Sum256([]byte(bearer))
	if caller, ok := callerOfToken(r, digest); ok {
		return caller, nil
	}
	// A JWT has three parts.
	if c.jwts == nil || strings.Count(bearer, ".") != 2 {
		return nil, unknownToken()
	}
	if caller, ok := c.known.Get(digest); ok && caller.keys == c.jwts.kids.Load() {
		now, _ := caller.under(r)
		if now != caller {
			c.known.Add(digest, now)
		}
		return now, nil
	}
	caller, denial := c.jwts.caller(ctx, r, bearer)
	if denial == nil {
		c.known.Add(digest, caller)
	}
	return caller, denial
}

func unknownToken() *DeniedError {
	return &DeniedError{Reason: UnknownToken, Message: "the token is not known"}
}

// callerOfPeer is who the certificate of the connection names, which the handshake
// has verified.
func (c *Control) callerOfPeer(ctx context.Context, r *roster) (*Caller, *DeniedError) {
	none := &DeniedError{Reason: NoCredential, Message: "a bearer token or a client certificate is needed"}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, none
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil, none
	}
	leaf := info.State.PeerCertificates[0]
	if caller, ok := c.certified.Get(leaf); ok && caller.of == r {
		return caller, nil
	}
	caller := callerOfCertificate(r, leaf)
	if caller == nil {
		return nil, &DeniedError{Reason: BadCredential, Message: "the client certificate has no name that an identity can have"}
	}
	c.certified.Add(leaf, caller)
	return caller, nil
}

// Permit decides whether the caller of ctx may have a message of a method carried
// out. Its errors are [*DeniedError]s.
func (c *Control) Permit(ctx context.Context, method string, msg any) error {
	rules := c.rules[method]
	caller := CallerOf(ctx)
	switch {
	case len(rules) == 0:
		return c.denials.tell(ctx, attempt{method: method}, noRule(method))
	case rules[0].Roles&everybody != 0:
		return nil
	case caller == nil:
		return c.denials.tell(ctx, attempt{method: method}, &DeniedError{Reason: NoCredential, Message: "nobody was identified"})
	case rules[0].Roles&anyIdentity != 0:
		return nil
	}
	return c.decide(ctx, method, msg, caller.Name, func(roles Role, namespace string) *DeniedError {
		return caller.permit(method, roles, namespace)
	})
}

// decide asks permit about each namespace that a message names, and the roles of
// which one is needed there.
func (c *Control) decide(ctx context.Context, method string, msg any, identity string, permit func(roles Role, namespace string) *DeniedError) error {
	var denial *DeniedError
	var in string
	roles := needed(c.rules[method], msg)
	known := namespaces(msg, func(namespace string) bool {
		in, denial = namespace, permit(roles, namespace)
		return denial == nil
	})
	if !known {
		denial = &DeniedError{Reason: NoRule, Identity: identity, Message: "the request names no namespace"}
	}
	if denial != nil {
		return c.denials.tell(ctx, attempt{method, in}, denial)
	}
	return nil
}

// permit returns why the caller may not call the method in a namespace, nil if it
// may.
func (c *Caller) permit(method string, roles Role, namespace string) *DeniedError {
	anywhere, here := c.may(roles, namespace)
	switch {
	case here:
		return nil
	case anywhere:
		return &DeniedError{Reason: NoNamespace, Identity: c.Name, Message: c.Name + " may not call " + method + " in this namespace"}
	default:
		return &DeniedError{Reason: NoRole, Identity: c.Name, Message: c.Name + " may not call " + method + " like this: it needs one of the roles " + roles.String()}
	}
}
