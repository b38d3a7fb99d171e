package server

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

const (
	// maxTokens is how many leases are extended at once.
	maxTokens = 1000
	// maxTokenBytes is the length of the longest lease token: base64 of its two
	// names and, besides them, of at most 24 bytes.
	maxTokenBytes = (24 + maxNameBytes + maxTaskIDBytes) * 8 / 6
	// tokenCutMark ends a token of which the rest is not kept. A token with it is
	// none that was ever issued.
	tokenCutMark = "... (cut)"
)

// extend checks what is common to ExtendLease and a stream's Extend. The tokens
// are checked one by one when it is their turn.
func (c *checker) extend(tokens []string, d *durationpb.Duration) time.Duration {
	if n := len(tokens); !countable(tokens) {
		c.add("lease_tokens", "has %d entries; allowed: 1 to %d", n, maxTokens)
	}
	return c.lease("lease_duration", d)
}

// countable reports whether so many tokens may come together.
func countable(tokens []string) bool { return len(tokens) >= 1 && len(tokens) <= maxTokens }

// token checks a lease token that is required, as far as that can be done without
// its task, which it returns. ok is false for a token that names none.
func (c *checker) token(namespace, token string) (key scheduler.TaskKey, ok bool) {
	const field = "lease_token"
	switch {
	case token == "":
		c.add(field, "is missing")
		return key, false
	case len(token) > maxTokenBytes:
		c.add(field, "has more than %d bytes, as no token of this service has", maxTokenBytes)
		return key, false
	}
	lease, err := scheduler.ParseLeaseToken(token)
	if err != nil || !validTaskID(lease.Key.ID) {
		c.add(field, "is not a token that this service has issued")
		return key, false
	}
	// Of a namespace that is malformed no token is; that is said already.
	if lease.Key.Namespace != namespace && ValidNamespace(namespace) {
		c.add(field, "is of another namespace than %s", policy.Quote(namespace))
		return key, false
	}
	return lease.Key, true
}

// validTaskID reports whether a task can have that id. Anybody can make up a
// token, and what it holds is repeated in errors and logs.
func validTaskID(id string) bool {
	return id != "" && len(id) <= maxTaskIDBytes && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// cutToken returns as much of a token as is kept and told again: all of one that
// may be legal.
func cutToken(token string) string {
	if len(token) <= maxTokenBytes+len(tokenCutMark) {
		return token
	}
	return wire.Cut(token, maxTokenBytes) + tokenCutMark
}
