package simulation

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// link is the store as one process sees it. Reads are answered at once: nothing is
// written while anybody runs, so that they are the same in every run. Writes travel
// through the network.
type link struct {
	db      *database
	net     *network
	replica string
	// away says that the store does not answer this process, for a while or, once
	// the process has been killed, for good.
	away atomic.Bool

	// sent counts the writes since second.
	second time.Time
	sent   int

	mu   sync.Mutex
	hint func(scheduler.Hint)
}

var errAway = &scheduler.Error{Kind: scheduler.KindUnavailable, Message: "the store is away"}

// operation is a write on its way.
type operation struct {
	link *link
	// caller is the number of the call that it is part of, 0 for a loop of the
	// replica's own.
	caller  int
	changes []scheduler.Change
	claims  []scheduler.Claim
	// queue is paused until untilMS, or resumed.
	queue   scheduler.QueueKey
	untilMS int64
	resume  bool
	// audit is the auditor's, nil for others.
	audit *auditing

	// faulty says that the network does something to it.
	faulty bool
	reply  chan reply
}

// reply is the answer to an operation, by what it was.
type reply struct {
	committed []scheduler.Committed
	claimed   []scheduler.Claimed
	turn      bool
	audited   scheduler.AuditPass
	err       error
}

// patience is how long a process waits for the store's reply.
const patience = 3 * time.Second

// network holds operations until they are let through.
type network struct {
	mu      sync.Mutex
	waiting []*operation
	arrived chan struct{}
}

func newNetwork() *network { return &network{arrived: make(chan struct{}, 1)} }

func (n *network) signal() {
	select {
	case n.arrived <- struct{}{}:
	default:
	}
}

func (n *network) take() []*operation {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := n.waiting
	n.waiting = nil
	return taken
}

// send has an operation carried out, and waits for the reply.
func (l *link) send(ctx context.Context, op *operation) reply {
	if l.away.Load() {
		return op.unanswered()
	}
	op.link, op.reply = l, make(chan reply, 1)
	op.caller, _ = ctx.Value(callKey{}).(int)
	l.net.mu.Lock()
	l.net.waiting = append(l.net.waiting, op)
	l.net.mu.Unlock()
	l.net.signal()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case got := <-op.reply:
		return got
	case <-timer.C:
	case <-ctx.Done():
	}
	return op.unanswered()
}

// callKey is the key of a call's number in its context.
type callKey struct{}

// answer gives the reply to whoever still waits for it.
func (op *operation) answer(r reply) {
	select {
	case op.reply <- r:
	default:
	}
}

// unanswered is the reply that stands for none.
func (op *operation) unanswered() reply {
	r := reply{
		committed: make([]scheduler.Committed, len(op.changes)),
		claimed:   make([]scheduler.Claimed, len(op.claims)),
		err:       errAway,
	}
	for i := range r.committed {
		r.committed[i].Err = errAway
	}
	for i := range r.claimed {
		r.claimed[i].Err = errAway
	}
	return r
}

// String names what the operation does, without what no run has in common.
func (op *operation) String() string {
	var b strings.Builder
	switch {
	case op.changes != nil:
		b.WriteString("commit")
		for _, c := range op.changes {
			fmt.Fprintf(&b, " %s %s>%s", c.Key.ID, stateOf(c.Before), stateOf(c.Task))
		}
	case op.claims != nil:
		b.WriteString("claim")
		for _, c := range op.claims {
			fmt.Fprintf(&b, " %s/%d", c.Queue.Name, c.Shard)
			if c.Task.ID != "" {
				fmt.Fprintf(&b, " %s", c.Task.ID)
			}
			for _, s := range c.Slots {
				fmt.Fprintf(&b, " %dx%s", s.Count, s.Worker)
			}
		}
	case op.audit != nil:
		b.WriteString(op.audit.String())
	case op.resume:
		fmt.Fprintf(&b, "resume %s", op.queue.Name)
	default:
		fmt.Fprintf(&b, "pause %s", op.queue.Name)
	}
	return b.String()
}

func stateOf(t *scheduler.Task) string {
	if t == nil {
		return "none"
	}
	return t.State.String()
}

func (l *link) store() *memstore.Store { return l.db.now.Load() }

func (l *link) err() error {
	if l.away.Load() {
		return errAway
	}
	return nil
}

func (l *link) Shards() int { return l.db.shards }

func (l *link) Info() scheduler.StoreInfo { return l.store().Info() }

func (l *link) Now(context.Context) (int64, error) { return l.db.nowMS(), l.err() }

func (l *link) Commit(ctx context.Context, changes []scheduler.Change) []scheduler.Committed {
	return l.send(ctx, &operation{changes: changes}).committed
}

func (l *link) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	return l.send(ctx, &operation{claims: claims}).claimed
}

func (l *link) PauseQueue(ctx context.Context, q scheduler.QueueKey, untilMS int64) error {
	return l.send(ctx, &operation{queue: q, untilMS: untilMS}).err
}

func (l *link) ResumeQueue(ctx context.Context, q scheduler.QueueKey) error {
	return l.send(ctx, &operation{queue: q, resume: true}).err
}

// Servers returns nil: there is one.
func (l *link) Servers(context.Context) []string { return nil }

// Hints has the network tell of hints; it may lose them, and nobody is told.
func (l *link) Hints(ctx context.Context, hint func(scheduler.Hint), _ func()) error {
	l.mu.Lock()
	l.hint = hint
	l.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (l *link) tell(h scheduler.Hint) {
	l.mu.Lock()
	hint := l.hint
	l.mu.Unlock()
	if hint != nil {
		hint(h)
	}
}

func (l *link) Load(ctx context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	if l.away.Load() {
		out := make([]scheduler.Loaded, len(keys))
		for i := range out {
			out[i].Err = errAway
		}
		return out
	}
	return l.store().Load(ctx, keys)
}

func (l *link) Confirm(ctx context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	return l.Load(ctx, keys)
}

func (l *link) CheckLeases(ctx context.Context, leases []scheduler.LeaseCheck) []scheduler.LeaseChecked {
	if l.away.Load() {
		out := make([]scheduler.LeaseChecked, len(leases))
		for i := range out {
			out[i].Err = errAway
		}
		return out
	}
	return l.store().CheckLeases(ctx, leases)
}

func (l *link) Browse(ctx context.Context, parts []scheduler.Part) []scheduler.Browsed {
	if l.away.Load() {
		out := make([]scheduler.Browsed, len(parts))
		for i := range out {
			out[i].Err = errAway
		}
		return out
	}
	return l.store().Browse(ctx, parts)
}

func (l *link) Heads(ctx context.Context, queues []scheduler.QueueKey) ([][]scheduler.Head, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().Heads(ctx, queues)
}

func (l *link) Due(ctx context.Context, q scheduler.QueueKey, shard int, after scheduler.Place, limit int) (scheduler.Page, error) {
	if err := l.err(); err != nil {
		return scheduler.Page{}, err
	}
	return l.store().Due(ctx, q, shard, after, limit)
}

func (l *link) Ending(ctx context.Context, shard int, after scheduler.Place, limit int) ([]*scheduler.Task, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().Ending(ctx, shard, after, limit)
}
