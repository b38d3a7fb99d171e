package scheduler

import (
	"fmt"
	"testing"

	"github.com/retryd/retryd/policy"
)

func TestFewPoliciesAreKeptCompiled(t *testing.T) {
	t.Parallel()
	var c rulings
	for i := range 3 * maxRulings {
		rec := &PolicyRecord{Namespace: "ns", Policy: policy.Policy{ID: fmt.Sprint("p", i)}, Revision: 1}
		first := c.get(rec)
		if c.get(rec) != first {
			t.Fatalf("%s is compiled again", rec.Policy.ID)
		}
		if len(c.of) > maxRulings {
			t.Fatalf("%d are kept", len(c.of))
		}
	}
}
