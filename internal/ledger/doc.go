// Package ledger keeps what everybody outside was told - reporters of their reports,
// workers of attempts, extensions and outcomes - and holds what the store has in the
// end against it, by the invariants I1 to I6 of the design. Tests on real processes
// and the fault program use it alike; a worker that is a process of its own sends its
// entries as lines (see [NewWriter]).
//
// It knows clients and the scheduler's records, and must not import the server or a
// store.
package ledger
