package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/retryd/retryd/internal/mistakes"
)

// The limits of an access file.
const (
	maxFileBytes = 4 << 20
	maxNameBytes = 255
	// maxNamespaceBytes is the length of the longest namespace.
	maxNamespaceBytes = 100
)

// fileToken is a bearer token: who has it, and what its digest is.
type fileToken struct {
	Name    string     `yaml:"name"`
	SHA256  string     `yaml:"sha256"`
	Expires *time.Time `yaml:"expires"`
}

// fileBinding says what an identity, or all whose JWT has a claim, may be.
type fileBinding struct {
	Identity   string     `yaml:"identity"`
	JWT        *fileClaim `yaml:"jwt"`
	Roles      []string   `yaml:"roles"`
	Namespaces []string   `yaml:"namespaces"`
}

// fileClaim is what a claim is, or has among others.
type fileClaim struct {
	Claim string `yaml:"claim"`
	Value string `yaml:"value"`
}

// readFile returns what an access file holds, but not more than one may.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFileBytes)
	}
	return data, nil
}

// parse reads an access file, or says everything that is wrong with it.
func parse(path string, data []byte) (*roster, error) {
	sections, found, err := readSections(path, data)
	if err != nil {
		return nil, err
	}
	r := newRoster()
	c := fileChecker{roster: r, tokens: make(map[string]bool), found: found}
	for i, node := range sections["tokens"] {
		var t fileToken
		c.at, c.node = fmt.Sprintf("tokens[%d]", i), node
		sound := c.read(&t, "name, sha256 and expires")
		c.tokens[t.Name] = true
		if sound {
			c.token(t)
		}
	}
	for i, node := range sections["bindings"] {
		var b fileBinding
		c.at, c.node = fmt.Sprintf("bindings[%d]", i), node
		if c.read(&b, "identity or jwt, roles and namespaces") {
			c.binding(b)
		}
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	return r, nil
}

// fileChecker puts what a file says into a roster, and collects what is wrong.
type fileChecker struct {
	roster *roster
	// tokens are the names of all tokens, those too with which something is wrong.
	tokens map[string]bool
	found  *mistakes.List
	// at is what mistakes call the entry that is looked at, node where it stands.
	at   string
	node *yaml.Node
}

// add takes a mistake in a field, or in the entry as a whole.
func (c *fileChecker) add(field, format string, args ...any) {
	c.addAt(mistakes.Line(c.node, field), field, format, args...)
}

func (c *fileChecker) addAt(line int, field, format string, args ...any) {
	what := c.at
	if field != "" {
		what += "." + field
	}
	c.found.Add(line, "%s %w", what, fmt.Errorf(format, args...))
}

func (c *fileChecker) token(t fileToken) {
	if !ValidName(t.Name) {
		c.add("name", "is %q; allowed: 1 to %d printable characters", cut(t.Name), maxNameBytes)
	}
	digest, err := hex.DecodeString(t.SHA256)
	if err != nil || len(digest) != sha256.Size {
		// The value is not shown: somebody may have put the token itself there.
		c.add("sha256", "is no SHA-256 digest; allowed: its 64 hexadecimal digits, as sha256sum prints them")
		return
	}
	key := [sha256.Size]byte(digest)
	if key == sha256.Sum256(nil) {
		c.add("sha256", "is the digest of an empty token")
		return
	}
	entry := &token{name: "token:" + t.Name}
	if t.Expires != nil {
		if t.Expires.IsZero() {
			c.add("expires", "is no time; allowed: one such as 2027-01-31T00:00:00Z, or none")
		}
		entry.expires = *t.Expires
	}
	if !c.roster.addToken(key, entry) {
		c.add("sha256", "is that of another token, too")
	}
}

func (c *fileChecker) binding(b fileBinding) {
	g := grant{}
	if len(b.Roles) == 0 {
		c.add("roles", "is empty; allowed: %s", strings.Join(roleNames(), ", "))
	}
	for i, name := range b.Roles {
		role, ok := parseRole(name)
		if !ok {
			c.add(fmt.Sprintf("roles[%d]", i), "is %q; allowed: %s", cut(name), strings.Join(roleNames(), ", "))
		}
		g.roles |= role
	}
	if len(b.Namespaces) == 0 {
		c.add("namespaces", `is empty; allowed: names, such as payments, beginnings, such as "team-*", or "*" for all`)
	}
	for i, pattern := range b.Namespaces {
		if !validPattern(pattern) {
			c.add(fmt.Sprintf("namespaces[%d]", i), `is %q; allowed: 1 to %d of A-Z, a-z, 0-9, '.', '_' and '-', with a "*" at the end, or "*"`, cut(pattern), maxNamespaceBytes)
		}
		g.namespaces = append(g.namespaces, pattern)
	}
	switch {
	case b.JWT != nil && b.Identity != "":
		c.add("jwt", "stands beside identity; allowed: one of them")
	case b.JWT != nil:
		if !ValidName(b.JWT.Claim) {
			c.add("jwt.claim", "is %q; allowed: the name of a claim, such as groups", cut(b.JWT.Claim))
		}
		if !ValidName(b.JWT.Value) {
			c.add("jwt.value", "is %q; allowed: 1 to %d printable characters", cut(b.JWT.Value), maxNameBytes)
		}
		c.roster.claims = append(c.roster.claims, claimGrant{b.JWT.Claim, b.JWT.Value, g})
	default:
		c.identity(b.Identity)
		c.roster.named[b.Identity] = append(c.roster.named[b.Identity], g)
	}
}

func (c *fileChecker) identity(id string) {
	kind, name, _ := strings.Cut(id, ":")
	if kind != "token" && kind != "cert" && kind != "jwt" || !ValidName(name) {
		c.add("identity", "is %q; allowed: token:NAME, cert:NAME of a client certificate, jwt:SUBJECT; or jwt with claim and value in its place", cut(id))
		return
	}
	if kind == "token" && !c.tokens[name] {
		c.add("identity", "is %q, but there is no token of that name", cut(id))
	}
}

// ValidName reports whether s may name an identity. Names stand in logs and
// errors.
func ValidName(s string) bool {
	return s != "" && len(s) <= maxNameBytes && !strings.ContainsFunc(s, unprintable)
}

func unprintable(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }

// validPattern reports whether s may name namespaces.
func validPattern(s string) bool {
	name := strings.TrimSuffix(s, "*")
	if len(name) > maxNamespaceBytes || s == "" {
		return false
	}
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
	return strings.Trim(name, allowed) == ""
}

// cut shortens what an error shows of a file.
func cut(s string) string { return s[:min(len(s), maxNameBytes)] }
