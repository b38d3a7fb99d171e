package redisstore

import (
	"context"
	"strconv"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// queuesAtOnce is how many queues one script counts.
const queuesAtOnce = 200

// CountNamespaces returns what is counted of namespaces. What it tells of the queues
// that one script counts is of one moment.
func (s *Store) CountNamespaces(ctx context.Context, namespaces []string) ([]scheduler.NamespaceCount, error) {
	out := make([]scheduler.NamespaceCount, len(namespaces))
	calls := make([]*call, 0, len(namespaces)*s.Shards())
	of := make(map[*call]*scheduler.NamespaceCount, cap(calls))
	for i, namespace := range namespaces {
		for shard := range s.Shards() {
			c := s.countNamespace(s.keys.queues(shard), member(namespace, ""), "")
			of[c] = &out[i]
			calls = append(calls, c)
		}
	}
	for len(calls) > 0 {
		if err := s.runAll(ctx, calls); err != nil {
			return nil, err
		}
		var more []*call
		for _, c := range calls {
			last, ok := addNamespace(of[c], c.reply)
			if !ok {
				return nil, errReply
			}
			if last != "" {
				next := s.countNamespace(c.keys[0], c.args[0], last)
				of[next] = of[c]
				more = append(more, next)
			}
		}
		calls = more
	}
	return out, nil
}

func (s *Store) countNamespace(queues string, namespace any, last string) *call {
	return &call{script: s.scripts.countNamespace, keys: []string{queues}, args: []any{namespace, last, strconv.Itoa(queuesAtOnce)}}
}

// addNamespace adds what lua/count_namespace.lua says, and returns the last queue that
// it has counted, empty where there are no more.
func addNamespace(to *scheduler.NamespaceCount, reply []any) (last string, ok bool) {
	if len(reply) != 6 {
		return "", false
	}
	for i, n := range []*int64{&to.Pending, &to.Leased, &to.Bytes.UnderWay, &to.Bytes.Held, &to.Bytes.Dead} {
		counted, ok := reply[i].(int64)
		if !ok {
			return "", false
		}
		*n += counted
	}
	last, ok = reply[5].(string)
	return last, ok
}

// ShareNote keeps a replica's note, and returns all that are kept.
func (s *Store) ShareNote(ctx context.Context, replica string, note []byte, keep time.Duration) (map[string][]byte, error) {
	c := &call{
		script: s.scripts.shareNote,
		keys:   []string{s.keys.notes(), s.keys.noters()},
		args:   []any{s.nowArg(), replica, strconv.FormatInt(keep.Milliseconds(), 10), note},
	}
	s.run(ctx, c)
	// It is of no use to anybody once it is old, so that nothing is lost with it.
	if c.err != nil && !scheduler.IsUnconfirmed(c.err) {
		return nil, c.err
	}
	if len(c.reply)%2 != 0 {
		return nil, errReply
	}
	out := make(map[string][]byte, len(c.reply)/2)
	for i := 0; i < len(c.reply); i += 2 {
		name, ok1 := c.reply[i].(string)
		text, ok2 := c.reply[i+1].(string)
		if !ok1 || !ok2 {
			return nil, errReply
		}
		out[name] = []byte(text)
	}
	return out, nil
}
