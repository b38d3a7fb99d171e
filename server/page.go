package server

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
)

const pageTokenVersion = 1

// listing is what a list is asked for. Its pages belong together: a page token
// of one listing means nothing to another.
type listing struct {
	kind, namespace, filter string
}

// hash stands for the listing in its tokens.
func (l listing) hash() uint64 {
	h := fnv.New64a()
	for _, s := range []string{l.kind, l.namespace, l.filter} {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		_, _ = h.Write([]byte(s))
	}
	return h.Sum64()
}

// token is the page token after which the page begins that follows id.
func (l listing) token(id string) string {
	b := binary.BigEndian.AppendUint64([]byte{pageTokenVersion}, l.hash())
	return base64.RawURLEncoding.EncodeToString(append(b, id...))
}

// after reads a page token of this listing.
func (l listing) after(token string) (id string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < 10 || b[0] != pageTokenVersion || binary.BigEndian.Uint64(b[1:]) != l.hash() {
		return "", false
	}
	return string(b[9:]), true
}

// page checks what page is asked for, and returns its size and after which id it
// begins.
func (c *checker) page(l listing, size int32, token string) (n int, after string) {
	if size < 0 || size > maxPageSize {
		c.add("page_size", "is %d; allowed: 1 to %d, or 0 for %d", size, maxPageSize, defaultPageSize)
	}
	if size == 0 {
		size = defaultPageSize
	}
	if token != "" {
		var ok bool
		if after, ok = l.after(token); !ok {
			c.add("page_token", "is not one that this server has given with the same namespace and filter; leave it out to begin anew")
		}
	}
	return int(size), after
}
