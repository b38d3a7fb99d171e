package redisstore

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// FuzzReplies answers what the store asks with whatever a Redis, or what stands in
// its place, may say: it is read, or refused, and nothing else.
func FuzzReplies(f *testing.F) {
	record, err := appendRecord(nil, &scheduler.Task{Key: scheduler.TaskKey{Namespace: "n", ID: "t"}, State: scheduler.StateScheduled, Spec: scheduler.Spec{Queue: "q"}})
	if err != nil {
		f.Fatal(err)
	}
	kept, err := encodePolicy(&scheduler.PolicyRecord{Namespace: "n", Policy: policy.Policy{ID: "p"}, Revision: 1})
	if err != nil {
		f.Fatal(err)
	}
	name := member("n", "t")
	for _, reply := range [][]any{
		{},
		{int64(7), "d"},
		{int64(7), "C", string(record)},
		{int64(7), []any{"9", int64(1), int64(1), []any{name, string(record)}, []any{name, "x"}}},
		{int64(7), "9", name, "9", string(record)},
		{int64(7), name, "9"},
		{"0", int64(1), int64(2), int64(3), "9", int64(5), int64(6), nil, []any{"1", nil}},
		{kept},
		{string(record), nil},
	} {
		for op := range operations() {
			f.Add(byte(op), appendReply(nil, reply))
		}
	}
	f.Fuzz(func(t *testing.T, op byte, data []byte) {
		s, err := New(Config{URL: "redis://127.0.0.1:1", Shards: 1, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		r := &replies{data: data}
		s.client.AddHook(r)
		all := operations()
		all[int(op)%len(all)](t, s)
	})
}

// operations are what a store is asked for whose answer takes some reading.
func operations() []func(t *testing.T, s *Store) {
	ctx := context.Background()
	queue := scheduler.QueueKey{Namespace: "n", Name: "q"}
	key := scheduler.TaskKey{Namespace: "n", ID: "t"}
	return []func(t *testing.T, s *Store){
		func(t *testing.T, s *Store) {
			t.Helper()
			task := &scheduler.Task{Key: key, State: scheduler.StateScheduled, Spec: scheduler.Spec{Queue: "q"}}
			got := s.Commit(ctx, []scheduler.Change{{Key: key, Task: task}})
			if len(got) != 1 || got[0].Err == nil && got[0].Status == scheduler.CommitDone && got[0].Task == nil {
				t.Errorf("committed: %+v", got)
			}
		},
		func(t *testing.T, s *Store) {
			t.Helper()
			got := s.Claim(ctx, []scheduler.Claim{{ID: 1, Replica: "r", Queue: queue, Slots: []scheduler.Slot{{Count: 2, LeaseMS: 1000}}, Nonces: []uint64{1, 2}}})
			for _, task := range got[0].Tasks {
				if task == nil {
					t.Error("claimed nothing at all")
				}
			}
		},
		func(t *testing.T, s *Store) {
			t.Helper()
			for _, got := range s.Load(ctx, []scheduler.TaskKey{key}) {
				if got.Task != nil && got.Err != nil {
					t.Errorf("loaded: %+v", got)
				}
			}
		},
		func(_ *testing.T, s *Store) { _, _ = s.Due(ctx, queue, 0, scheduler.Place{}, 2) },
		func(_ *testing.T, s *Store) { _, _ = s.Ending(ctx, 0, scheduler.Place{}, 2) },
		func(t *testing.T, s *Store) {
			t.Helper()
			ix := scheduler.Index{Kind: scheduler.IndexDue, Namespace: "n", Name: "q"}
			if got := s.Browse(ctx, []scheduler.Part{{Index: ix, Limit: 2}}); len(got) != 1 {
				t.Errorf("browsed: %+v", got)
			}
		},
		func(_ *testing.T, s *Store) { _, _ = s.CountQueues(ctx, []scheduler.QueueKey{queue}) },
		func(_ *testing.T, s *Store) { _, _ = s.Heads(ctx, []scheduler.QueueKey{queue}) },
		func(_ *testing.T, s *Store) { _, _ = s.Queues(ctx, 0, scheduler.QueueKey{}, 2) },
		func(_ *testing.T, s *Store) { _, _ = s.DueQueues(ctx, 0, 0, 2) },
		func(_ *testing.T, s *Store) { _, _ = s.DeadLetterGroups(ctx, queue) },
		func(_ *testing.T, s *Store) {
			_, _, _ = s.Group(ctx, scheduler.GroupKey{Namespace: "n", Name: "g"})
		},
		func(_ *testing.T, s *Store) { _, _ = s.ForgetGroups(ctx, 0, 1, 2) },
		func(_ *testing.T, s *Store) {
			s.CheckLeases(ctx, []scheduler.LeaseCheck{{Key: key}})
		},
		func(_ *testing.T, s *Store) { _, _ = s.Policies(ctx, "n") },
		func(_ *testing.T, s *Store) { _, _, _ = s.Jobs(ctx, "n") },
		func(_ *testing.T, s *Store) { _, _ = s.Policy(ctx, "n", "p") },
		func(_ *testing.T, s *Store) { _ = s.Check(ctx) },
	}
}

// replies takes Redis's place: it answers every command with the next of what it
// was made of, and with nothing once that is used up.
type replies struct{ data []byte }

func (r *replies) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }
}

