package cli_test

import (
	"strings"
	"testing"
	"time"
)

const webhookFile = `policies:
  - id: webhook
    display_name: Webhooks
    max_retries: 6
    exponential: {initial_delay: 30s, multiplier: 2, max_delay: 1h}
    jitter: {proportional: 0.2}
    rules:
      - {name: gone, match: {statuses: ["410"]}, action: DEAD_LETTER}
    default_action: RETRY
  - id: quick
    display_name: QUICK
    max_retries: 3
    fixed: {delay: 5s}
    default_action: RETRY
`

func TestPoliciesAreApplied(t *testing.T) {
	first := file(t, "policies.yaml", webhookFile)
	second := file(t, "policies.yaml", strings.NewReplacer("max_retries: 6", "max_retries: 8", "[\"410\"]", "[\"410\", \"451\"]").Replace(webhookFile))
	inBubble(t, func(r *rig) {
		apply := func(path, name string, args ...string) {
			got := r.run(append([]string{"policy", "apply", "-f", path}, args...)...).wants(0)
			got.args[3] = "policies.yaml"
			got.golden(name)
		}
		apply(first, "policy-apply-dry-run", "--dry-run")
		r.run("policy", "list").wants(0).says("no policies")
		apply(first, "policy-apply-new")
		apply(first, "policy-apply-again")
		apply(second, "policy-apply-changed-dry-run", "--dry-run")
		apply(second, "policy-apply-changed")
		apply(second, "policy-apply-json", "-o", "json")
		r.run("policy", "get", "webhook").wants(0).golden("policy-get-rules")

		// What is printed as YAML is what is kept.
		r.input = r.run("policy", "list", "-o", "yaml").wants(0).out
		r.run("policy", "apply", "-f", "-").wants(0).says("quick: unchanged", "webhook: unchanged")

		r.run("policy", "delete", "webhook").wants(2).says("--yes", "--dry-run")
		r.run("policy", "delete", "webhook", "--dry-run").wants(0).says("would be deleted")
		r.run("policy", "delete", "webhook", "--yes").wants(0).says("policy webhook: deleted")
		r.run("policy", "list").wants(0).golden("policy-list-deleted")
		apply(first, "policy-apply-restored")
		r.run("policy", "delete", "webhook", "--yes").wants(0)
		r.run("policy", "undelete", "webhook").wants(0).says("policy webhook: in force, at revision 7")
	})
}

func TestApplyChecksEverythingBeforeItWrites(t *testing.T) {
	wrong := file(t, "wrong.yaml", `policies:
  - id: good
    display_name: Good
    default_action: DEAD_LETTER
  - id: bad
    display_name: Bad
    max_retries: 2000
    default_action: RETRY
`)
	garbled := file(t, "garbled.yaml", "policies:\n  - id: x\n    retries: 3\n")
	inBubble(t, func(r *rig) {
		r.run("policy", "apply", "-f", wrong, "-f", garbled, "-f", "/no/such").wants(2).says(
			wrong+`:7: policy "bad": max_retries is 2000; allowed: `, wrong+`:5: policy "bad": schedule is missing`,
			garbled+`:3: policy "x": retries is no field of Policy; it has id, display_name`,
			`--file is "/no/such": no such file or directory`,
		)
		r.run("policy", "apply").wants(2).says("say what to apply: -f FILE")
		r.run("policy", "list").says("no policies")
	})
}

func TestApplyKeepsWhatOthersHaveChanged(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.policy("quick", 5*time.Second, 3)
		r.input = `{policies: [{id: quick, display_name: Other, default_action: DEAD_LETTER, etag: "AAAA"}]}`
		r.run("policy", "apply", "-f", "-").wants(6).says("ETAG_MISMATCH", "somebody has changed it meanwhile")
		r.input = `{policies: [{id: quick, display_name: Other, default_action: DEAD_LETTER, etag: "AAAA"}, {id: new, display_name: New, default_action: DEAD_LETTER}]}`
		r.run("policy", "apply", "-f", "-").wants(1).says(`policy "quick": `, "policy new: created", "1 of 2 policies failed")
	})
}

func TestJobs(t *testing.T) {
	jobs := `jobs:
  - id: billing
    display_name: Billing
    policy: slow
    environments:
      staging: {policy: quick}
`
	inBubble(t, func(r *rig) {
		r.policy("quick", 5*time.Second, 3)
		r.policy("slow", time.Hour, 3)
		r.input = jobs
		r.run("job", "apply", "-f", "-").wants(0).says("job billing: created, now at revision 1")
		r.run("job", "apply", "-f", "-").wants(0).says("job billing: unchanged")
		r.input = strings.Replace(jobs, "staging", "test", 1)
		r.run("job", "apply", "-f", "-").wants(0).golden("job-apply-changed")
		r.run("job", "list").wants(0).golden("job-list")
		r.run("job", "get", "billing").wants(0).golden("job-get")
		r.run("job", "get", "billing", "-o", "yaml").wants(0).golden("job-get-yaml")
		r.run("policy", "delete", "quick", "--dry-run").wants(6).says("jobs name it: billing")
		r.run("policy", "delete", "quick", "--yes").wants(6).says("POLICY_IN_USE", "billing")
		r.input = strings.Replace(jobs, "quick", "nix", 1)
		r.run("job", "apply", "-f", "-").wants(3).says("POLICY_NOT_FOUND", "nix")
		r.input = "n\n"
		r.inTerminal = true
		r.run("job", "delete", "billing").wants(1).says(`Delete job "billing" for good? [y/N]`, "nothing was done")
		r.input = "y\n"
		r.run("job", "delete", "billing").wants(0).says("job billing: deleted")
		r.run("job", "get", "billing").wants(3).says("JOB_NOT_FOUND")
	})
}
