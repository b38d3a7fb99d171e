package policy

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The limits of what names a policy, or what it and others refer to.
const (
	maxID          = 63
	maxDisplayName = 200
	maxName        = 100
)

// NameRule says what ValidName allows.
const NameRule = "1 to 100 of A-Z, a-z, 0-9, '.', '_', ':', '/' and '-'"

// ValidName reports whether s may name a condition, a queue, a group or an
// environment: [A-Za-z0-9._:/-]{1,100}.
func ValidName(s string) bool { return spelled(s, maxName, "._:/-") }

// ValidID reports whether s may be the id of a policy or a job: [a-z0-9-]{1,63}.
func ValidID(s string) bool { return spelled(s, maxID, "-") && strings.ToLower(s) == s }

// ValidateNames gives what is wrong with the id and the display name of a policy or
// a job, nil when both are valid.
func ValidateNames(id, displayName string) []Violation {
	var c checker
	if !ValidID(id) {
		c.add("id", "is %s; allowed: 1 to %d of a-z, 0-9 and -", Quote(id), maxID)
	}
	if !utf8.ValidString(displayName) {
		c.add("display_name", "is not valid UTF-8")
	} else if n := utf8.RuneCountInString(displayName); n < 1 || n > maxDisplayName {
		c.add("display_name", "has %d characters; allowed: 1 to %d", n, maxDisplayName)
	}
	return c.list
}

// spelled reports whether s is 1 to most ASCII letters, digits and characters
// of also.
func spelled(s string, most int, also string) bool {
	for i := range len(s) {
		ch := s[i]
		if (ch < 'a' || ch > 'z') && (ch < 'A' || ch > 'Z') && (ch < '0' || ch > '9') && strings.IndexByte(also, ch) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// Quote keeps a value that a message names readable, however long or odd it is.
func Quote(s string) string {
	const most = 100
	if len(s) > most {
		return fmt.Sprintf("%q... (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}
