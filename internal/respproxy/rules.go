package respproxy

import "time"

// Rules say what a proxy does to what passes. The zero value lets all pass.
type Rules struct {
	// LoseReply is the share, from 0 to 1, of answers that are lost: the command has
	// been done by then, and the connection ends instead of the answer.
	LoseReply float64
	// Only says which commands LoseReply is for; nil means all.
	Only func(Command) bool
	// Delay is how long each answer is held back. Answers of a pipeline are held at
	// the same time, not one after the other.
	Delay time.Duration
	// HoldRequests and HoldReplies let nothing pass in that direction, on connections
	// that are there and on new ones, as a partition does; what was held goes on when
	// they are switched off.
	HoldRequests, HoldReplies bool
	// Refuse ends new connections at once.
	Refuse bool
}

// Scripts are the commands that run a script.
func Scripts(c Command) bool {
	switch c.Name {
	case "EVAL", "EVALSHA", "FCALL":
		return true
	}
	return false
}

// Named returns a choice of the commands of a name, in upper case.
func Named(name string) func(Command) bool {
	return func(c Command) bool { return c.Name == name }
}

// Counts are what a proxy has done so far.
type Counts struct {
	// Connections were taken, Commands passed on to the server, Replies to clients.
	Connections, Commands, Replies int64
	// Lost are answers that were lost to commands that had been done.
	Lost int64
	// Unread are connections that ended since what came by them could not be read.
	Unread int64
}
