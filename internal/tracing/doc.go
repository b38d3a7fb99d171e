// Package tracing makes OpenTelemetry spans of what becomes of tasks, and exports them
// by OTLP. See docs/tracing.md for the picture.
//
//	caller's own span
//	└─ retry.v1.RetryService/ReportFailure     Call
//	   ├─ decide                               Reported
//	   ├─ wait QUEUE                           HandOut
//	   └─ hand out QUEUE                       HandOut, goes out with the attempt
//	      ├─ the worker's own span
//	      └─ outcome QUEUE                     Reported
//	         └─ decide
//
// It looks on: the server tells it of calls and hand-outs, and the scheduler of
// decisions. Nothing waits for it. Neither of them imports it.
package tracing
