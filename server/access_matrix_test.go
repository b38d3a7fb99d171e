package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// matrix is who may call what, as the design has it: whoever is named may in a
// namespace of its own, and nobody may in another.
const matrix = `
grpc.health.v1.Health/Check: everybody
grpc.health.v1.Health/List: everybody
grpc.health.v1.Health/Watch: everybody
grpc.reflection.v1.ServerReflection/ServerReflectionInfo: any identity
grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo: any identity
retry.v1.GroupService/DeleteGroup: operator admin
retry.v1.GroupService/GetGroup: reporter operator admin
retry.v1.JobService/CreateJob: admin
retry.v1.JobService/DeleteJob: admin
retry.v1.JobService/GetJob: reporter operator admin
retry.v1.JobService/ListJobs: reporter operator admin
retry.v1.JobService/UpdateJob: admin
retry.v1.PolicyService/CreatePolicy: admin
retry.v1.PolicyService/DeletePolicy: admin
retry.v1.PolicyService/GetPolicy: reporter operator admin
retry.v1.PolicyService/ListPolicies: reporter operator admin
retry.v1.PolicyService/PreviewPolicy: reporter operator admin
retry.v1.PolicyService/UndeletePolicy: admin
retry.v1.PolicyService/UpdatePolicy: admin
retry.v1.QueueService/GetQueue: operator admin
retry.v1.QueueService/ListQueues: operator admin
retry.v1.QueueService/PauseQueue: operator admin
retry.v1.QueueService/ResumeQueue: operator admin
retry.v1.RetryService/BatchReport: reporter worker admin
retry.v1.RetryService/ExtendLease: reporter worker admin
retry.v1.RetryService/NextAttempt by queue: worker admin
retry.v1.RetryService/NextAttempt by task_id: reporter worker admin
retry.v1.RetryService/ReleaseLease: reporter worker admin
retry.v1.RetryService/ReportFailure: reporter worker admin
retry.v1.RetryService/ReportSuccess: reporter worker admin
retry.v1.RetryService/Subscribe with observe, extend on it: worker admin
retry.v1.RetryService/Subscribe with observe, outcome on it: worker admin
retry.v1.RetryService/Subscribe with observe: worker operator admin
retry.v1.RetryService/Subscribe: worker admin
retry.v1.ServerService/GetServerInfo: any identity
retry.v1.TaskService/CancelTask: operator admin
retry.v1.TaskService/DiscardTask: operator admin
retry.v1.TaskService/DiscardTasks: operator admin
retry.v1.TaskService/GetTask: reporter operator admin
retry.v1.TaskService/ListDeadLetterGroups: operator admin
retry.v1.TaskService/ListTasks: operator admin
retry.v1.TaskService/ReleaseHeld: operator admin
retry.v1.TaskService/ReplayTask: operator admin
retry.v1.TaskService/ReplayTasks: operator admin
retry.v1.TaskService/Reschedule: operator admin
retry.v1.TaskService/RetryNow: operator admin
`

func TestAccessMatrix(t *testing.T) {
	t.Parallel()
	s := accessSite(t)
	callers := []string{"", "stranger", "reporter", "worker", "operator", "admin"}
	conns := make(map[string]*grpc.ClientConn)
	for _, name := range callers {
		conns[name] = s.as(name)
	}
	var got []string
	for _, m := range served() {
		for _, c := range casesOf(m) {
			var may []string
			for _, name := range callers {
				err := c.call(s.ctx(), conns[name], m, own)
				if allowed(t, err, name) {
					may = append(may, name)
				}
				err = c.call(s.ctx(), conns[name], m, foreign)
				if c.namespaced() && allowed(t, err, name) {
					t.Errorf("%s: %q may do it in a namespace that is not its own", c.name, name)
				}
			}
			got = append(got, c.name+": "+whom(may))
		}
	}
	slices.Sort(got)
	if want := strings.TrimSpace(matrix); strings.Join(got, "\n") != want {
		t.Errorf("who may call what:\n%s\nwant:\n%s", strings.Join(got, "\n"), want)
	}
}

// allowed tells whether a call was let through, and checks how it was told if not.
func allowed(t *testing.T, err error, name string) bool {
	t.Helper()
	switch code := status.Code(err); {
	case code == codes.Unauthenticated && (name != "" || tell(err).reason != "UNAUTHENTICATED"),
		code == codes.PermissionDenied && (name == "" || tell(err).reason != "PERMISSION_DENIED"),
		code == codes.Internal, code == codes.Unimplemented, code == codes.Unavailable:
		t.Errorf("%q is answered %v", name, err)
		return false
	default:
		return code != codes.Unauthenticated && code != codes.PermissionDenied
	}
}

func whom(may []string) string {
	switch strings.Join(may, " ") {
	case " stranger reporter worker operator admin":
		return "everybody"
	case "stranger reporter worker operator admin":
		return "any identity"
	default:
		return strings.Join(may, " ")
	}
}

