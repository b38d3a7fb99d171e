package scheduler

import (
	"encoding/json"
	"math"
	"slices"
)

// replicaNote is what a replica tells the others of what it uses, by namespace.
type replicaNote map[string]noteUse

// noteUse is what a replica uses of one namespace.
type noteUse struct {
	// Reports are those that it was asked to take a second, of late.
	Reports float64 `json:"r,omitempty"`
	Streams int64   `json:"s,omitempty"`
}

func (n replicaNote) encode() ([]byte, error) { return json.Marshal(n) }

// decodeNote reads another replica's note. Fields of a newer version are passed over.
func decodeNote(text []byte) (replicaNote, error) {
	var n replicaNote
	err := json.Unmarshal(text, &n)
	return n, err
}

// rateShare is how much of a limit a replica may use that wants own, while the others
// want as much as they say: each what it wants, or where there is not enough for all, as
// much as any other that wants more; what is left is dealt evenly. So the shares of
// replicas that know the same add up to the limit, but that none is less than an even
// part: a replica on which reports begin to come need not wait to be known.
func rateShare(limit, own float64, others []float64) float64 {
	all := append(slices.Clone(others), own)
	slices.Sort(all)
	left, replicas := limit, float64(len(all))
	for i, want := range all {
		even := left / float64(len(all)-i)
		if want > even {
			return max(min(own, even), limit/replicas)
		}
		left -= want
	}
	return max(own+left/replicas, limit/replicas)
}

// roomShare is how much of what is left of a limit a replica may use up before it is known
// again how much is left: its part by weight, and no less than an even one.
func roomShare(left int64, own float64, others []float64) int64 {
	if left <= 0 {
		return 0
	}
	sum := own
	for _, w := range others {
		sum += w
	}
	part := 1 / float64(len(others)+1)
	if sum > 0 {
		part = max(part, own/sum)
	}
	return int64(math.Ceil(float64(left) * part))
}
