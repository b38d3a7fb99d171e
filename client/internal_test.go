package client

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func TestStaysHere(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]bool{
		"localhost:7600":                 true,
		"LOCALHOST:7600":                 true,
		"127.0.0.1:7600":                 true,
		"127.9.9.9:1":                    true,
		"[::1]:7600":                     true,
		"::1":                            true,
		"localhost":                      true,
		"dns:///localhost:7600":          true,
		"dns://8.8.8.8/127.0.0.1:1":      true,
		"passthrough:///127.0.0.1:7600":  true,
		"unix:/run/retryd.sock":          true,
		"unix:///run/retryd.sock":        true,
		"unix-abstract:retryd":           true,
		"retryd:7600":                    false,
		"localhost.example.com:7600":     false,
		"127.0.0.1.example.com:7600":     false,
		"10.0.0.1:7600":                  false,
		"[2001:db8::1]:7600":             false,
		"dns:///retryd.example.com:7600": false,
		"dns://127.0.0.1/retryd:7600":    false,
		"xds:///localhost":               false,
		"":                               false,
	} {
		if got := staysHere(target); got != want {
			t.Errorf("staysHere(%q) is %t", target, got)
		}
	}
}

// What the contract declares of its methods, the table must not deny: a method
// declared idempotent is always repeated, and what is not is never repeated as
// long as its request is empty.
func TestTableAgreesWithTheContract(t *testing.T) {
	t.Parallel()
	methods := 0
	pkg := retryv1.File_retry_v1_task_proto.Package()
	protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			svc := file.Services().Get(i)
			for j := range svc.Methods().Len() {
				m := svc.Methods().Get(j)
				if m.IsStreamingClient() {
					continue
				}
				methods++
				input, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
				if err != nil {
					t.Fatal(err)
				}
				got := repeatable("/"+string(svc.FullName())+"/"+string(m.Name()), input.New().Interface())
				level := m.Options().(*descriptorpb.MethodOptions).GetIdempotencyLevel()
				if declared := level != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN; declared != (got == repeatAlways) &&
					m.Name() != "BatchReport" { // empty, it does nothing
					t.Errorf("%s is %s, and repeated: %d", m.FullName(), level, got)
				}
			}
		}
		return true
	})
	if methods < 35 {
		t.Errorf("only %d methods were found", methods)
	}
	if got := repeatable("/another.Service/Call", &retryv1.Drain{}); got != repeatNever {
		t.Errorf("an unknown method is repeated: %d", got)
	}
}

func TestFailureComesThroughTheWire(t *testing.T) {
	t.Parallel()
	for _, f := range []*Failure{
		HTTPFailure(429, "120"), GRPCFailure(14), TimeoutFailure(), ConnectionFailure(ConnectionTLS), OutcomeFailure("busy"),
	} {
		f.Code, f.Message, f.Permanent, f.RetryAfter = "30007", "text", true, 5
		if got := failureOf(f.proto()); *got != *f {
			t.Errorf("%+v came as %+v", f, got)
		}
	}
	if got := failureOf(ConnectionFailure("NEW").proto()); got.Cause != (ConnectionCause{ConnectionOther}) {
		t.Errorf("an unknown kind came as %v", got.Cause)
	}
	bad := OutcomeFailure("bad \xff")
	bad.Code, bad.Message = "\xff", string(make([]byte, 1023))+"é"
	p := bad.proto()
	if _, err := proto.Marshal(p); err != nil {
		t.Error(err)
	}
	if len(p.GetMessage()) != 1023 {
		t.Errorf("message has %d bytes", len(p.GetMessage()))
	}
}
