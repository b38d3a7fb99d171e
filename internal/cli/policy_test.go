package cli_test

import (
	"testing"
	"time"
)

func TestPoliciesAreListed(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.policy("quick", 5*time.Second, 3)
		r.policy("slow", 90*time.Minute, 12)
		r.pass(200 * time.Second)
		r.run("policy", "list").wants(0).golden("policy-list")
		r.run("policy", "list", "-o", "wide").wants(0).golden("policy-list-wide")
		r.run("policy", "list", "-o", "json").wants(0).golden("policy-list-json")
		r.run("policy", "list", "-o", "yaml", "--limit=1").wants(0).golden("policy-list-yaml")
		r.run("policy", "get", "quick").wants(0).golden("policy-get")
		r.run("policy", "get", "nix").wants(3).golden("policy-get-nix")
		r.run("policy", "list", "-o", "xml").wants(2).golden("policy-list-xml")
		r.run("policy", "get").wants(2).golden("policy-get-nothing")
		r.run("policy", "gte").wants(2).golden("policy-gte")
		r.run("polyci").wants(2).golden("polyci")
	})
}
