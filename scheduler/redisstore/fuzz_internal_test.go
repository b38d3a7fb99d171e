package redisstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"time"

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
		{"r", `{"n":{"r":1.5,"s":2}}`, "x", "junk"},
		{int64(1), int64(2), int64(3), int64(4), int64(5), "q"},
	} {
		for op := range operations() {
			f.Add(byte(op), appendReply(nil, reply))
		}
	}
	// The auditor is told what the server is, which keys it has, and what is in them.
	walk := appendReply([]byte{0}, []any{"retryd:{0}:t:n,t", "retryd:{0}:heads", "retryd:{0}:due:n,q", "retryd:{0}:fps:n,q", "retryd:{0}:groups", "retryd:{0}:count:n,q"})
	walk = append(binary.AppendUvarint(walk, uint64(len(record))), record...)
	f.Add(byte(len(operations())-1), walk)
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
		func(t *testing.T, s *Store) {
			t.Helper()
			// What other replicas note is read by the scheduler.
			sched, err := scheduler.New(s, scheduler.Config{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := sched.SetQuotas(scheduler.Quotas{Namespaces: map[string]scheduler.Quota{"n": {scheduler.QuotaStreams: 3}}}); err != nil {
				t.Fatal(err)
			}
			leave, err := sched.EnterStream(ctx, "n")
			if (leave == nil) != (err != nil) {
				t.Errorf("entered with error %v, and can leave: %t", err, leave != nil)
			}
			if uses := sched.QuotaUses(); len(uses) != 1 || uses[0].Namespace != "n" {
				t.Errorf("used: %+v", uses)
			}
		},
		func(_ *testing.T, s *Store) { _, _ = s.CountNamespaces(ctx, []string{"n"}) },
		func(_ *testing.T, s *Store) { _, _ = s.AuditTurn(ctx, "r", time.Second) },
		func(t *testing.T, s *Store) {
			t.Helper()
			// Every key and every name that it is told of is looked at in a few passes.
			const passes = 10_000
			walk := s.Audit()
			for range passes {
				if pass, err := walk.Pass(ctx); pass.Done || err != nil {
					return
				}
			}
			t.Errorf("the auditor has not come to an end in %d passes", passes)
		},
	}
}

// FuzzHints takes hints apart that anybody on the channel may have published: each that
// is told stands in the message as a replica would write it.
func FuzzHints(f *testing.F) {
	s, err := New(Config{URL: "redis://127.0.0.1:1", Shards: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	one := appendHint(nil, 1, 1234, member("n", "q"))
	for _, hints := range [][]byte{nil, one, appendHint(one, math.MaxUint16, 1<<48-1, member("n,%:", "")), one[:len(one)-1], appendHint(one, 0, 0, "x")} {
		f.Add(append([]byte("somebody"), hints...))
	}
	f.Add(append(s.id[:], one...))
	f.Fuzz(func(t *testing.T, message []byte) {
		at := hintIDBytes
		s.deliver(string(message), func(h scheduler.Hint) {
			end := at + hintHead + int(binary.BigEndian.Uint16(message[at+hintHead-2:]))
			name := string(message[at+hintHead : end])
			if !bytes.Equal(appendHint(nil, h.Shard, h.DueMS, name), message[at:end]) {
				t.Errorf("%q is read as %+v", message[at:end], h)
			}
			if namespace, queue, err := splitMember(name); err != nil || h.Queue != (scheduler.QueueKey{Namespace: namespace, Name: queue}) {
				t.Errorf("%q is read as %+v, error %v", name, h.Queue, err)
			}
			at = end
		})
		if at > hintIDBytes && bytes.HasPrefix(message, s.id[:]) {
			t.Error("told of its own")
		}
	})
}

// hintHead is how long a hint is but for its queue's name.
const hintHead = 2 + 6 + 2

// appendHint writes a hint as lua/commit.lua does.
func appendHint(b []byte, shard int, dueMS int64, queue string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(shard))                           //nolint:gosec // it came of one
	b = append(b, binary.BigEndian.AppendUint64(nil, uint64(dueMS))[2:]...)       //nolint:gosec // it is no less than 0
	return append(binary.BigEndian.AppendUint16(b, uint16(len(queue))), queue...) //nolint:gosec // no longer than what it came of
}

// FuzzInfo reads what a server says of itself, its replicas and its Cluster.
func FuzzInfo(f *testing.F) {
	for _, text := range []string{
		"", "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n" +
			"slave0:ip=127.0.0.1,port=1,state=online,offset=70,lag=0\r\nslave1:ip=127.0.0.1,port=2,state=online,offset=0,lag=99\r\n",
		"run_id:x\naof_enabled:1\nslave0:\nslave1:state=online,lag=-1\n",
		"aa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-99 [100->-bb]\nbb 127.0.0.1:3@4 slave aa 0 0 1 connected\n",
		"aa x myself,slave y 0 0 1 disconnected\ncc : master - 0 0 1 connected 5\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		info := infoOf(text)
		connected, loaded, inStep := replicasOf(info)
		if most := strings.Count(text, "slave"); connected > most || len(loaded) > connected || inStep > connected {
			t.Errorf("%q has %d replicas, %d loaded and %d in step", text, connected, len(loaded), inStep)
		}
		if level := diskLevel(nil, info); level > scheduler.DurabilityMemory {
			t.Errorf("by %q alone what is on disk is taken for %s", text, level)
		}
		v := parseNodes(text)
		if v.run != "" || v.id == "" && (v.own != "" || v.moving) {
			t.Errorf("%q is read as %+v", text, v)
		}
		for name := range strings.FieldsSeq(v.masters + " " + v.id) {
			if !strings.Contains(text, name) {
				t.Errorf("%q names no node %q", text, name)
			}
		}
	})
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
	case *redis.FloatCmd:
		cmd.SetVal(float64(r.number()))
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
