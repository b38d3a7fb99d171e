package client

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Task names one logical piece of work and says all that the server needs to
// retry it. The first report of a task fixes its fields; later ones may leave
// all but the ID out.
type Task struct {
	// ID is the caller's name for the task, unique within the namespace: 1 to
	// 200 bytes. Without one the server derives it from queue and idempotency
	// key, which the caller must then give.
	ID string
	// Queue is whose workers make the retries. Empty means that the task's owner
	// makes them and asks [Client.NextAttempt] when.
	Queue string
	// Policy is the id of the policy that judges failures. The first failure
	// needs it or Job.
	Policy string
	// Job is the id of the job whose policy judges failures, and Environment
	// where it runs.
	Job, Environment string
	// Payload is what workers need to make the attempt: at most 128 KiB. Empty by
	// default.
	Payload []byte
	// Attributes are further facts for workers and operators: at most 32, and
	// 8 KiB together. Empty by default.
	Attributes map[string]string
	// Group is in whose progress the task is counted. Empty means none.
	Group string
	// Deadline is after when no attempt is made any more. Zero means none.
	Deadline time.Time
	// TimeZone is the IANA name of the zone for pause windows that name none.
	// Empty means UTC.
	TimeZone string
}

func (t *Task) spec() *retryv1.TaskSpec {
	s := &retryv1.TaskSpec{
		Id:          t.ID,
		Queue:       t.Queue,
		Policy:      t.Policy,
		Job:         t.Job,
		Environment: t.Environment,
		Payload:     t.Payload,
		Attributes:  t.Attributes,
		Group:       t.Group,
		TimeZone:    t.TimeZone,
	}
	if !t.Deadline.IsZero() {
		s.Deadline = timestamppb.New(t.Deadline)
	}
	return s
}
