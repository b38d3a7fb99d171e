package memstore

import (
	"context"

	"github.com/retryd/retryd/scheduler"
)

type claimKey struct {
	replica string
	queue   scheduler.QueueKey
	shard   int
}

// lastClaim is what a replica's last claim of a queue and shard took.
type lastClaim struct {
	id    uint64
	tasks []scheduler.TaskKey
	fence []scheduler.Fence
	atMS  int64
}

// claimKeptMS is how long a replica's last claim is remembered.
const claimKeptMS = 3_600_000

// Claim moves due tasks to LEASED.
func (s *Store) Claim(_ context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	s.forgetClaims(nowMS)
	out := make([]scheduler.Claimed, len(claims))
	for i, c := range claims {
		out[i] = s.claim(c, nowMS)
	}
	return out
}

func (s *Store) claim(c scheduler.Claim, nowMS int64) scheduler.Claimed {
	key := claimKey{c.Replica, c.Queue, c.Shard}
	got := scheduler.Claimed{NowMS: nowMS}
	if last := s.claims[key]; c.Replica != "" && last.id == c.ID && nowMS-last.atMS <= claimKeptMS {
		for i, k := range last.tasks {
			if t := s.task(k, nowMS); t != nil && t.State == scheduler.StateLeased && t.Fence == last.fence[i] {
				got.Tasks = append(got.Tasks, t)
			}
		}
		got.NextMS = s.openHead(c.Queue, c.Shard, nowMS)
		_, got.Paused = s.pause(c.Queue, nowMS)
		return got
	}
	taking := s.dueFor(c, nowMS)
	last := lastClaim{id: c.ID, atMS: nowMS}
	n := 0
	for _, slot := range c.Slots {
		for range slot.Count {
			if n == len(taking) {
				break
			}
			t := lease(taking[n], slot, c.Nonces[n], nowMS)
			s.replace(taking[n], t)
			s.count(taking[n], t, nowMS, nowMS)
			got.Tasks = append(got.Tasks, t)
			if taking[n].State == scheduler.StateLeased {
				got.Expired = append(got.Expired, t)
			}
			last.tasks, last.fence = append(last.tasks, t.Key), append(last.fence, t.Fence)
			n++
		}
	}
	if c.Replica != "" {
		s.claims[key] = last
	}
	got.NextMS = s.openHead(c.Queue, c.Shard, nowMS)
	_, got.Paused = s.pause(c.Queue, nowMS)
	return got
}

// dueFor returns the tasks that the claim takes, in order.
func (s *Store) dueFor(c scheduler.Claim, nowMS int64) []*scheduler.Task {
	if _, paused := s.pause(c.Queue, nowMS); paused {
		return nil
	}
	room := 0
	for _, slot := range c.Slots {
		room += slot.Count
	}
	if c.Task.ID != "" {
		t := s.task(c.Task, nowMS)
		if t == nil || room == 0 || t.Queue() != c.Queue {
			return nil
		}
		if ms, ok := t.LookMS(); !ok || ms > nowMS {
			return nil
		}
		return []*scheduler.Task{t}
	}
	var out []*scheduler.Task
	if due, ok := s.shard[c.Shard].index[dueIndex(c.Queue)]; ok {
		due.Scan(func(p scheduler.Place) bool {
			if p.MS > nowMS || len(out) == room {
				return false
			}
			out = append(out, s.tasks[p.Key])
			return true
		})
	}
	return out
}

// lease returns t handed out.
func lease(t *scheduler.Task, slot scheduler.Slot, nonce uint64, nowMS int64) *scheduler.Task {
	next := *t
	if t.State == scheduler.StateLeased {
		next.Expiries++
	}
	next.State = scheduler.StateLeased
	next.Delivery++
	next.Fence = scheduler.Fence{Number: max(t.Fence.Number+1, nowMS*1000), Nonce: nonce}
	next.Released = scheduler.Fence{}
	next.LeaseMS, next.LeaseEndMS, next.Worker = slot.LeaseMS, nowMS+slot.LeaseMS, slot.Worker
	next.Version = max(t.Version+1, nowMS*1000)
	return &next
}

// forgetClaims drops claims that nobody will repeat any more. It looks at all of
// them, and so only now and then.
func (s *Store) forgetClaims(nowMS int64) {
	if nowMS-s.claimsSweptMS < claimKeptMS/10 && nowMS >= s.claimsSweptMS {
		return
	}
	s.claimsSweptMS = nowMS
	for key, last := range s.claims {
		if nowMS-last.atMS > claimKeptMS {
			delete(s.claims, key)
		}
	}
}

// CheckLeases says which leases are still their tasks'.
func (s *Store) CheckLeases(_ context.Context, leases []scheduler.LeaseCheck) []scheduler.LeaseChecked {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	out := make([]scheduler.LeaseChecked, len(leases))
	for i, l := range leases {
		if t := s.task(l.Key, nowMS); t != nil && t.State == scheduler.StateLeased && t.Fence == l.Fence {
			out[i] = scheduler.LeaseChecked{Held: true, LeaseEndMS: t.LeaseEndMS}
		}
	}
	return out
}
