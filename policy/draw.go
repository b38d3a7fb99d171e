package policy

// Draws replace randomness: each is a hash of what it is for, so that a
// decision evaluated twice comes out the same and a preview shows what will
// happen.
//
// CHANGING ANYTHING IN THIS FILE IS A BREAKING CHANGE: replicas of two versions
// would disagree over the same task, a repeated report would move its retry,
// and stored rule counts (RuleHash) would be lost. Golden tests hold it.

// drawKind tells the draws of one attempt apart.
type drawKind uint64

const (
	drawJitter     drawKind = 1
	drawRetryAfter drawKind = 2
	// A walk out of pause windows may need a draw for every window on its way;
	// the number of the move is added to these.
	drawWindow  drawKind = 1 << 16
	drawHandOut drawKind = 1 << 32
)

// FNV-1a, 64 bits.
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
)

// seed is the hash of everything that one attempt's draws have in common. It
// is made at the first draw: most policies without jitter never need it.
type seed struct {
	st   *State
	hash uint64
	made bool
}

// draw gives the draw of one kind, uniform in [0, 1).
func (s *seed) draw(k drawKind) float64 {
	if !s.made {
		h := hashString(fnvOffset, s.st.Namespace)
		h = hashString(h, s.st.TaskID)
		h = hashUint(h, uint64(s.st.Generation))
		s.hash = hashUint(h, uint64(s.st.Attempt))
		s.made = true
	}
	// The top 53 bits are all that a float64 in [0, 1) can hold evenly.
	return float64(mix(hashUint(s.hash, uint64(k)))>>11) / (1 << 53)
}

// RuleHash identifies a rule in [RuleRetries] by its name.
func RuleHash(name string) uint64 {
	return mix(hashString(fnvOffset, name))
}

// hashString puts the length first, so that no two lists of fields read the
// same.
func hashString(h uint64, s string) uint64 {
	h = hashUint(h, uint64(len(s)))
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

func hashUint(h, v uint64) uint64 {
	for range 8 {
		h = (h ^ v&0xff) * fnvPrime
		v >>= 8
	}
	return h
}

// mix is the finaliser of SplitMix64: it spreads every bit over all others. FNV
// alone leaves the top bits of inputs that differ in their last bytes close
// together, and those are the bits that draw uses.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
