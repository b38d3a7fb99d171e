package scheduler

import "context"

// QueueStore keeps what is known of queues beside their tasks.
type QueueStore interface {
	// Queues returns a page of the queues that a shard knows, by namespace and name,
	// after the queue given (the zero QueueKey: from the first). A queue is known
	// from its first task on, or from its pause; see ForgetQueues.
	Queues(ctx context.Context, shard int, after QueueKey, limit int) ([]QueueKey, error)

	// DueQueues returns a page of the queues in which a shard has something due, the
	// longest due first, paused ones too: at most limit behind the first skip.
	DueQueues(ctx context.Context, shard, skip, limit int) ([]QueueKey, error)

	// CountQueues returns what is counted of each queue, over all shards, in order.
	CountQueues(ctx context.Context, queues []QueueKey) ([]QueueCount, error)

	// PauseQueue stops claims from a queue until untilMS, or for good where that is
	// 0; it replaces the pause that there may be. When it has returned nil, no claim
	// of any replica takes a task.
	PauseQueue(ctx context.Context, queue QueueKey, untilMS int64) error

	// ResumeQueue ends a queue's pause, if there is one.
	ResumeQueue(ctx context.Context, queue QueueKey) error

	// ForgetQueues forgets, in one shard, queues that have no live task there, that
	// are not paused, and of which nothing was counted there in the last StatHours.
	// It looks at a page of the queues after the one given, and returns the last that
	// it has looked at, the zero QueueKey at the end.
	ForgetQueues(ctx context.Context, shard int, after QueueKey, limit int) (QueueKey, error)
}

// QueueCount is what is counted of a queue.
type QueueCount struct {
	// Waiting are its SCHEDULED and LEASED tasks, Leased the latter of them, Due
	// those whose LookMS is not after the store's now.
	Waiting, Leased, Due int64
	Held, Dead           int64
	// HeadMS is the earliest LookMS, 0 when there is none.
	HeadMS int64
	// Paused says that nothing is handed out, PausedUntilMS until when; 0 is for
	// good.
	Paused        bool
	PausedUntilMS int64
	// Open counts the tasks under way by the hour of their first failure.
	Open map[int64]int64
	// Stats holds the events of each of the last StatHours that had any.
	Stats map[int64]QueueStats
	// Known says whether any shard knows the queue.
	Known bool
	// NowMS is the store's clock.
	NowMS int64
}

// GroupKey names a group within a namespace.
type GroupKey struct {
	Namespace, Name string
}

// GroupStore keeps the counts of groups.
type GroupStore interface {
	// Group returns a group's counts over all shards; ok is false when there is no
	// such group. Each shard's part is of one moment.
	Group(ctx context.Context, group GroupKey) (count GroupCount, ok bool, err error)

	// DeleteGroup forgets a group's counts, and says whether there were any.
	DeleteGroup(ctx context.Context, group GroupKey) (bool, error)

	// ForgetGroups forgets, among at most limit groups that a shard has, those in
	// which nothing has changed in any shard since beforeMS, and says how many it
	// forgot.
	ForgetGroups(ctx context.Context, shard int, beforeMS int64, limit int) (int, error)
}
