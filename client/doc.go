// Package client is what Go programs import to use a retryd server: a [Client]
// that reports how attempts went, and a [Worker] that makes the retries.
//
//	err := send(ctx, order)                          // the caller's own first try
//	if err != nil {
//		decision, err = c.ReportFailure(ctx, task, err)  // what becomes of it
//	}
//
//	ReportFailure ──> retryd ── waits ──> Worker ──> Handler ── nil ──> done
//	                    ▲                               │
//	                    └──────────── error ────────────┘
//
// # For operators
//
// [Client.Tasks], [Client.Queues], [Client.Groups], [Client.Jobs] and
// [Client.Policies] are the services through which people see and steer what is
// kept. [Client.AllTasks] and its like go through lists of any length, and
// [Client.ReplayAll] replays any number of dead letters, at a rate.
//
// # Errors
//
// Whatever a server refuses comes back as an [*Error] with a reason; compare it
// by errors.Is with [ErrLeaseLost] and its like, or read [ReasonOf]. It is a
// gRPC status too, for those who prefer status.FromError.
//
// # Repeats
//
// A call that meets an unavailable server, or one that asks to be left alone for
// a moment, is repeated with a growing, jittered pause until it works, its
// context ends, or [WithRetryTimeout] is over. That is done only where a repeat
// does no harm: reports carry an idempotency key, made once per call, or the
// token of their lease, and either lets the server recognise a repeat. What is
// repeated, and why, stands in one table, repeat.go.
//
// The package must import nothing of this module but gen, so that no server
// comes into its users' builds.
package client
