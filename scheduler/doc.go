// Package scheduler owns the life of a task: it judges reports, keeps what is to
// happen when, and hands attempts out the moment they fall due.
//
//	ReportBatch ──> commit ──> judge ──> policy.Decide       what it means
//	                  │  ▲
//	                  ▼  │ the task has changed: judge again
//	                Store.Commit                              keep it, if still so
//	                  │
//	                  ▼ moved
//	dispatcher: sleep to the next due ── deal credit ── Store.Claim ── admit ──> Subscription
//	                  ▲
//	                  └── hints of other replicas, and a look once a second
//
//	(new) ──> SCHEDULED <──> LEASED ──> SUCCEEDED
//	              │  ▲          │
//	              │  └── HELD <─┤       CANCELLED, DISCARDED
//	              └──> DEAD <───┘
//
// Everything is decided here, in Go, on the state that the engine believes in;
// the [Store] only writes if that state is still so. Time is the store's clock,
// as int64 Unix milliseconds; durations and times of day become so at the
// server's edge. A [Task] is immutable once a store has seen it.
//
// It must import nothing of this module but policy: stores and servers import
// it.
package scheduler
