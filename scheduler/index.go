package scheduler

// IndexKind is what an index is ordered for.
type IndexKind uint8

// The kinds of index. Every one is ordered by time and then by the task's id,
// and every live task is in exactly one of IndexDue, IndexHeld and IndexDead.
const (
	// IndexDue holds a queue's SCHEDULED and LEASED tasks by LookMS.
	IndexDue IndexKind = iota + 1
	// IndexHeld holds a queue's HELD tasks by HoldMS.
	IndexHeld
	// IndexDead holds a queue's DEAD tasks by EndMS.
	IndexDead
	// IndexCondition holds a namespace's HELD tasks of one condition by HoldMS.
	IndexCondition
	// IndexFingerprint holds a queue's DEAD tasks of one fingerprint by EndMS.
	IndexFingerprint
	// IndexEnding holds what ends by itself, by EndingMS, over all namespaces.
	IndexEnding
)

// Index names an ordered part of each shard's tasks.
type Index struct {
	Kind IndexKind
	// Namespace and Name are those of the queue, or of the condition; empty with
	// IndexEnding.
	Namespace, Name string
	// Fingerprint is IndexFingerprint's.
	Fingerprint Fingerprint
}

// Entry is a task's place in an index.
type Entry struct {
	Index Index
	MS    int64
}

// Entries are the task's places in the indexes, added to dst. An ended task has
// none: the store drops it at ExpireMS.
func (t *Task) Entries(dst []Entry) []Entry {
	ns, queue := t.Key.Namespace, t.Spec.Queue
	switch t.State {
	case StateScheduled:
		dst = append(dst, Entry{Index{Kind: IndexDue, Namespace: ns, Name: queue}, t.DueMS})
	case StateLeased:
		dst = append(dst, Entry{Index{Kind: IndexDue, Namespace: ns, Name: queue}, t.LeaseEndMS})
	case StateHeld:
		dst = append(dst,
			Entry{Index{Kind: IndexHeld, Namespace: ns, Name: queue}, t.HoldMS},
			Entry{Index{Kind: IndexCondition, Namespace: ns, Name: t.HoldCondition}, t.HoldMS})
	case StateDead:
		dst = append(dst,
			Entry{Index{Kind: IndexDead, Namespace: ns, Name: queue}, t.EndMS},
			Entry{Index{Kind: IndexFingerprint, Namespace: ns, Name: queue, Fingerprint: t.Fingerprint}, t.EndMS})
	}
	if ms, ok := t.EndingMS(); ok {
		dst = append(dst, Entry{Index{Kind: IndexEnding}, ms})
	}
	return dst
}

// Part is a part of an index in one shard: the first Limit places after After,
// at most 1,000.
type Part struct {
	Index Index
	Shard int
	After Place
	Limit int
}

// Browsed is the answer to one Part.
type Browsed struct {
	Places []Place
	// Left is how many places follow the last of Places.
	Left int64
	Err  error
}

// DeadLetterGroup is what is kept of a queue's dead letters that have failed in
// the same way.
type DeadLetterGroup struct {
	Queue       QueueKey
	Fingerprint Fingerprint
	Count       int64
	// FirstMS and LastMS are when the oldest and the newest of them died.
	FirstMS, LastMS int64
	// Sample is the newest of them.
	Sample TaskKey
}
