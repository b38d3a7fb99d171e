package scheduler

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/fnv"
)

// Fence makes one lease of a task different from every other: Number strictly
// rises with each, and Nonce keeps a number that is issued twice after a
// failover to a lagging replica from being taken for the first. Both are
// compared.
type Fence struct {
	// Number is max(previous + 1, the store's clock in microseconds).
	Number int64
	Nonce  uint64
}

// LeaseToken is what a worker holds: where the task lies, and the fence of its
// lease. Nothing in it is trusted; it is compared with the record.
type LeaseToken struct {
	Shard int
	Key   TaskKey
	Fence Fence
}

// ErrBadToken is returned for a string that is not a lease token.
var ErrBadToken = errors.New("not a lease token")

const tokenFormat = 1

// String returns the token as it crosses the wire.
func (t LeaseToken) String() string {
	b := make([]byte, 0, 1+3+2+len(t.Key.Namespace)+2+len(t.Key.ID)+16)
	b = append(b, tokenFormat)
	b = binary.AppendUvarint(b, uint64(t.Shard))
	b = appendString(b, t.Key.Namespace)
	b = appendString(b, t.Key.ID)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Fence.Number))
	b = binary.BigEndian.AppendUint64(b, t.Fence.Nonce)
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseLeaseToken reads what String wrote, and nothing else: a token has one
// spelling. It returns [ErrBadToken] for any other string.
func ParseLeaseToken(s string) (LeaseToken, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 || b[0] != tokenFormat {
		return LeaseToken{}, ErrBadToken
	}
	var t LeaseToken
	shard, n := binary.Uvarint(b[1:])
	if n <= 0 || shard > 1<<16 {
		return LeaseToken{}, ErrBadToken
	}
	t.Shard = int(shard)
	b = b[1+n:]
	var ok1, ok2 bool
	t.Key.Namespace, b, ok1 = cutString(b)
	t.Key.ID, b, ok2 = cutString(b)
	if !ok1 || !ok2 || len(b) != 16 {
		return LeaseToken{}, ErrBadToken
	}
	t.Fence.Number = int64(binary.BigEndian.Uint64(b))
	t.Fence.Nonce = binary.BigEndian.Uint64(b[8:])
	if t.String() != s {
		return LeaseToken{}, ErrBadToken
	}
	return t, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return "", nil, false
	}
	end := n + int(size)
	return string(b[n:end]), b[end:], true
}

// ShardOf returns the shard of a task, of shards in all. It is stored with every
// key of the task: changing it is a breaking change.
func ShardOf(key TaskKey, shards int) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key.Namespace))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key.ID))
	return int(mix(h.Sum64()) % uint64(shards))
}

// mix spreads the entropy of x over all its bits; FNV alone leaves the low ones
// of similar ids alike.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
