package redisstore

import (
	"context"
	"sync"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// A replica judges by a policy that is at most a second old. Most of that second
// passes before it is read again, by one caller while the others go on with what
// is there; the rest is for that reading to take.
const (
	policyFresh  = 400 * time.Millisecond
	policyUsable = 900 * time.Millisecond
	// policyUsableAway is how old it may be while the node that keeps the policies
	// is away: then nobody can have changed it, and the other nodes of a Cluster
	// need not wait.
	policyUsableAway = time.Minute
)

// policyTries is how often a policy is asked for before an attempt that has just
// been claimed, and cannot be handed out without it, is left to the end of its
// lease.
const policyTries = 3

// RecentPolicy returns a policy as it was at some moment of the last second, nil
// when there is none.
func (s *Store) RecentPolicy(ctx context.Context, namespace, id string) (*scheduler.PolicyRecord, error) {
	key := policyKey{namespace, id}
	if rec := s.policies.get(key, time.Now()); rec != nil {
		return rec, nil
	}
	var err error
	for range policyTries {
		readAt := time.Now()
		var rec *scheduler.PolicyRecord
		if rec, err = s.Policy(ctx, namespace, id); err == nil {
			s.policies.put(key, rec, readAt)
			return rec, nil
		}
		if rec := s.policies.failed(key, time.Now(), isUnavailable(err)); rec != nil {
			return rec, nil
		}
		if ctx.Err() != nil || !isUnavailable(err) {
			break
		}
	}
	return nil, err
}

// policyCache keeps the policies that judge reports, so that a report needs no
// round trip for its policy. That there is none is not kept: a new policy is
// known at once.
type policyCache struct {
	mu sync.Mutex
	of map[policyKey]*cachedPolicy
}

type policyKey struct{ namespace, id string }

type cachedPolicy struct {
	// rec is nil where the policy was changed at readAt, so that what was read of
	// it before then is not kept after.
	rec *scheduler.PolicyRecord
	// readAt is when the reading began.
	readAt time.Time
	// renewing says that a caller is reading it again.
	renewing bool
	// awayUntil is until when nobody asks again, after Redis did not answer.
	awayUntil time.Time
}

// get returns a policy that may be used, nil when the caller is to read it.
func (c *policyCache) get(key policyKey, now time.Time) *scheduler.PolicyRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.of[key]
	if p == nil || p.rec == nil {
		return nil
	}
	age := now.Sub(p.readAt)
	if age < policyFresh || (age < policyUsable && p.renewing) || (age < policyUsableAway && now.Before(p.awayUntil)) {
		return p.rec
	}
	p.renewing = true
	return nil
}

// put keeps what a reading that began at readAt has found.
func (c *policyCache) put(key policyKey, rec *scheduler.PolicyRecord, readAt time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.of[key]; old != nil && old.readAt.After(readAt) {
		return
	}
	if rec == nil {
		delete(c.of, key)
		return
	}
	c.set(key, &cachedPolicy{rec: rec, readAt: readAt})
}

func (c *policyCache) set(key policyKey, p *cachedPolicy) {
	if c.of == nil {
		c.of = make(map[policyKey]*cachedPolicy)
	}
	c.of[key] = p
}

// failed lets the next caller try to renew a policy, and returns it as long as it
// may be used, which is longer where Redis is away.
func (c *policyCache) failed(key policyKey, now time.Time, away bool) *scheduler.PolicyRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.of[key]
	if p == nil {
		return nil
	}
	p.renewing = false
	usable := policyUsable
	if away {
		usable, p.awayUntil = policyUsableAway, now.Add(policyFresh)
	}
	if now.Sub(p.readAt) < usable {
		return p.rec
	}
	return nil
}

// changed forgets a policy that this replica has written.
func (c *policyCache) changed(key policyKey, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(key, &cachedPolicy{readAt: now})
}