// served are all methods that a server has, from the descriptors.
func served() []protoreflect.MethodDescriptor {
	var out []protoreflect.MethodDescriptor
	names := append(services(), "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
	for _, name := range names {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			continue
		}
		for methods, i := d.(protoreflect.ServiceDescriptor).Methods(), 0; i < methods.Len(); i++ {
			out = append(out, methods.Get(i))
		}
	}
	return out
}

// accessCase is a method, or the part of it for which there is a rule of its own.
type accessCase struct {
	name string
	// first is the first message; then are those that follow, the last of which ends
	// what would go on.
	first func() proto.Message
	then  []proto.Message
}

// casesOf are the cases of a method: what a request says that makes a difference.
func casesOf(m protoreflect.MethodDescriptor) []accessCase {
	name := string(m.Parent().FullName()) + "/" + string(m.Name())
	switch name {
	case "retry.v1.RetryService/NextAttempt":
		return []accessCase{
			{name: name + " by task_id", first: func() proto.Message {
				return &retryv1.NextAttemptRequest{Target: &retryv1.NextAttemptRequest_TaskId{TaskId: "t"}}
			}},
			{name: name + " by queue", first: func() proto.Message {
				return &retryv1.NextAttemptRequest{Target: &retryv1.NextAttemptRequest_Queue{Queue: "q"}}
			}},
		}
	case "retry.v1.RetryService/Subscribe":
		open := func(observe bool) func() proto.Message {
			return func() proto.Message {
				return &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: &retryv1.Open{Queues: []string{"q"}, Observe: observe}}}
			}
		}
		outcome := &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{LeaseToken: "x"}}}
		extend := &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Extend{Extend: &retryv1.Extend{LeaseTokens: []string{"x"}}}}
		end := &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Flow{Flow: &retryv1.Flow{MaxInFlight: -1}}}
		return []accessCase{
			{name: name, first: open(false), then: []proto.Message{end}},
			{name: name + " with observe", first: open(true), then: []proto.Message{end}},
			{name: name + " with observe, outcome on it", first: open(true), then: []proto.Message{outcome, end}},
			{name: name + " with observe, extend on it", first: open(true), then: []proto.Message{extend, end}},
		}
	}
	return []accessCase{{name: name, first: func() proto.Message { return newMessage(m.Input()) }}}
}

func newMessage(d protoreflect.MessageDescriptor) proto.Message {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		return nil
	}
	return t.New().Interface()
}

func (c *accessCase) namespaced() bool { return setNamespace(c.first().ProtoReflect(), own) }

// setNamespace sets the namespace that a message names, or one in it does that
// is there.
func setNamespace(m protoreflect.Message, namespace string) (set bool) {
	if f := m.Descriptor().Fields().ByName("namespace"); f != nil {
		m.Set(f, protoreflect.ValueOfString(namespace))
		return true
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() != nil && !f.IsList() && !f.IsMap() {
			set = setNamespace(v.Message(), namespace)
		}
		return !set
	})
	return set
}

// call makes the call, as far as the first answer.
func (c *accessCase) call(ctx context.Context, conn *grpc.ClientConn, m protoreflect.MethodDescriptor, namespace string) error {
	msg := c.first()
	setNamespace(msg.ProtoReflect(), namespace)
	full := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	answer := newMessage(m.Output())
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return conn.Invoke(ctx, full, msg, answer)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, full)
	if err != nil {
		return err
	}
	for _, msg := range append([]proto.Message{msg}, c.then...) {
		// What a stream has been ended for is told by what is received.
		if err := stream.SendMsg(msg); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(answer)
}

// Every place where a request can name a namespace is known to the rules: a new
// one would be a way around them.
func TestWhereRequestsNameNamespaces(t *testing.T) {
	t.Parallel()
	odd := make(map[string]bool)
	for _, m := range served() {
		if !strings.HasPrefix(string(m.FullName()), "retry.v1.") {
			continue
		}
		for _, path := range namespacesIn(m.Input(), "", nil) {
			if path != "namespace" {
				odd[string(m.Name())+" "+path] = true
			}
		}
	}
	want := []string{
		"BatchReport reports.failure.namespace", "BatchReport reports.success.namespace", "Subscribe open.namespace",
	}
	if got := slices.Sorted(maps.Keys(odd)); !slices.Equal(got, want) {
		t.Errorf("namespaces are named in %q, want %q; package access has to look at each", got, want)
	}
}

func namespacesIn(d protoreflect.MessageDescriptor, at string, within []protoreflect.FullName) []string {
	if slices.Contains(within, d.FullName()) {
		return nil
	}
	within = append(slices.Clone(within), d.FullName())
	var out []string
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		path := at + string(f.Name())
		if strings.Contains(string(f.Name()), "namespace") {
			out = append(out, path)
		}
		if f.Message() != nil {
			out = append(out, namespacesIn(f.Message(), path+".", within)...)
		}
	}
	return out
}
