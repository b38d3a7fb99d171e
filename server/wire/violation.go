package wire

import (
	"cmp"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
)

// CheckPolicy returns a policy in the domain's terms, and everything that is wrong with
// it, fields named from the policy on. Its pause windows are judged from nowMS on.
func CheckPolicy(p *retryv1.Policy, nowMS int64) (policy.Policy, []policy.Violation) {
	out, unreadable := PolicyFromProto(p)
	return out, MergeViolations(unreadable, out.Normalize().Validate(nowMS))
}

// MergeViolations joins what could not be read of a message, and what is wrong with what
// was read of it. A field in both is wrong in one way: it could not be read.
func MergeViolations(unreadable, wrong []policy.Violation) []policy.Violation {
	why := make(map[string]string, len(unreadable))
	for _, v := range unreadable {
		why[v.Field] = v.Description
	}
	named := make(map[string]bool, len(wrong))
	for _, v := range wrong {
		named[v.Field] = true
	}
	var out []policy.Violation
	for _, v := range unreadable {
		if !named[v.Field] {
			out = append(out, v)
		}
	}
	for _, v := range wrong {
		out = append(out, policy.Violation{Field: v.Field, Description: cmp.Or(why[v.Field], v.Description)})
	}
	return out
}
