// Package server is the gRPC face of the service: it serves RetryService and
// PolicyService over a [scheduler.Scheduler].
//
//	listener ── cap on connections
//	   │
//	   ▼
//	wiring (server.go): stats, log, recovery, deadline
//	   │
//	   ├── unary:  check (check_*.go) ── call the scheduler ── map (wire)
//	   │
//	   └── Subscribe: receiver ── inbox ── settler ── results ── sender
//	                     │ flow                                    ▲
//	                     ▼                                         │
//	                  Subscription ───── attempts, drain ──────────┘
//
// It owns the limits of a connection, the checks of requests, the one error
// table (errors.go), and how streams and the process come to an end. What a
// request means is not its business: that is the scheduler's. Of this module it
// must import nothing but the generated code, scheduler, policy and its own
// package wire.
package server
