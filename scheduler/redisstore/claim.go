package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/retryd/retryd/scheduler"
)

// claimKeptMS is how long a replica's last claim of a queue and shard is
// remembered.
const claimKeptMS = 3_600_000

const (
	// roundBytes is about how many bytes of records the claims of one round take in all:
	// an answer that is larger than what a node may take to send it would never come, and
	// its repeats would not either. leastClaimBytes is what each takes of it at least,
	// mostClaimBytes at the most.
	roundBytes      = 4 << 20
	leastClaimBytes = 64 << 10
	mostClaimBytes  = 1 << 20
)

// claimBytes is how many bytes of records each of so many claims takes.
func claimBytes(claims int) int { return min(max(roundBytes/claims, leastClaimBytes), mostClaimBytes) }

// errNonces is returned for a claim that cannot be carried out as it stands.
var errNonces = errors.New("a claim has fewer nonces than its slots hold tasks")

// Claim moves due tasks to LEASED. It takes at most 100 tasks a claim, and fewer of
// large ones; NextMS then says that more is due.
func (s *Store) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	if len(claims) == 0 {
		return nil
	}
	out := make([]scheduler.Claimed, len(claims))
	bytes := claimBytes(len(claims))
	var calls []*call
	var parts [][]int
	room := 0
	for i := range claims {
		c := &claims[i]
		n := roomOf(c)
		if s.confirms() {
			if out[i].Err = s.mayClaim(ctx, c.Shard); out[i].Err != nil {
				continue
			}
		}
		if len(c.Nonces) < n {
			out[i].Err = errNonces
			continue
		}
		// Claims share a script while they are small together; on a Cluster, where
		// each may meet a slot that is moving, none does.
		if len(calls) == 0 || s.cluster || room+n > maxPerScript || len(parts[len(parts)-1]) == maxPerScript {
			calls = append(calls, &call{script: s.scripts.claim, args: []any{s.nowArg(), strconv.Itoa(claimKeptMS), strconv.Itoa(bytes)}})
			parts = append(parts, nil)
			room = 0
		}
		room += n
		last := len(calls) - 1
		s.addClaim(calls[last], c, n)
		calls[last].bytes += bytes
		calls[last].repeats = max(calls[last].repeats, c.Repeats)
		parts[last] = append(parts[last], i)
	}
	if len(calls) == 0 {
		return out
	}
	s.runPatiently(ctx, calls)
	for i, c := range calls {
		s.settleClaims(ctx, c, parts[i], claims, out)
	}
	return out
}

// roomOf is how many tasks the claim's slots hold.
func roomOf(c *scheduler.Claim) int {
	n := 0
	for _, slot := range c.Slots {
		n += slot.Count
	}
	return min(n, maxPerScript)
}

func (s *Store) addClaim(to *call, c *scheduler.Claim, room int) {
	due := s.keys.due(c.Shard, c.Queue)
	memory, task := due, due
	if c.Replica != "" {
		memory = s.keys.claim(c.Shard, c.Replica, c.Queue)
	}
	if c.Task.ID != "" {
		task = s.keys.task(c.Shard, c.Task)
	}
	to.keys = append(to.keys, due, s.keys.heads(c.Shard), s.keys.paused(c.Shard), s.keys.count(c.Shard, c.Queue), s.keys.groups(c.Shard), memory, task)
	var slots []byte
	left := room
	for _, slot := range c.Slots {
		n := min(slot.Count, left)
		left -= n
		worker := slot.Worker[:min(len(slot.Worker), maxWorkerBytes)]
		slots = binary.BigEndian.AppendUint16(slots, uint16(n))
		slots = appendU48(slots, min(max(slot.LeaseMS, 0), maxU48))
		slots = binary.BigEndian.AppendUint16(slots, uint16(len(worker)))
		slots = append(slots, worker...)
	}
	nonces := make([]byte, 0, 8*room)
	for _, nonce := range c.Nonces[:room] {
		nonces = binary.BigEndian.AppendUint64(nonces, nonce)
	}
	to.args = append(to.args, binary.BigEndian.AppendUint64(nil, c.ID), slots, nonces)
}

// maxWorkerBytes bounds a worker's name so that the lease part of a record has
// room for it; the API allows far less.
const maxWorkerBytes = 60_000

// settleClaims gives each claim of a call its answer.
func (s *Store) settleClaims(ctx context.Context, c *call, part []int, claims []scheduler.Claim, out []scheduler.Claimed) {
	err := c.err
	if scheduler.IsUnconfirmed(err) {
		err = nil
	}
	if err == nil && len(c.reply) != 1+len(part) {
		err = errReply
	}
	for n, i := range part {
		if err != nil {
			out[i].Err = err
			continue
		}
		out[i] = s.claimed(ctx, &claims[i], c.reply[0], c.reply[1+n])
		if out[i].Err == nil && len(out[i].Tasks) > 0 {
			out[i].Err = c.err
		}
	}
}

func (s *Store) claimed(ctx context.Context, c *scheduler.Claim, now, answer any) scheduler.Claimed {
	nowMS, ok1 := now.(int64)
	list, ok2 := answer.([]any)
	if !ok1 || !ok2 || len(list) < 3 {
		return scheduler.Claimed{Err: errReply}
	}
	got := scheduler.Claimed{NowMS: nowMS}
	if got.NextMS, ok1 = scoreOf(list[0]); !ok1 {
		return scheduler.Claimed{Err: errReply}
	}
	paused, _ := list[1].(int64)
	got.Paused = paused == 1
	if mended, _ := list[2].(int64); mended > 0 {
		s.log.WarnContext(ctx, "entries of a queue's index did not agree with their tasks and were mended",
			"queue", c.Queue.Name, "shard", c.Shard, "entries", mended)
	}
	for _, v := range list[3:] {
		entry, ok := v.([]any)
		if !ok || len(entry) < 2 {
			return scheduler.Claimed{Err: errReply}
		}
		t, err := s.member(entry[0], entry[1])
		if err != nil {
			// It must not keep the others from their workers. It comes again with its
			// lease's end, perhaps to a version that can read it.
			s.log.ErrorContext(ctx, "a task that was claimed cannot be read and is left alone",
				"queue", c.Queue.Name, "shard", c.Shard, "error", err)
			continue
		}
		got.Tasks = append(got.Tasks, t)
		if len(entry) > 2 {
			got.Expired = append(got.Expired, t)
		}
	}
	return got
}

// member decodes a task by its name within the shard and its record.
func (s *Store) member(name, record any) (*scheduler.Task, error) {
	n, ok1 := name.(string)
	r, ok2 := record.(string)
	if !ok1 || !ok2 {
		return nil, errReply
	}
	namespace, id, err := splitMember(n)
	if err != nil {
		return nil, err
	}
	return s.decode(scheduler.TaskKey{Namespace: namespace, ID: id}, r)
}

// scoreOf reads a time from a reply, ” being 0, which is none.
func scoreOf(v any) (int64, bool) {
	text, ok := v.(string)
	if !ok {
		return 0, false
	}
	if text == "" {
		return 0, true
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		// Redis writes large scores as 1.7e+18.
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, false
		}
		ms = int64(f)
	}
	return ms, true
}
