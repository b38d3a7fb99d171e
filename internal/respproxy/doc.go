// Package respproxy stands between clients of Redis and a server, and does to what
// passes what networks do: it loses the answer to a command that has been done,
// holds back one direction or both, delays, and cuts.
//
// It reads both directions as RESP2 or RESP3 and pairs each answer with its command,
// so that it can choose by command: a pipeline's answers stay in order, and what a
// server pushes answers nothing. A connection that turns into a stream of another
// kind (PSYNC, MONITOR) is copied as it comes from then on.
//
// It must import nothing of this module.
package respproxy
