package server

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
)

const (
	pageTokenVersion = 1
	defaultPageSize  = 50
	maxPageSize      = 1000
	// maxPageBytes is where a page of a list ends early: a client takes 4 MiB at
	// the most unless it was told otherwise.
	maxPageBytes = 1 << 20
)

// listing is what a list is asked for. Its pages belong together: a page token
// of one listing means nothing to another.
type listing struct {
	kind, namespace string
	filter          []string
}

// hash stands for the listing in its tokens.
func (l listing) hash() uint64 {
	h := fnv.New64a()
	for _, s := range append([]string{l.kind, l.namespace}, l.filter...) {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		_, _ = h.Write([]byte(s))
	}
	return h.Sum64()
}

// token is the page token after which the page begins that follows place, which
// is an id or whatever else the list is ordered by.
func (l listing) token(place string) string {
	b := binary.BigEndian.AppendUint64([]byte{pageTokenVersion}, l.hash())
	return base64.RawURLEncoding.EncodeToString(append(b, place...))
}

// after reads a page token of this listing.
func (l listing) after(token string) (place string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < 10 || b[0] != pageTokenVersion || binary.BigEndian.Uint64(b[1:]) != l.hash() {
		return "", false
	}
	return string(b[9:]), true
}

// page checks what page is asked for, and returns its size and after which place
// it begins.
func (c *checker) page(l listing, size int32, token string) (n int, after string) {
	n = c.pageSize(size)
	if token != "" {
		var ok bool
		if after, ok = l.after(token); !ok {
			c.badPageToken()
		}
	}
	return n, after
}

// pageSize checks how long a page may be, and returns it.
func (c *checker) pageSize(size int32) int {
	if size < 0 || size > maxPageSize {
		c.add("page_size", "is %d; allowed: 1 to %d, or 0 for %d", size, maxPageSize, defaultPageSize)
	}
	if size == 0 {
		return defaultPageSize
	}
	return int(size)
}

func (c *checker) badPageToken() {
	c.add("page_token", "is not one that this server has given with the same namespace and filter; leave it out to begin anew")
}
