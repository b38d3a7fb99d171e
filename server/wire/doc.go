// Package wire turns the messages of retry.v1 into the domain's types and back:
// times into Unix milliseconds, durations into [time.Duration], enums into their
// counterparts, and policies without any loss.
//
// It computes only. What it is given by way of requests has been checked, but
// for policies, which come from files too, and for enums: [PolicyFromProto] and
// [UnreadableFailure] say what of them cannot be expressed. It must import nothing of the transport, so that commands
// may use it without a server.
package wire
