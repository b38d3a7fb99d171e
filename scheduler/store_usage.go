package scheduler

import (
	"context"
	"time"
)

// UsageStore tells what namespaces use, for quotas to be held to it.
type UsageStore interface {
	// CountNamespaces returns what is counted of each namespace, over all its queues
	// and all shards, in order. It is not of one moment, and counts that have drifted
	// are wrong until the auditor has mended them.
	CountNamespaces(ctx context.Context, namespaces []string) ([]NamespaceCount, error)

	// ShareNote keeps a replica's note for as long as keep, instead of its last one, and
	// returns the notes of all replicas that are kept then, by replica, its own among
	// them: of two calls, the later sees the note of the earlier. A keep of 0 drops it.
	ShareNote(ctx context.Context, replica string, note []byte, keep time.Duration) (map[string][]byte, error)
}

// NamespaceCount is what is counted of a namespace.
type NamespaceCount struct {
	// Pending are its SCHEDULED, LEASED and HELD tasks, Leased those of them that are
	// LEASED.
	Pending, Leased int64
	// Bytes is what its live tasks carry, dead letters too.
	Bytes QueueBytes
}
