// Package simulation runs replicas, workers, callers and operators over one store
// in memory, in virtual time, under faults that a seed draws, and holds all that
// happens against the invariants of what must never happen:
//
//	I1  no acknowledged report is lost
//	I2  one effect per report, and the same answer each time
//	I3  nothing is handed out before it is due
//	I4  leases of one task never overlap, and tokens rise
//	I5  a stale token changes nothing
//	I6  attempts never exceed the policy's, and a crash burns none
//	I7  every live task is in the indexes of its state, and nothing else is
//	I8  when the faults end, everything drains by itself
//
// The engine's goroutines run as they do in a server. What they write goes through
// the network of the simulation, which holds each call until the one goroutine that
// draws from the seed lets it through: late, twice, without its reply, or not at
// all. It does so only while everybody else waits, so that a seed always runs the
// same way; see [Run].
package simulation
