package prototest_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// files calls f with every file of the API.
func files(t *testing.T, f func(file protoreflect.FileDescriptor)) {
	t.Helper()

	n := 0
	pkg := retryv1.File_retry_v1_task_proto.Package()
	protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(file protoreflect.FileDescriptor) bool {
		n++
		f(file)
		return true
	})
	if n == 0 {
		t.Fatalf("no files of package %s", pkg)
	}
}

// Users compile the protos with what every protoc has, so the well-known types and
// the API's own files are all that they may import.
func TestImportsAreWellKnown(t *testing.T) {
	t.Parallel()

	files(t, func(file protoreflect.FileDescriptor) {
		for i := range file.Imports().Len() {
			path := file.Imports().Get(i).Path()
			if !strings.HasPrefix(path, "google/protobuf/") && !strings.HasPrefix(path, "retry/v1/") {
				t.Errorf("%s imports %s", file.Path(), path)
			}
		}
	})
}

// A nested message has an awkward name in most languages. Map entries are nested by
// the language itself.
func TestMessagesAreTopLevel(t *testing.T) {
	t.Parallel()

	files(t, func(file protoreflect.FileDescriptor) {
		for i := range file.Messages().Len() {
			nested := file.Messages().Get(i).Messages()
			for j := range nested.Len() {
				if !nested.Get(j).IsMapEntry() {
					t.Errorf("%s is nested", nested.Get(j).FullName())
				}
			}
		}
	})
}

// Whether a call may be repeated is for each call to say; no answer is no answer.
func TestEveryCallSaysWhetherItMayBeRepeated(t *testing.T) {
	t.Parallel()

	calls := 0
	files(t, func(file protoreflect.FileDescriptor) {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				calls++
				options, ok := methods.Get(j).Options().(*descriptorpb.MethodOptions)
				if !ok || options == nil || options.IdempotencyLevel == nil {
					t.Errorf("%s has no idempotency_level", methods.Get(j).FullName())
				}
			}
		}
	})
	if calls == 0 {
		t.Fatal("no calls")
	}
}
