package scheduler

import "context"

// Store keeps tasks and policies, atomically, and knows nothing of what they
// mean: the engine decides on the state that it believes in, and the store
// writes the outcome if that state is still so.
//
// Every method may be called concurrently. A method that fails for the store's
// own reasons (away, failing over, full) returns an *[Error] of KindUnavailable
// or KindFull, per item where it takes several; what it then did is unknown, and
// its caller repeats it with the same operation or claim id. The store's clock
// alone says what is due.
//
// A store that was told how durably to keep what it takes, and can tell that it has
// not come so far yet, says so with an *[Error] of KindUnconfirmed. The rest of such
// an answer stands: it is so, and may be lost.
type Store interface {
	// Shards is the number of shards, at least 1, fixed for the store's life.
	Shards() int

	// Servers names the server that keeps each shard, as far as is known; it is nil where
	// one keeps all. What is asked of shards of several at once is answered as late as the
	// last of them answers.
	Servers(ctx context.Context) []string

	// Now returns the store's clock in Unix milliseconds.
	Now(ctx context.Context) (int64, error)

	// Info tells what is known of the store. It takes no round trip.
	Info() StoreInfo

	// Load returns each task as it is now, in order. It writes nothing.
	Load(ctx context.Context, keys []TaskKey) []Loaded

	// Confirm is Load for answers that rest on what was written before: what it
	// returns without an error is as durable as the store was told to keep it.
	Confirm(ctx context.Context, keys []TaskKey) []Loaded

	// Commit writes each change, alone and whole, if the task is still as the
	// change expects; see [Change]. No two changes of one call are of the same
	// task.
	Commit(ctx context.Context, changes []Change) []Committed

	// Claim moves due tasks of each claim's queue and shard to LEASED, in the
	// order of LookMS and id; see [Claim].
	Claim(ctx context.Context, claims []Claim) []Claimed

	// CheckLeases says, for each lease in order, whether it is still its task's.
	CheckLeases(ctx context.Context, leases []LeaseCheck) []LeaseChecked

	// Heads returns the head of each queue, in order, and each shard. With an error
	// come those that could be read, if any, and the zero Head for the others.
	Heads(ctx context.Context, queues []QueueKey) ([][]Head, error)

	// Due returns a page of the tasks of a queue and shard whose LookMS is not
	// after now, in its order, after the place given, and when the next one comes.
	// It claims nothing.
	Due(ctx context.Context, queue QueueKey, shard int, after Place, limit int) (Page, error)

	// Ending returns a page of the tasks of a shard whose EndingMS is not after
	// now, in its order, after the place given.
	Ending(ctx context.Context, shard int, after Place, limit int) ([]*Task, error)

	// Browse reads parts of indexes, each alone, in order. It writes nothing.
	Browse(ctx context.Context, parts []Part) []Browsed

	// DeadLetterGroups returns the fingerprints of a queue's dead letters over all
	// shards, in no order.
	DeadLetterGroups(ctx context.Context, queue QueueKey) ([]DeadLetterGroup, error)

	QueueStore
	GroupStore

	// Hints calls hint for work that another replica has put at the head of a
	// queue, until ctx ends. Hints may be lost: missed is called when some may have been
	// and no more are.
	Hints(ctx context.Context, hint func(Hint), missed func()) error

	PolicyStore
	JobStore
	AuditStore
	UsageStore
}

// Loaded is the answer to one key of Load.
type Loaded struct {
	// Task is nil when the store knows none of that key.
	Task *Task
	// Unconfirmed says that the task may not be as durable yet as the store was told
	// to keep it; Confirm would tell.
	Unconfirmed bool
	Err         error
}

// OpID names one mutating operation, so that its repeat after a time-out is
// known for what it is. 0 is none.
type OpID uint64

// Change is one write of one task.
//
// With the task, and as atomically, the store moves its places in the indexes
// ([Task.Entries]) and what is counted of it ([TallyOf]).
type Change struct {
	Key TaskKey
	// Before is the task as the engine believes it is; nil means that there is no
	// such task. Of it, the store compares the version alone.
	Before *Task
	// Task is what the task becomes, nil when it goes. The store gives it its
	// Version: one above that of Before, and no lower than its clock in
	// microseconds.
	Task *Task
	// DecidedMS is the store's time as the engine believed it, under whose hour the
	// change is counted. The store refuses one ahead of its clock by more than
	// MaxAheadMS or behind it by more than MaxBehindMS, unless Final is set, which
	// says that the engine decided at a time that the store has told it. 0 is not
	// checked.
	DecidedMS int64
	Final     bool
}

