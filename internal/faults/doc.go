// Faults runs retryd as real processes on a real Redis, breaks things under load, and
// shows that what must never happen has not: `make faults`, or
//
//	go run ./internal/faults [-only F1,F8] [-topology standalone,sentinel,cluster] [-seed N] [-short] [-out DIR] [-retryd BIN]
//
// For each fault and topology it starts a Redis, three `retryd serve` and workers of
// processes of their own, reports failures through the public client at a steady
// rate, injects the fault by process id or through a proxy, lets everything drain,
// and holds what was acknowledged, handed out and finished against the invariants
// I1 to I9 (see docs/reliability.md). It prints a row of figures for each, and ends
// with status 1 when anything was broken.
//
// A fault is a [Fault] in a file of its own, named in the list in registry.go.
package main
