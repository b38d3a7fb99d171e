package main

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// policyID is that of the policy by which all events are judged.
const policyID = "webhooks-example"

// hooksPolicy retries three times, after about 0.2, 0.4 and 0.8 s: like one for
// real webhooks, but so short that the example ends in a few seconds. What the
// destination does not know is not asked again.
func hooksPolicy() *retryv1.Policy {
	return &retryv1.Policy{
		Id:          policyID,
		DisplayName: "Webhooks (example)",
		MaxRetries:  3,
		Schedule: &retryv1.Policy_Exponential{Exponential: &retryv1.ExponentialDelay{
			InitialDelay: durationpb.New(200 * time.Millisecond),
			Multiplier:   2,
		}},
		Jitter: &retryv1.Jitter{Kind: &retryv1.Jitter_Proportional{Proportional: 0.1}},
		Rules: []*retryv1.Rule{{
			Name:   "gone",
			Match:  &retryv1.Match{Statuses: []string{"404", "410"}},
			Action: retryv1.Action_ACTION_DEAD_LETTER,
		}},
		DefaultAction: retryv1.Action_ACTION_RETRY,
	}
}

// putPolicy creates the policy, or replaces that of an earlier run.
func putPolicy(ctx context.Context, c *client.Client) error {
	_, err := c.Policies().CreatePolicy(ctx, &retryv1.CreatePolicyRequest{Policy: hooksPolicy()})
	if errors.Is(err, client.ErrPolicyExists) {
		_, err = c.Policies().UpdatePolicy(ctx, &retryv1.UpdatePolicyRequest{Policy: hooksPolicy()})
	}
	return err
}
