package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"
)

// roster is what an access file says. It does not change.
type roster struct {
	// salt makes the keys of tokens unknown to callers: where a token is looked for
	// tells nothing about the digests that are near it.
	salt   [sha256.Size]byte
	tokens map[[sha256.Size]byte]*token
	// named are the grants of identities, such as "token:ci".
	named  map[string][]grant
	claims []claimGrant
}

// token is one bearer token of the file.
type token struct {
	name    string
	digest  [sha256.Size]byte
	expires time.Time
}

// grant is a binding's roles and where they hold.
type grant struct {
	roles      Role
	namespaces []string
}

// claimGrant is what all have whose JWT has a claim.
type claimGrant struct {
	claim, value string
	grant        grant
}

func newRoster() *roster {
	r := &roster{tokens: make(map[[sha256.Size]byte]*token), named: make(map[string][]grant)}
	_, _ = rand.Read(r.salt[:]) // never fails
	return r
}

func (r *roster) key(digest [sha256.Size]byte) [sha256.Size]byte {
	var b [2 * sha256.Size]byte
	copy(b[:], r.salt[:])
	copy(b[sha256.Size:], digest[:])
	return sha256.Sum256(b[:])
}

// addToken is false where the digest is known.
func (r *roster) addToken(digest [sha256.Size]byte, t *token) bool {
	key := r.key(digest)
	if r.tokens[key] != nil {
		return false
	}
	t.digest = digest
	r.tokens[key] = t
	return true
}

// tokenOf is the token of a digest, nil for none.
func (r *roster) tokenOf(digest [sha256.Size]byte) *token {
	t := r.tokens[r.key(digest)]
	if t == nil || subtle.ConstantTimeCompare(t.digest[:], digest[:]) != 1 {
		return nil
	}
	return t
}

// grants are those of an identity by all its names, and by its claims.
func (r *roster) grants(names []string, claims map[string]any) []grant {
	var out []grant
	for _, name := range names {
		out = append(out, r.named[name]...)
	}
	if claims == nil {
		return out
	}
	for i := range r.claims {
		if c := &r.claims[i]; has(claims[c.claim], c.value) {
			out = append(out, c.grant)
		}
	}
	return out
}

// has reports whether a claim is the value, or a list that has it.
func has(claim any, value string) bool {
	switch v := claim.(type) {
	case string:
		return v == value
	case []any:
		for _, item := range v {
			if s, ok := item.(string); ok && s == value {
				return true
			}
		}
	}
	return false
}

// holds reports whether the grant is for a namespace.
func (g *grant) holds(namespace string) bool {
	for _, p := range g.namespaces {
		if prefix, open := strings.CutSuffix(p, "*"); open && strings.HasPrefix(namespace, prefix) || p == namespace {
			return true
		}
	}
	return false
}
