package policy

import (
	"slices"
	"strconv"
	"strings"
)

// matcher is a Match, parsed once.
type matcher struct {
	statuses    statusSet
	timeout     bool
	kinds       uint8  // bit per ConnectionKind
	grpcCodes   uint32 // bit per code
	codes       []codePattern
	codesExcept []codePattern
	outcomes    []string
}

// statusSet has a bit for each status from 100 on.
type statusSet [8]uint64

func (s *statusSet) has(status int) bool {
	return validStatus(status) && s[(status-100)/64]>>((status-100)%64)&1 == 1
}

func (s *statusSet) put(from, to int, in bool) {
	for i := from - 100; i <= to-100; i++ {
		if in {
			s[i/64] |= 1 << (i % 64)
		} else {
			s[i/64] &^= 1 << (i % 64)
		}
	}
}

// allKinds has the bit of every connection kind, the unspecified one too: a
// connection failure is one whatever its kind.
const allKinds = 0xff

// compileMatch leaves out what it cannot read; Validate has refused it.
func compileMatch(m Match) matcher {
	c := matcher{
		timeout:     m.Timeout,
		codes:       compileCodes(m.Codes),
		codesExcept: compileCodes(m.CodesExcept),
		outcomes:    slices.Clone(m.Outcomes),
	}
	for _, token := range m.Statuses {
		if from, to, ok := parseStatus(token); ok {
			c.statuses.put(from, to, true)
		}
	}
	for _, token := range m.StatusesExcept {
		if from, to, ok := parseStatus(token); ok {
			c.statuses.put(from, to, false)
		}
	}
	for _, k := range m.ConnectionKinds {
		if validKind(k) {
			c.kinds |= 1 << k
		}
	}
	if m.ConnectionError {
		c.kinds = allKinds
	}
	for _, name := range m.GRPCCodes {
		if code, ok := grpcCode(name); ok {
			c.grpcCodes |= 1 << code
		}
	}
	return c
}

// matches reports whether any listed field has the failure.
func (m *matcher) matches(f *Failure) bool {
	switch f.Cause {
	case CauseHTTP:
		if m.statuses.has(f.HTTPStatus) {
			return true
		}
	case CauseGRPC:
		if f.GRPCCode >= 1 && f.GRPCCode <= 16 && m.grpcCodes>>f.GRPCCode&1 == 1 {
			return true
		}
	case CauseTimeout:
		if m.timeout {
			return true
		}
	case CauseConnection:
		if m.kinds == allKinds || validKind(f.ConnectionKind) && m.kinds>>f.ConnectionKind&1 == 1 {
			return true
		}
	case CauseOutcome:
		if slices.Contains(m.outcomes, f.Outcome) {
			return true
		}
	}
	return f.Code != "" && anyCode(m.codes, f.Code) && !anyCode(m.codesExcept, f.Code)
}

// parseStatus reads "429" and "5xx", in any case, as the statuses it stands
// for, both ends included.
func parseStatus(token string) (from, to int, ok bool) {
	if len(token) != 3 || token[0] < '1' || token[0] > '5' {
		return 0, 0, false
	}
	if class := int(token[0]-'0') * 100; strings.EqualFold(token[1:], "xx") {
		return class, class + 99, true
	}
	if !allDigits(token) {
		return 0, 0, false
	}
	from = int(token[0]-'0')*100 + int(token[1]-'0')*10 + int(token[2]-'0')
	return from, from, true
}

// codePattern is one entry of Match.Codes.
type codePattern struct {
	kind   codeKind
	text   string // the code, or what it begins with
	lo, hi uint64 // the range's ends
}

type codeKind uint8

const (
	codeExact codeKind = iota
	codePrefix
	codeRange
)

// parseCode reads an entry of Match.Codes; when it cannot, fault says why.
// Digits, a hyphen and digits are a range; any other hyphen is part of a code.
func parseCode(token string) (p codePattern, fault string) {
	if token == "" {
		return p, "is empty"
	}
	switch star := strings.IndexByte(token, '*'); {
	case star == len(token)-1:
		return codePattern{kind: codePrefix, text: token[:star]}, ""
	case star >= 0:
		return p, "has a * before its end"
	}
	from, to, found := strings.Cut(token, "-")
	if !found || !allDigits(from) || !allDigits(to) {
		return codePattern{kind: codeExact, text: token}, ""
	}
	lo, errLo := strconv.ParseUint(from, 10, 64)
	hi, errHi := strconv.ParseUint(to, 10, 64)
	switch {
	case errLo != nil || errHi != nil:
		return p, "is a range beyond 18446744073709551615"
	case lo > hi:
		return p, "is a range that runs backwards"
	}
	return codePattern{kind: codeRange, lo: lo, hi: hi}, ""
}

func compileCodes(tokens []string) []codePattern {
	var out []codePattern
	for _, token := range tokens {
		if p, fault := parseCode(token); fault == "" {
			out = append(out, p)
		}
	}
	return out
}

func anyCode(patterns []codePattern, code string) bool {
	// The number that the code is, read once and only where a range asks for it.
	var number uint64
	var read, isNumber bool
	for i := range patterns {
		switch p := &patterns[i]; p.kind {
		case codeExact:
			if p.text == code {
				return true
			}
		case codePrefix:
			if strings.HasPrefix(code, p.text) {
				return true
			}
		case codeRange:
			if !read {
				read = true
				if allDigits(code) {
					n, err := strconv.ParseUint(code, 10, 64)
					number, isNumber = n, err == nil
				}
			}
			if isNumber && p.lo <= number && number <= p.hi {
				return true
			}
		}
	}
	return false
}
