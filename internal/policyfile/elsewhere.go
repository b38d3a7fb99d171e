package policyfile

import "github.com/retryd/retryd/policy"

// Elsewhere says whether an id of a file stands in another file already. from has the
// file of each id; it is given this one, too.
func Elsewhere(id, file string, from map[string]string) []policy.Violation {
	first, known := from[id]
	if !known {
		from[id] = file
	}
	if !known || first == file || id == "" {
		return nil
	}
	return []policy.Violation{{Field: "id", Description: "stands in " + first + " already"}}
}
