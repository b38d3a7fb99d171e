package redisstore

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Observer is told of calls to Redis, for metrics. Its methods are called concurrently
// and must return at once.
type Observer interface {
	// ScriptRan is told how long a script's answer took, with all that was sent together
	// with it, once for each script of a pipeline. It may have failed.
	ScriptRan(script string, took time.Duration)
	// Failed is told of each answer that was an error, or did not come: kind is one of
	// ErrorKinds.
	Failed(kind string)
}

// The kinds of error of a Redis.
const (
	errorTimeout    = "timeout"
	errorConnection = "connection"
	errorCancelled  = "cancelled"
	errorFull       = "oom"
	errorReadOnly   = "readonly"
	errorLoading    = "loading"
	errorCluster    = "cluster"
	errorBusy       = "busy"
	errorReplicas   = "noreplicas"
	errorAccess     = "access"
	errorOther      = "other"
)

// ErrorKinds are all that an [Observer] is told of: no answer in time; no connection;
// the caller has gone before there was one; memory is full; a replica that takes no
// writes; a server that reads its data in; slots of a Cluster that are moving or down; a
// server that is busy with a script, has too many clients, or cannot write to its disk;
// too few replicas; credentials or rights that are refused; anything else.
func ErrorKinds() []string {
	return []string{
		errorTimeout, errorConnection, errorCancelled, errorFull, errorReadOnly, errorLoading, errorCluster, errorBusy,
		errorReplicas, errorAccess, errorOther,
	}
}

// ScriptNames are the names of all scripts.
func ScriptNames() []string {
	scripts := newScripts(false)
	var names []string
	for _, sc := range scripts.all() {
		names = append(names, sc.name)
	}
	return names
}

// ran tells the observer of calls that were sent together.
func (s *Store) ran(calls []*call, since time.Time) {
	took := time.Since(since)
	for i, c := range calls {
		if i == 0 || c.script != calls[i-1].script {
			s.cfg.Observer.ScriptRan(c.script.name, took)
		}
	}
}

// replyKind is the kind of an error by what the server has answered.
func replyKind(text string) string {
	prefix, _, _ := strings.Cut(text, " ")
	switch prefix {
	case "OOM":
		return errorFull
	case "READONLY":
		return errorReadOnly
	case "LOADING", "MASTERDOWN":
		return errorLoading
	case "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "CROSSSLOT":
		return errorCluster
	case "BUSY", "MISCONF":
		return errorBusy
	case "NOREPLICAS":
		return errorReplicas
	case "NOAUTH", "NOPERM", "WRONGPASS":
		return errorAccess
	}
	switch {
	case strings.Contains(text, nonLocal):
		return errorCluster
	case strings.Contains(text, "max number of clients"):
		return errorBusy
	default:
		return errorOther
	}
}

// kindOfFailure is the kind of an error of go-redis.
func kindOfFailure(err error) string {
	if isReply(err) {
		if redis.IsOOMError(err) {
			return errorFull
		}
		return replyKind(err.Error())
	}
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return errorCancelled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout),
		errors.As(err, &network) && network.Timeout():
		return errorTimeout
	default:
		// No connection, one that broke, Sentinels that know of no master.
		return errorConnection
	}
}
