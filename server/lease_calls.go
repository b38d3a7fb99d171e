package server

import (
	"context"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// NextAttempt tells when an attempt falls due, waits for it, or leases it.
func (h *retryService) NextAttempt(ctx context.Context, r *retryv1.NextAttemptRequest) (*retryv1.NextAttemptResponse, error) {
	var c checker
	req := c.nextAttempt(r)
	if err := c.err(); err != nil {
		return nil, err
	}
	ctx, cancel := withWait(ctx, req.Wait)
	defer cancel()
	next, err := h.s.sched.Next(ctx, req)
	if err != nil {
		return nil, err
	}
	// A lease that the caller held before is not this call's to give back.
	if next.Leased != nil && !next.Again {
		if err := ctx.Err(); err != nil {
			h.s.giveBack(ctx, *next.Leased)
			return nil, err
		}
		handOver(ctx, next.Leased)
	}
	resp := wire.NextAnswer(&next)
	if next.Leased != nil && !next.Again {
		h.s.traceHandOut(ctx, next.Leased.Task, resp.GetLeased())
	}
	return resp, nil
}

// ExtendLease makes leases last longer, each for itself.
func (h *retryService) ExtendLease(ctx context.Context, r *retryv1.ExtendLeaseRequest) (*retryv1.ExtendLeaseResponse, error) {
	var c checker
	namespace := c.namespace(r.GetNamespace())
	d := c.extend(r.GetLeaseTokens(), r.GetLeaseDuration())
	if err := c.err(); err != nil {
		return nil, err
	}
	got := h.s.extendLeases(ctx, namespace, r.GetLeaseTokens(), d)
	return &retryv1.ExtendLeaseResponse{Results: h.s.leaseResults(ctx, r.GetLeaseTokens(), got)}, nil
}

// ReleaseLease hands an attempt back unfinished.
func (h *retryService) ReleaseLease(ctx context.Context, r *retryv1.ReleaseLeaseRequest) (*retryv1.ReleaseLeaseResponse, error) {
	var c checker
	namespace := c.namespace(r.GetNamespace())
	c.token(namespace, r.GetLeaseToken())
	delay := c.release(r.GetDelay())
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := h.s.sched.Release(ctx, namespace, r.GetLeaseToken(), delay); err != nil {
		return nil, err
	}
	return &retryv1.ReleaseLeaseResponse{}, nil
}

// extendLeases extends the leases of the tokens that are any, and answers all in
// their order.
func (s *Server) extendLeases(ctx context.Context, namespace string, tokens []string, d time.Duration) []scheduler.Extended {
	out := make([]scheduler.Extended, len(tokens))
	good, places := make([]string, 0, len(tokens)), make([]int, 0, len(tokens))
	for i, token := range tokens {
		var c checker
		c.token(namespace, token)
		if out[i].Err = c.err(); out[i].Err == nil {
			good, places = append(good, token), append(places, i)
		}
	}
	if len(good) > 0 {
		for i, got := range s.sched.Extend(ctx, namespace, good, d) {
			out[places[i]] = got
		}
	}
	return out
}

// leaseResults are the answers to tokens, in their order.
func (s *Server) leaseResults(ctx context.Context, tokens []string, got []scheduler.Extended) []*retryv1.LeaseResult {
	out := make([]*retryv1.LeaseResult, len(got))
	for i, e := range got {
		out[i] = &retryv1.LeaseResult{LeaseToken: cutToken(tokens[i])}
		if e.Err != nil {
			out[i].Result = &retryv1.LeaseResult_Error{Error: s.failures.item(ctx, e.Err)}
		} else {
			out[i].Result = &retryv1.LeaseResult_LeaseExpireTime{LeaseExpireTime: wire.Time(e.LeaseEndMS)}
		}
	}
	return out
}