// Expect is the version that the change expects, 0 where it expects no task.
func (c *Change) Expect() int64 {
	if c.Before == nil {
		return 0
	}
	return c.Before.Version
}

// How far an engine's now may be from the store's.
const (
	MaxAheadMS  = 20
	MaxBehindMS = 500
)

// CommitStatus says what became of a change.
type CommitStatus uint8

// The statuses.
const (
	// CommitDone means written.
	CommitDone CommitStatus = iota
	// CommitConflict means that the task is not at the version expected: it is
	// as Committed.Task says.
	CommitConflict
	// CommitSkewed means that the time of the decision was refused.
	CommitSkewed
)

// Committed is the answer to one change.
type Committed struct {
	Status CommitStatus
	// Task is the task as it is now: as written when done, nil when there is
	// none.
	Task *Task
	// NowMS is the store's clock.
	NowMS int64
	Err   error
}

// Claim asks for due tasks of one queue and shard.
//
// A task is due when its LookMS is not after the store's now: a SCHEDULED task
// whose time has come, or a LEASED one whose lease has ended, which counts as an
// expiry. Each claimed task becomes LEASED with a new fence, its Delivery one
// higher, its lease end at the store's now plus the slot's length, and Released
// cleared. Nothing is claimed from a queue that is paused.
type Claim struct {
	// ID and Replica make a claim idempotent: a repeat of a replica's last claim of
	// this queue and shard returns the tasks that it took and that still carry the
	// fences it gave. A store may take fewer tasks at once than there are slots for,
	// but at least 100, or of large ones as many as it can tell of in good time, which is
	// one at least. An empty Replica is not remembered: its claim is of one Task,
	// whose fence shows by its nonce who has taken it.
	ID      uint64
	Replica string
	Queue   QueueKey
	Shard   int
	// Task, when its ID is set, claims that task alone, and only if it is in Queue and
	// due.
	Task TaskKey
	// Slots are filled in order.
	Slots []Slot
	// Nonces are at least as many as the slots' counts add up to.
	Nonces []uint64
	// Repeats is how often the claim has been made and not been answered.
	Repeats int
}

// Slot is room for attempts at one worker.
type Slot struct {
	Count   int
	LeaseMS int64
	Worker  string
}

// Claimed is the answer to one claim.
type Claimed struct {
	// Tasks are those claimed, in the order of the slots that they fill.
	Tasks []*Task
	// Expired are those of Tasks whose lease had ended, which this claim has counted as
	// an expiry. A repeat of a claim need not tell them again.
	Expired []*Task
	// NextMS is the earliest LookMS left in the queue and shard, which may be
	// due already; 0 when there is nothing. While the queue is paused it is no
	// earlier than the end of the pause, and 0 where that has none.
	NextMS int64
	// Paused says that the queue is paused.
	Paused bool
	// NowMS is the store's clock.
	NowMS int64
	Err   error
}

// LeaseCheck is a lease that a replica believes to be out.
type LeaseCheck struct {
	Queue      QueueKey
	Key        TaskKey
	Fence      Fence
	LeaseEndMS int64
}

// LeaseChecked is the answer to one LeaseCheck.
type LeaseChecked struct {
	// Held says whether the lease is still the task's; LeaseEndMS is when it
	// then ends.
	Held       bool
	LeaseEndMS int64
	Err        error
}

// Page is a part of an index.
type Page struct {
	Tasks []*Task
	// NextMS is the earliest LookMS after now, 0 when there is none.
	NextMS int64
}

// Place is a position in an index that is ordered by time and then by id.
type Place struct {
	MS  int64
	Key TaskKey
}

// Head is what comes first in a queue and shard.
type Head struct {
	// LookMS is the earliest LookMS in it, 0 where there is nothing.
	LookMS int64
	// OpenMS is when that can be claimed: it is LookMS, but for a paused queue no earlier
	// than the end of the pause, and 0 where that has none.
	OpenMS int64
}

// Hint says that something falls due in a queue and shard earlier than anything
// else in it.
type Hint struct {
	Queue QueueKey
	Shard int
	DueMS int64
}
