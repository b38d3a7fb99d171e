package scheduler

import (
	"context"
	"time"
)

// AuditStore lets an auditor hold what a store keeps beside its tasks to the
// tasks themselves, and mend it.
type AuditStore interface {
	// AuditTurn gives a replica the auditor's turn for as long as hold, or prolongs
	// it, and says whether it has it: one replica has it at a time. A hold of 0 gives
	// it back.
	AuditTurn(ctx context.Context, replica string, hold time.Duration) (bool, error)

	// Audit begins a walk over all tasks, places in indexes and counts. It does
	// nothing before its first pass.
	Audit() AuditWalk
}

// AuditWalk is one walk over a store, in passes. It is used by one goroutine.
type AuditWalk interface {
	// Pass looks at the next part, and mends what does not follow from the tasks: each
	// thing by itself, if it is still so at that moment, so that nothing that changes
	// meanwhile is harmed. When it fails, the walk is over.
	Pass(ctx context.Context) (AuditPass, error)
}

// AuditPass is what a pass has looked at.
type AuditPass struct {
	// Looked is how many tasks, places and counts it has looked at, one more for each
	// 8 KiB of records read for it, and ten for each mending; it is the measure of what
	// the pass cost.
	Looked   int
	Findings []Finding
	// Done says that it was the walk's last.
	Done bool
}

// Finding is something that did not follow from the tasks.
type Finding struct {
	Kind  FindingKind
	Shard int
	// Namespace and Name are those of the task, the queue or the group that it is
	// about.
	Namespace, Name string
	// Detail says where it was, and what was wrong.
	Detail string
	// Left says that it was not mended, since nobody can know what is right.
	Left bool
}

// FindingKind is what an auditor counts findings by.
type FindingKind uint8

// The kinds of finding.
const (
	// FindingMissing: a task was not in an index that it belongs in.
	FindingMissing FindingKind = iota
	// FindingMisplaced: a task was in an index at another time than its own.
	FindingMisplaced
	// FindingForeign: a task was in an index that it does not belong in.
	FindingForeign
	// FindingOrphan: an index had a place of a task that is not there.
	FindingOrphan
	// FindingHead: the earliest time of a queue was not where claims look for it.
	FindingHead
	// FindingUnknownQueue: a queue with live tasks was not among the queues.
	FindingUnknownQueue
	// FindingFingerprint: what is told of a fingerprint of dead letters was wrong.
	FindingFingerprint
	// FindingQueueCount: a queue's count of tasks leased or under way had drifted.
	FindingQueueCount
	// FindingGroupCount: a group's count of tasks pending or in progress had drifted.
	FindingGroupCount
	// FindingUnknownGroup: a group was not among the groups, or was there without
	// counts.
	FindingUnknownGroup
	// FindingUnreadable: a record cannot be read, or lies where nobody looks for it, or
	// a key is of another type than it should be.
	FindingUnreadable
	// NumFindings is how many kinds there are.
	NumFindings
)

var findingNames = [...]string{
	"missing", "misplaced", "foreign", "orphan", "head", "unknown-queue", "fingerprint", "queue-count",
	"group-count", "unknown-group", "unreadable",
}

// String returns the kind's name in logs and metrics.
func (k FindingKind) String() string {
	if k < NumFindings {
		return findingNames[k]
	}
	return "unknown"
}
