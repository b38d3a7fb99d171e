package scheduler

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fingerprint is the same for failures of the same kind: of one cause, status and
// code, whose messages differ only in numbers, ids and addresses. 0 is none. It
// is stored with dead letters.
type Fingerprint uint64

// String returns the fingerprint as the API spells it: 16 hexadecimal digits.
func (f Fingerprint) String() string { return fmt.Sprintf("%016x", uint64(f)) }

// ParseFingerprint reads what String wrote.
func ParseFingerprint(s string) (f Fingerprint, ok bool) {
	n, err := strconv.ParseUint(s, 16, 64)
	f = Fingerprint(n)
	return f, err == nil && f.String() == s
}

// fingerprintOf returns the fingerprint of a failed attempt, 0 without one.
func fingerprintOf(rec *AttemptRecord) Fingerprint {
	if rec == nil {
		return 0
	}
	f := &rec.Failure
	h := fnv.New64a()
	var b []byte
	for _, n := range []int{int(f.Cause), f.HTTPStatus, f.GRPCCode, int(f.ConnectionKind)} {
		b = binary.AppendVarint(b, int64(n))
	}
	for _, s := range []string{f.Outcome, f.Code, plain(f.Message)} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	_, _ = h.Write(b)
	return Fingerprint(max(h.Sum64(), 1))
}

// plain returns a message with what differs from one failure to the next taken
// out: every word with a digit in it, such as a number, an id, a time or an IP
// address, every e-mail address, URL and host name, and every long hexadecimal
// word becomes "#". Names of classes and their methods, such as
// java.net.SocketTimeoutException, have capitals and stay: they tell failures apart.
func plain(message string) string {
	var out strings.Builder
	for len(message) > 0 {
		n := 0
		for n < len(message) && inWord(message[n]) {
			n++
		}
		if n == 0 {
			_, size := utf8.DecodeRuneInString(message)
			out.WriteString(message[:size])
			message = message[size:]
			continue
		}
		// What ends a sentence is no part of its last word.
		word := strings.TrimRight(message[:n], ".:-_/")
		if passing(word) {
			out.WriteByte('#')
		} else {
			out.WriteString(word)
		}
		out.WriteString(message[len(word):n])
		message = message[n:]
	}
	return out.String()
}

// inWord says whether a byte may be in the midst of a word, an id or an address.
func inWord(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b >= utf8.RuneSelf:
		return true
	}
	return strings.IndexByte("-_.:@/+%~?&=", b) >= 0
}

// passing says whether a word is one of those that come and go.
func passing(word string) bool {
	if strings.ContainsAny(word, "0123456789@") || strings.Contains(word, "://") {
		return true
	}
	if i := strings.IndexByte(word, '.'); i > 0 && i < len(word)-1 && strings.ToLower(word) == word {
		return true
	}
	const longHex = 12
	return len(word) >= longHex && strings.Trim(word, "abcdefABCDEF") == ""
}
