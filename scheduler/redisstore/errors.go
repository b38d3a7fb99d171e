package redisstore

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

const (
	// unavailableDelay is how long a caller waits before it asks again while Redis
	// is away: about as long as a lost packet, and short beside a failover.
	unavailableDelay = 200 * time.Millisecond
	// fullDelay is how long it waits when memory is full, which takes people or the
	// end of many tasks to change.
	fullDelay = 5 * time.Second
)

// temporary begin the replies of a server that cannot serve now and will again.
// The engine repeats what was refused, under the same operation id.
var temporary = []string{
	"ASK ", "BUSY ", "CLUSTERDOWN ", "LOADING ", "MASTERDOWN ", "MISCONF ", "MOVED ",
	"NOREPLICAS ", "READONLY ", "TRYAGAIN ", "ERR max number of clients reached",
	// The credentials may be in the middle of being changed, and are for operators
	// to see, not for callers.
	"NOAUTH ", "NOPERM ", "WRONGPASS ",
}

// nonLocal is in the reply of a Cluster's node when a script touches a key of a
// slot that is moving away; it has no code of its own. The scripts have written
// nothing by then.
const nonLocal = "non local key"

// isReply says whether err is what the server answered, and not a failure to get
// an answer.
func isReply(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok
}

// isTyped says whether err is one that the port or this package has named.
func isTyped(err error) bool {
	_, unfit := errors.AsType[*UnfitError](err)
	return unfit || kindOf(err) != scheduler.KindUnspecified
}

// failure turns an error of go-redis into one of the port.
func (s *Store) failure(what string, err error) error {
	if s.cfg.Observer != nil {
		s.cfg.Observer.Failed(kindOfFailure(err))
	}
	if !isReply(err) {
		// Connections, time-outs, pools, Sentinels that know of no master, the
		// caller's own context: whatever it was, no answer came.
		return unavailable(fmt.Errorf("redis: %s: %w", what, err))
	}
	text := err.Error()
	if redis.IsOOMError(err) || strings.HasPrefix(text, "OOM ") {
		return full(fmt.Errorf("redis: %s: %w", what, err))
	}
	for _, t := range temporary {
		if strings.HasPrefix(text, t) {
			return unavailable(fmt.Errorf("redis: %s: %w", what, err))
		}
	}
	if strings.Contains(text, nonLocal) {
		return unavailable(fmt.Errorf("redis: %s: %w", what, err))
	}
	return fmt.Errorf("redis: %s: %w", what, err)
}

func unavailable(cause error) *scheduler.Error {
	return &scheduler.Error{
		Kind:       scheduler.KindUnavailable,
		Message:    "the store does not answer; try again with the same request",
		RetryDelay: unavailableDelay,
		Cause:      cause,
	}
}

func full(cause error) *scheduler.Error {
	return &scheduler.Error{
		Kind:       scheduler.KindFull,
		Message:    "the store is full and takes no new tasks until some have ended",
		RetryDelay: fullDelay,
		Cause:      cause,
	}
}

// unconfirmed is the error beside an answer that stands, but for which too few
// replicas have what it rests on.
func unconfirmed(cause error) *scheduler.Error {
	return &scheduler.Error{
		Kind:       scheduler.KindUnconfirmed,
		Message:    "it is written, but too few replicas have confirmed it; try again with the same request",
		RetryDelay: unconfirmedDelay,
		Cause:      cause,
	}
}

// isFull says whether a call was refused because memory is full.
func isFull(err error) bool { return kindOf(err) == scheduler.KindFull }

// isUnavailable says whether a call was not answered.
func isUnavailable(err error) bool { return kindOf(err) == scheduler.KindUnavailable }

func kindOf(err error) scheduler.Kind {
	if e, ok := errors.AsType[*scheduler.Error](err); ok {
		return e.Kind
	}
	return scheduler.KindUnspecified
}

// errReply is returned for an answer that has not the form that the script gives
// it.
var errReply = errors.New("redis: a script's answer is not understood")
