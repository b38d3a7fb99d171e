package access

import (
	"slices"
	"strings"
)

// Role is what an identity may be in a namespace, or a set of such roles.
type Role uint8

// The roles. Admin may do all that any other may.
const (
	// Reporter reports how attempts went, and looks at what it reports on.
	Reporter Role = 1 << iota
	// Worker takes attempts and reports their outcomes.
	Worker
	// Operator looks at everything and steps in.
	Operator
	// Admin also writes policies and jobs.
	Admin

	// anyIdentity is who has proved to be anybody, and everybody who has not.
	anyIdentity
	everybody
)

// roleNames are the roles as files and docs name them, in their order.
func roleNames() []string { return []string{"reporter", "worker", "operator", "admin"} }

// parseRole reads the name of one role.
func parseRole(name string) (Role, bool) {
	i := slices.Index(roleNames(), name)
	if i < 0 {
		return 0, false
	}
	return 1 << i, true
}

// String names the roles of a set.
func (r Role) String() string {
	switch {
	case r&everybody != 0:
		return "everybody, without a credential"
	case r&anyIdentity != 0:
		return "any identity"
	}
	var names []string
	for i, name := range roleNames() {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
