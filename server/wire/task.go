package wire

import (
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// Spec returns what a caller says of a task, but for its id.
func Spec(t *retryv1.TaskSpec) scheduler.Spec {
	return scheduler.Spec{
		Queue:       t.GetQueue(),
		Policy:      t.GetPolicy(),
		Job:         t.GetJob(),
		Environment: t.GetEnvironment(),
		Payload:     t.GetPayload(),
		Attributes:  t.GetAttributes(),
		Group:       t.GetGroup(),
		DeadlineMS:  MS(t.GetDeadline()),
		TimeZone:    t.GetTimeZone(),
	}
}

// FailureReport returns a report of failure in a namespace.
func FailureReport(namespace string, r *retryv1.ReportFailureRequest) scheduler.Report {
	f := Failure(r.GetFailure())
	return scheduler.Report{
		Namespace: namespace,
		ID:        r.GetTask().GetId(),
		Spec:      Spec(r.GetTask()),
		Attempt:   int(r.GetAttempt()),
		Token:     r.GetLeaseToken(),
		Key:       r.GetIdempotencyKey(),
		Failure:   &f,
	}
}

// SuccessReport returns a report of success in a namespace.
func SuccessReport(namespace string, r *retryv1.ReportSuccessRequest) scheduler.Report {
	return scheduler.Report{
		Namespace: namespace,
		ID:        r.GetTask().GetId(),
		Spec:      Spec(r.GetTask()),
		Attempt:   int(r.GetAttempt()),
		Token:     r.GetLeaseToken(),
		Key:       r.GetIdempotencyKey(),
	}
}
