package client

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// repeat says when a call may be made again after it failed for a passing cause.
type repeat uint8

const (
	// repeatNever: a repeat might do twice what is to be done once.
	repeatNever repeat = iota
	// repeatRefused: only when the server itself said that it refused, and how
	// long to wait; not when the answer was lost.
	repeatRefused
	// repeatAlways: a repeat has no effect beyond that of one call.
	repeatAlways
)

// repeatable is the one table of what this client repeats, and why. What is not
// in it is repeated when the contract declares the method to be idempotent, and
// else never.
func repeatable(method string, req any) repeat {
	switch r := req.(type) {
	case *retryv1.ReportFailureRequest:
		// The server knows a repeat by its key, token or attempt number. With
		// none of them, the attempt in turn may have fallen due meanwhile, and
		// a repeat would count as its failure.
		return when(failureHasFence(r), repeatAlways, repeatNever)
	case *retryv1.ReportSuccessRequest:
		// The repeat finds the task SUCCEEDED and is given the first answer.
		return repeatAlways
	case *retryv1.BatchReportRequest:
		// As good as the weakest of its reports.
		bare := slices.ContainsFunc(r.GetReports(), func(r *retryv1.Report) bool {
			return r.GetFailure() != nil && !failureHasFence(r.GetFailure())
		})
		return when(bare, repeatNever, repeatAlways)
	case *retryv1.NextAttemptRequest:
		switch {
		case r.GetTaskId() != "" && r.GetLeaseDuration() == nil:
			// It only tells.
			return repeatAlways
		case r.GetTaskId() != "" && r.GetWorkerId() != "":
			// The holder of the lease is given the same lease again.
			return repeatAlways
		default:
			// A lost answer may have held a lease; a repeat would take another
			// while that one runs out, and every lease that runs out brings its
			// task nearer to being given up. A refusal held none.
			return repeatRefused
		}
	case *retryv1.ExtendLeaseRequest:
		// A repeat counts the same duration from a later moment.
		return repeatAlways
	case *retryv1.ReleaseLeaseRequest:
		// The token that was released last succeeds again until the next
		// hand-out, and changes nothing after it.
		return repeatAlways
	case *retryv1.CreatePolicyRequest:
		// A repeat would be answered with POLICY_EXISTS, as if another had
		// created it.
		return repeatNever
	case *retryv1.UpdatePolicyRequest:
		// With an etag a repeat is answered with ETAG_MISMATCH, and without it
		// overwrites what another wrote meanwhile.
		return repeatNever
	case *retryv1.ReplayTasksRequest, *retryv1.DiscardTasksRequest, *retryv1.ReleaseHeldRequest:
		// The repeat finds only what is left. How many a lost answer has moved is
		// told by nobody.
		return repeatAlways
	default:
		return when(declaredIdempotent(method), repeatAlways, repeatNever)
	}
}

func failureHasFence(r *retryv1.ReportFailureRequest) bool {
	return r.GetIdempotencyKey() != "" || r.GetLeaseToken() != "" || r.GetAttempt() != 0
}

// declaredIdempotent looks up what the contract says of a method, by its full
// name as gRPC writes it.
func declaredIdempotent(method string) bool {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	desc, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return false
	}
	opts, ok := desc.Options().(*descriptorpb.MethodOptions)
	return ok && opts.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

func when(cond bool, yes, no repeat) repeat {
	if cond {
		return yes
	}
	return no
}
