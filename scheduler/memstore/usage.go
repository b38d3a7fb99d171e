package memstore

import (
	"bytes"
	"context"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// note is what a replica tells the others, until endMS.
type note struct {
	text  []byte
	endMS int64
}

// CountNamespaces returns what is counted of namespaces.
func (s *Store) CountNamespaces(_ context.Context, namespaces []string) ([]scheduler.NamespaceCount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]scheduler.NamespaceCount, len(namespaces))
	for i, namespace := range namespaces {
		for number := range s.shard {
			sh := &s.shard[number]
			sh.queues.Ascend(idOf(scheduler.QueueKey{Namespace: namespace}), func(id queueID, q *queue) bool {
				key := id.key()
				if key.Namespace != namespace {
					return false
				}
				out[i].Leased += q.leased
				out[i].Bytes = out[i].Bytes.Plus(q.bytes)
				out[i].Pending += sh.sizeOf(scheduler.IndexDue, key) + sh.sizeOf(scheduler.IndexHeld, key)
				return true
			})
		}
	}
	return out, nil
}

// ShareNote keeps a replica's note, and returns all that are kept.
func (s *Store) ShareNote(_ context.Context, replica string, text []byte, keep time.Duration) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nowMS := s.nowMS()
	s.notes[replica] = note{bytes.Clone(text), nowMS + keep.Milliseconds()}
	out := make(map[string][]byte)
	for name, n := range s.notes {
		if n.endMS <= nowMS {
			delete(s.notes, name)
			continue
		}
		out[name] = n.text
	}
	return out, nil
}
