package server

import (
	"context"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// policyService keeps policies. It embeds the Unsafe type, so that a new RPC
// breaks the build and not the caller.
type policyService struct {
	retryv1.UnsafePolicyServiceServer
	s *Server
}

// CreatePolicy keeps a new policy.
func (h *policyService) CreatePolicy(ctx context.Context, r *retryv1.CreatePolicyRequest) (*retryv1.CreatePolicyResponse, error) {
	var c checker
	namespace := c.namespace(r.GetNamespace())
	p := c.policy(r.GetPolicy(), h.s.sched.NowMS())
	if err := c.err(); err != nil {
		return nil, err
	}
	rec, err := h.s.sched.CreatePolicy(ctx, namespace, p)
	if err != nil {
		return nil, err
	}
	return &retryv1.CreatePolicyResponse{Policy: wire.PolicyRecord(rec)}, nil
}

// GetPolicy answers one policy, a deleted one too.
func (h *policyService) GetPolicy(ctx context.Context, r *retryv1.GetPolicyRequest) (*retryv1.GetPolicyResponse, error) {
	namespace, err := resourceName(r)
	if err != nil {
		return nil, err
	}
	rec, err := h.s.sched.Policy(ctx, namespace, r.GetId())
	if err != nil {
		return nil, err
	}
	return &retryv1.GetPolicyResponse{Policy: wire.PolicyRecord(rec)}, nil
}

// ListPolicies answers a page of policies.
func (h *policyService) ListPolicies(ctx context.Context, r *retryv1.ListPoliciesRequest) (*retryv1.ListPoliciesResponse, error) {
	list, size, after, err := resourcePage("policies", r)
	if err != nil {
		return nil, err
	}
	all, err := h.s.sched.Policies(ctx, list.namespace, r.GetFilter())
	if err != nil {
		return nil, err
	}
	resp := &retryv1.ListPoliciesResponse{TotalSize: int32(len(all))}
	resp.Policies, resp.NextPageToken = resources(list, all, size, after, policyID, wire.PolicyRecord)
	return resp, nil
}

func policyID(rec *scheduler.PolicyRecord) string { return rec.Policy.ID }

// UpdatePolicy replaces a policy.
func (h *policyService) UpdatePolicy(ctx context.Context, r *retryv1.UpdatePolicyRequest) (*retryv1.UpdatePolicyResponse, error) {
	var c checker
	namespace := c.namespace(r.GetNamespace())
	p := c.policy(r.GetPolicy(), h.s.sched.NowMS())
	if err := c.err(); err != nil {
		return nil, err
	}
	rec, err := h.s.sched.UpdatePolicy(ctx, namespace, p, r.GetPolicy().GetEtag())
	if err != nil {
		return nil, err
	}
	return &retryv1.UpdatePolicyResponse{Policy: wire.PolicyRecord(rec)}, nil
}

// DeletePolicy hides a policy from lists and new work.
func (h *policyService) DeletePolicy(ctx context.Context, r *retryv1.DeletePolicyRequest) (*retryv1.DeletePolicyResponse, error) {
	namespace, err := resourceName(r)
	if err != nil {
		return nil, err
	}
	rec, err := h.s.sched.DeletePolicy(ctx, namespace, r.GetId(), "")
	if err != nil {
		return nil, err
	}
	return &retryv1.DeletePolicyResponse{Policy: wire.PolicyRecord(rec)}, nil
}

// UndeletePolicy takes a deletion back.
func (h *policyService) UndeletePolicy(ctx context.Context, r *retryv1.UndeletePolicyRequest) (*retryv1.UndeletePolicyResponse, error) {
	namespace, err := resourceName(r)
	if err != nil {
		return nil, err
	}
	rec, err := h.s.sched.UndeletePolicy(ctx, namespace, r.GetId())
	if err != nil {
		return nil, err
	}
	return &retryv1.UndeletePolicyResponse{Policy: wire.PolicyRecord(rec)}, nil
}

// PreviewPolicy tells what a policy would decide.
func (h *policyService) PreviewPolicy(ctx context.Context, r *retryv1.PreviewPolicyRequest) (*retryv1.PreviewPolicyResponse, error) {
	var c checker
	req := c.preview(r, h.s.sched.NowMS())
	if err := c.err(); err != nil {
		return nil, err
	}
	got, err := h.s.sched.Preview(ctx, req)
	if err != nil {
		return nil, err
	}
	return &retryv1.PreviewPolicyResponse{Decisions: previewed(got)}, nil
}

func previewed(got []scheduler.Previewed) []*retryv1.PreviewedDecision {
	out := make([]*retryv1.PreviewedDecision, len(got))
	for i := range got {
		out[i] = wire.Previewed(&got[i])
	}
	return out
}
