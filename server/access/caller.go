package access

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"time"
)

// Caller is who has proved to be somebody. It does not change.
type Caller struct {
	// Name is the identity, such as "token:ci": the first one of a certificate that
	// has several.
	Name string

	// names are all its identities, claims those of a JWT.
	names  []string
	claims map[string]any
	// digest is that of a bearer token of the file.
	digest [sha256.Size]byte
	// kid is the key of a JWT, keys are those that there were when it was checked.
	kid  string
	keys *map[string]bool
	// expires is when the credential does; zero for never.
	expires time.Time

	grants []grant
	of     *roster
}

// under is the caller as a roster has it; ok is false where it has it no more.
func (c *Caller) under(r *roster) (now *Caller, ok bool) {
	if c.of == r {
		return c, true
	}
	if c.names == nil {
		return callerOfToken(r, c.digest)
	}
	again := *c
	again.of, again.grants = r, r.grants(c.names, c.claims)
	return &again, true
}

// callerOfToken is who has a token of the file.
func callerOfToken(r *roster, digest [sha256.Size]byte) (*Caller, bool) {
	t := r.tokenOf(digest)
	if t == nil {
		return nil, false
	}
	return &Caller{Name: t.name, digest: digest, expires: t.expires, grants: r.named[t.name], of: r}, true
}

// callerOfCertificate is who has a client certificate: by its URIs and DNS names,
// or by its common name where it has neither. It is nil for one without names.
func callerOfCertificate(r *roster, leaf *x509.Certificate) *Caller {
	var names []string
	for _, uri := range leaf.URIs {
		names = append(names, "cert:"+uri.String())
	}
	for _, name := range leaf.DNSNames {
		names = append(names, "cert:"+name)
	}
	if len(names) == 0 && leaf.Subject.CommonName != "" {
		names = append(names, "cert:"+leaf.Subject.CommonName)
	}
	for _, name := range names {
		if !ValidName(name) {
			return nil
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &Caller{Name: names[0], names: names, expires: leaf.NotAfter, grants: r.grants(names, nil), of: r}
}

// expired reports whether its credential is good no more.
func (c *Caller) expired(now time.Time) bool { return !c.expires.IsZero() && !now.Before(c.expires) }

// may reports whether the caller has one of the roles, anywhere and in a
// namespace.
func (c *Caller) may(roles Role, namespace string) (anywhere, here bool) {
	for i := range c.grants {
		if g := &c.grants[i]; g.roles&roles != 0 {
			anywhere = true
			if g.holds(namespace) {
				return true, true
			}
		}
	}
	return anywhere, false
}

type callerKey struct{}

// CallerOf is who makes a call, nil where nobody was asked.
func CallerOf(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}
