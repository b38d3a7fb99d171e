package scheduler

import "errors"

// Durability is how safe a store keeps what it has taken.
type Durability uint8

// The levels. DurabilityUnknown stands for a store that does not tell, and where a
// level is asked for, for whatever the store has.
const (
	DurabilityUnknown Durability = iota
	// DurabilityMemory: what is taken is lost when the store ends, but for snapshots
	// that it may have made.
	DurabilityMemory
	// DurabilityEverySecond: it is on disk within about a second.
	DurabilityEverySecond
	// DurabilityAlways: it is on disk before its caller has an answer.
	DurabilityAlways
	// DurabilityReplicated: it is in the memory of replicas before its caller has an
	// answer, and before an attempt is sent to a worker.
	DurabilityReplicated
)

// String returns the name by which operators know the level.
func (d Durability) String() string {
	switch d {
	case DurabilityMemory:
		return "memory"
	case DurabilityEverySecond:
		return "everysec"
	case DurabilityAlways:
		return "always"
	case DurabilityReplicated:
		return "replicated"
	default:
		return "unknown"
	}
}

// ParseDurability returns the level of a name as String tells it; ok is false for
// any other.
func ParseDurability(name string) (d Durability, ok bool) {
	for d := DurabilityMemory; d <= DurabilityReplicated; d++ {
		if d.String() == name {
			return d, true
		}
	}
	return DurabilityUnknown, false
}

// StoreInfo is what a store tells of itself.
type StoreInfo struct {
	// Kind is "memory", or how Redis runs: "redis", "sentinel" or "cluster".
	Kind string
	// Version is the store's own, empty while it is not known. Where several servers
	// make up the store, it is that of one of them.
	Version string
	// Asked is the level that the store was told to keep to, DurabilityUnknown for
	// whatever there is; Found is the one that it was last seen to keep to, at the
	// server where it is lowest.
	Asked, Found Durability
	// Disk is what was last seen to be kept on disk, which is another thing than
	// Found at DurabilityReplicated only.
	Disk Durability
	// ReplicasAsked is how many replicas have to confirm at DurabilityReplicated, 0
	// for all that are connected; Replicas is how many were last seen connected to
	// the server that has the fewest.
	ReplicasAsked, Replicas int
}

// Info is what a scheduler tells of itself.
type Info struct {
	Store  StoreInfo
	Shards int
	// ClockOffsetMS is how far the store's clock is ahead of this machine's, in
	// milliseconds, as far as replies have told; 0 before the first.
	ClockOffsetMS int64
}

// Info tells of the scheduler and its store, from what is known already.
func (s *Scheduler) Info() Info {
	return Info{Store: s.store.Info(), Shards: s.shards, ClockOffsetMS: s.clock.aheadMS()}
}

// IsUnconfirmed says whether err is of KindUnconfirmed: what was asked for is
// written, and not yet as durable as the store was told to keep it.
func IsUnconfirmed(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == KindUnconfirmed
}