func (r *replies) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		r.answer(cmd)
		return cmd.Err()
	}
}

func (r *replies) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			r.answer(cmd)
		}
		return nil
	}
}

// answer gives a command a reply of the kind that it reads, which go-redis has seen
// to by then; and of Redis's own commands those that answer for each field that they
// were asked for do.
func (r *replies) answer(cmd redis.Cmder) {
	switch cmd := cmd.(type) {
	case *redis.Cmd:
		cmd.SetVal(r.list())
	case *redis.SliceCmd:
		list := r.list()
		fields := make([]any, len(cmd.Args())-2)
		copy(fields, list)
		cmd.SetVal(fields)
	case *redis.FloatSliceCmd:
		scores := make([]float64, len(cmd.Args())-2)
		for i := range scores {
			scores[i] = float64(r.number())
		}
		cmd.SetVal(scores)
	case *redis.StringCmd:
		cmd.SetVal(r.text())
	case *redis.StringSliceCmd:
		cmd.SetVal(r.texts())
	case *redis.MapStringStringCmd:
		texts := r.texts()
		m := make(map[string]string)
		for i := 0; i+1 < len(texts); i += 2 {
			m[texts[i]] = texts[i+1]
		}
		cmd.SetVal(m)
	case *redis.ScanCmd:
		cmd.SetVal(r.texts(), 0)
	case *redis.ZSliceCmd:
		var zs []redis.Z
		for _, member := range r.texts() {
			zs = append(zs, redis.Z{Score: float64(r.number()), Member: member})
		}
		cmd.SetVal(zs)
	case *redis.IntCmd:
		cmd.SetVal(r.number())
	}
}

// The kinds of values in a reply's spelling.
const (
	isNil = iota
	isNumber
	isText
	isList
	kinds
)

// appendReply spells a reply such that a fuzzer can change it a little.
func appendReply(b []byte, list []any) []byte {
	b = append(b, byte(len(list)))
	for _, v := range list {
		switch v := v.(type) {
		case int64:
			b = binary.AppendVarint(append(b, isNumber), v)
		case string:
			b = append(binary.AppendUvarint(append(b, isText), uint64(len(v))), v...)
		case []any:
			b = appendReply(append(b, isList), v)
		default:
			b = append(b, isNil)
		}
	}
	return b
}

func (r *replies) byte() byte {
	if len(r.data) == 0 {
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *replies) number() int64 {
	v, n := binary.Varint(r.data)
	r.data = r.data[max(0, min(n, len(r.data))):]
	return v
}

func (r *replies) text() string {
	v, n := binary.Uvarint(r.data)
	r.data = r.data[max(0, min(n, len(r.data))):]
	end := int(min(v, uint64(len(r.data)))) //nolint:gosec // no longer than what is there
	text := string(r.data[:end])
	r.data = r.data[end:]
	return text
}

func (r *replies) texts() []string {
	var out []string
	for _, v := range r.list() {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func (r *replies) list() []any {
	out := make([]any, 0, 4)
	for range r.byte() {
		switch r.byte() % kinds {
		case isNumber:
			out = append(out, r.number())
		case isText:
			out = append(out, r.text())
		case isList:
			out = append(out, r.list())
		default:
			out = append(out, nil)
		}
		if len(r.data) == 0 {
			break
		}
	}
	return out
}
