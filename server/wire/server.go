package wire

import (
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// StoreInfo is what a scheduler tells of its store.
func StoreInfo(i *scheduler.Info) *retryv1.StoreInfo {
	return &retryv1.StoreInfo{
		Kind:              i.Store.Kind,
		Version:           i.Store.Version,
		Shards:            int32(i.Shards),
		DurabilityAsked:   durability(i.Store.Asked),
		DurabilityFound:   durability(i.Store.Found),
		ReplicasAsked:     int32(i.Store.ReplicasAsked),
		ReplicasConnected: int32(i.Store.Replicas),
	}
}

func durability(d scheduler.Durability) retryv1.Durability {
	switch d {
	case scheduler.DurabilityMemory:
		return retryv1.Durability_DURABILITY_MEMORY
	case scheduler.DurabilityEverySecond:
		return retryv1.Durability_DURABILITY_EVERYSEC
	case scheduler.DurabilityAlways:
		return retryv1.Durability_DURABILITY_ALWAYS
	case scheduler.DurabilityReplicated:
		return retryv1.Durability_DURABILITY_REPLICATED
	default:
		return retryv1.Durability_DURABILITY_UNSPECIFIED
	}
}
