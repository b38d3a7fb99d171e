package server

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// callPatience is how long a fuzzed call may take, also one that waits for an
// attempt.
const callPatience = 20 * time.Millisecond

// rest is how many calls a fuzzed server takes before another takes its place,
// so that no more tasks gather than are good for finding something.
const rest = 2000

// callee is a server whose methods are called without a wire between.
type callee struct {
	s      *Server
	served []served
	calls  int
}

// served is a service as it is registered.
type served struct {
	desc grpc.ServiceDesc
	impl any
}

func newCallee(tb testing.TB) *callee {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: log})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := New(Config{Log: log}, sched)
	if err != nil {
		tb.Fatal(err)
	}
	return &callee{s: s, served: []served{
		{retryv1.RetryService_ServiceDesc, &retryService{s: s}},
		{retryv1.PolicyService_ServiceDesc, &policyService{s: s}},
		{retryv1.JobService_ServiceDesc, &jobService{s: s}},
		{retryv1.TaskService_ServiceDesc, &taskService{s: s}},
		{retryv1.QueueService_ServiceDesc, &queueService{s: s}},
		{retryv1.GroupService_ServiceDesc, &groupService{s: s}},
	}}
}

// call makes the call of a number, counted over all services and round again.
func (c *callee) call(ctx context.Context, number byte, data []byte) (any, error) {
	all := 0
	for _, sv := range c.served {
		all += len(sv.desc.Methods)
	}
	n := int(number) % all
	for _, sv := range c.served {
		if n < len(sv.desc.Methods) {
			c.calls++
			return sv.desc.Methods[n].Handler(sv.impl, ctx, func(req any) error { return proto.Unmarshal(data, req.(proto.Message)) }, nil)
		}
		n -= len(sv.desc.Methods)
	}
	return nil, nil
}

// FuzzCalls makes any call with any bytes: whatever a client sends is answered, or
// refused by an error that is in the table.
func FuzzCalls(f *testing.F) {
	c := newCallee(f)
	f.Cleanup(func() { c.s.grpc.Stop() })
	n := byte(0)
	for _, sv := range c.served {
		service, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(sv.desc.ServiceName))
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range sv.desc.Methods {
			input := service.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(m.MethodName)).Input()
			kind, err := protoregistry.GlobalTypes.FindMessageByName(input.FullName())
			if err != nil {
				f.Fatal(err)
			}
			msg := kind.New()
			fill(msg, 5)
			data, err := proto.Marshal(msg.Interface())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(n, data)
			f.Add(n, []byte{})
			n++
		}
	}
	f.Fuzz(func(t *testing.T, n byte, data []byte) {
		if c.calls > rest {
			c.s.grpc.Stop()
			c = newCallee(t)
		}
		ctx, cancel := context.WithTimeout(t.Context(), callPatience)
		defer cancel()
		resp, err := c.call(ctx, n, data)
		if err == nil {
			if m, ok := resp.(proto.Message); ok {
				if _, err := proto.Marshal(m); err != nil {
					t.Errorf("the answer cannot be sent: %v", err)
				}
			}
			return
		}
		if errors.Is(err, proto.Error) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return
		}
		if r := c.s.failures.refusal(ctx, err); r.reason == "INTERNAL" {
			t.Errorf("refused for no reason of the table: %v", err)
		}
	})
}

// fill gives every field a value that may be right.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			entries := m.Mutable(f).Map()
			value := entries.NewValue()
			if f.MapValue().Message() == nil {
				value = scalar(f.MapValue())
			} else if depth > 0 {
				fill(value.Message(), depth-1)
			}
			entries.Set(protoreflect.ValueOfString("default").MapKey(), value)
		case f.IsList() && f.Message() != nil:
			if depth > 0 {
				list := m.Mutable(f).List()
				fill(list.AppendMutable().Message(), depth-1)
			}
		case f.IsList():
			m.Mutable(f).List().Append(scalar(f))
		case f.Message() != nil:
			if depth > 0 {
				fill(m.Mutable(f).Message(), depth-1)
			}
		default:
			m.Set(f, scalar(f))
		}
	}
}

// scalar is a value of a field's kind.
func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("default")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("payload"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(1)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(1)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(1)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(1)
	default:
		return protoreflect.ValueOfInt32(1)
	}
}

// FuzzSubscribeRequest holds the checks of a stream to what they say is fit.
func FuzzSubscribeRequest(f *testing.F) {
	token := scheduler.LeaseToken{Key: scheduler.TaskKey{Namespace: "default", ID: "t"}}.String()
	for _, r := range []*retryv1.SubscribeRequest{
		{},
		{Message: &retryv1.SubscribeRequest_Open{Open: &retryv1.Open{Queues: []string{"q", "r"}, MaxInFlight: 7, WorkerId: "w"}}},
		{Message: &retryv1.SubscribeRequest_Flow{Flow: &retryv1.Flow{MaxInFlight: 3}}},
		{Message: &retryv1.SubscribeRequest_Extend{Extend: &retryv1.Extend{LeaseTokens: []string{token, token}}}},
		{Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{LeaseToken: token, Result: &retryv1.Outcome_Failure{Failure: okFailure()}}}},
		{Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{LeaseToken: token, Result: &retryv1.Outcome_Success{}}}},
	} {
		data, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := new(retryv1.SubscribeRequest)
		if proto.Unmarshal(data, r) != nil {
			return
		}
		trim(r)
		if held := heldBy(r); held < 0 {
			t.Errorf("it holds %d bytes", held)
		}
		var c checker
		switch m := r.GetMessage().(type) {
		case *retryv1.SubscribeRequest_Open:
			o := c.open(m.Open)
			if c.err() == nil && (o.Namespace == "" || len(o.Queues) < 1 || len(o.Queues) > maxQueues || o.MaxInFlight < 1 || o.MaxInFlight > maxInFlight || o.Lease < time.Second) {
				t.Errorf("let through: %+v", o)
			}
		case *retryv1.SubscribeRequest_Flow:
			if c.flow(m.Flow); c.err() == nil && (m.Flow.GetMaxInFlight() < 0 || m.Flow.GetMaxInFlight() > maxInFlight) {
				t.Errorf("let through: %v", m.Flow)
			}
		case *retryv1.SubscribeRequest_Extend:
			c.extend(m.Extend.GetLeaseTokens(), m.Extend.GetLeaseDuration())
			for _, token := range m.Extend.GetLeaseTokens() {
				c.token("default", token)
			}
		case *retryv1.SubscribeRequest_Outcome:
			rep := c.outcomeReport("default", m.Outcome)
			if c.err() == nil && (rep.Token == "" || rep.Failure != nil && rep.Failure.Validate() != nil) {
				t.Errorf("let through: %+v", rep)
			}
		}
		for _, v := range c.violations {
			if v.Field == "" || v.Description == "" || len(v.Description) > 2000 {
				t.Errorf("violation %+v", v)
			}
		}
	})
}
