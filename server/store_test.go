package server_test

import (
	"context"
	"sync/atomic"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// hookedStore is a store that something happens to.
type hookedStore struct {
	scheduler.Store
	// onCommit, when set, comes before a commit; an error is every change's.
	onCommit atomic.Pointer[func(ctx context.Context, changes []scheduler.Change) error]
	// afterClaim, when set, comes after a claim that took something.
	afterClaim atomic.Pointer[func(ctx context.Context)]
	// onPolicy, when set, comes before a policy is read.
	onPolicy atomic.Pointer[func() error]
}

func newHookedStore() *hookedStore {
	return &hookedStore{Store: memstore.New(memstore.Config{})}
}

func (h *hookedStore) Commit(ctx context.Context, changes []scheduler.Change) []scheduler.Committed {
	if hook := h.onCommit.Load(); hook != nil {
		if err := (*hook)(ctx, changes); err != nil {
			out := make([]scheduler.Committed, len(changes))
			for i := range out {
				out[i].Err = err
			}
			return out
		}
	}
	return h.Store.Commit(ctx, changes)
}

func (h *hookedStore) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	out := h.Store.Claim(ctx, claims)
	if hook := h.afterClaim.Load(); hook != nil {
		for _, c := range out {
			if len(c.Tasks) > 0 {
				(*hook)(ctx)
				break
			}
		}
	}
	return out
}

func (h *hookedStore) Policy(ctx context.Context, namespace, id string) (*scheduler.PolicyRecord, error) {
	if hook := h.onPolicy.Load(); hook != nil {
		if err := (*hook)(); err != nil {
			return nil, err
		}
	}
	return h.Store.Policy(ctx, namespace, id)
}
