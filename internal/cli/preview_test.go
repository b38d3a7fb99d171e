package cli_test

import (
	"testing"
	"time"
)

func TestPreview(t *testing.T) {
	webhook := file(t, "webhook.yaml", `policies:
  - id: webhook
    display_name: Webhooks
    max_retries: 6
    exponential: {initial_delay: 30s, multiplier: 2, max_delay: 1h}
    jitter: {proportional: 0.2}
    rules:
      - {name: gone, match: {statuses: ["410"]}, action: DEAD_LETTER}
    default_action: RETRY
`)
	inBubble(t, func(r *rig) {
		r.policy("quick", 5*time.Second, 3)
		r.run("policy", "apply", "-f", webhook).wants(0)
		r.run("policy", "preview", "quick", "--http=503").wants(0).golden("policy-preview")
		r.run("policy", "preview", "webhook", "--http=503").wants(0).golden("policy-preview-jitter")
		r.run("policy", "preview", "webhook", "--timed-out", "--http=429", "--retry-after=300", "--http=410").wants(0).golden("policy-preview-failures")
		r.run("policy", "preview", "webhook", "--timed-out", "--http=410", "-o", "wide").wants(0).golden("policy-preview-wide")
		r.run("policy", "preview", "webhook", "--http=503", "-o", "svg").wants(0).golden("policy-preview-svg")
		r.run("policy", "preview", "quick", "--http=503", "-o", "json").wants(0).says(`"nextAttemptTime": "2000-01-01T00:00:05Z"`)
	})
}
